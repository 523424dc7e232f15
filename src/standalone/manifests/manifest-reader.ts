import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { nearMiss } from '../../kit/near-miss.ts';
import { type KubeObject, keyOf } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType, resources } from '../../model/resource.ts';
import { ObjectRules } from '../admission.ts';
import type { FieldError } from '../port.ts';
import type { Schemas } from '../schema/port.ts';
import { type ParsedDocument, parseDocuments, stepsOf } from './parse-documents.ts';
import type { Manifest, ManifestMistake, ReadManifests } from './port.ts';
import { readText } from './read-text.ts';

const EXTENSIONS = /\.(ya?ml|json)$/i;
const TYPES: readonly ResourceType[] = Object.values(resources);
/** What an API server gives and no manifest decides; exported objects bring it along. */
const SERVER_FIELDS = ['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'managedFields', 'selfLink'];

type Json = Record<string, unknown>;
type Path = readonly (string | number)[];

/**
 * Reads a folder of manifests: every *.yaml, *.yml and *.json in it (not below it, and nothing that starts with a dot),
 * in the order of their names, with several documents a file and lists of objects. What can be judged without the API
 * is judged; every mistake is told with its place, and what has none is returned.
 */
export class ManifestReader {
  private readonly rules: ObjectRules;

  constructor(schemas: Schemas) {
    this.rules = new ObjectRules(schemas);
  }

  /** Throws Unavailable when the folder itself cannot be read. */
  async read(dir: string): Promise<ReadManifests> {
    let names: string[];
    try {
      names = await readdir(dir);
    } catch (error) {
      throw new CodedError(
        'Unavailable',
        `the manifests folder ${dir} cannot be read: ${messageOf(error)}`,
        { dir },
        error,
      );
    }
    const files = names.filter((name) => !name.startsWith('.') && EXTENSIONS.test(name)).sort();
    const manifests: Manifest[] = [];
    const mistakes: ManifestMistake[] = [];
    for (const file of files) {
      const found = await this.readFile(join(dir, file), file);
      manifests.push(...found.manifests);
      mistakes.push(...found.mistakes);
    }
    return { ...withoutTwins(manifests, mistakes), files: files.length };
  }

  private async readFile(path: string, file: string): Promise<{ manifests: Manifest[]; mistakes: ManifestMistake[] }> {
    const manifests: Manifest[] = [];
    const mistakes: ManifestMistake[] = [];
    try {
      for (const document of await parseDocuments(await readText(path))) {
        for (const { message, line, column } of document.errors) {
          mistakes.push({
            file,
            document: document.index,
            ...(line === undefined ? {} : { line }),
            ...(column === undefined ? {} : { column }),
            message,
          });
        }
        if (document.value !== undefined) this.take(document.value, document, file, [], manifests, mistakes);
      }
    } catch (error) {
      mistakes.push({ file, message: messageOf(error) });
    }
    return { manifests, mistakes };
  }

  /** One object, or each item of a list of them. */
  private take(
    value: unknown,
    document: ParsedDocument,
    file: string,
    path: Path,
    manifests: Manifest[],
    mistakes: ManifestMistake[],
  ): void {
    const at = document.positionOf(path);
    const source = { file, document: document.index, line: at.line };
    const mistake = (message: string, field?: string, object?: string): void => {
      const place = document.positionOf([...path, ...stepsOf(field ?? '')]);
      const named = { ...(object === undefined ? {} : { object }), ...(field === undefined ? {} : { field }) };
      mistakes.push({ file, document: document.index, ...place, ...named, message });
    };
    if (!isObject(value)) {
      mistake('an object with apiVersion, kind and metadata is expected');
      return;
    }
    const { apiVersion, kind } = value;
    const shown = `${typeof kind === 'string' && kind !== '' ? kind : 'object'} ${shownName(value)}`.trim();
    for (const [field, content] of [
      ['apiVersion', apiVersion],
      ['kind', kind],
    ] as const) {
      if (content === undefined || content === null || content === '') {
        mistake(`Required value: such as ${field === 'kind' ? '"Pod"' : '"v1"'}`, field, shown);
      } else if (typeof content !== 'string') mistake('must be a string', field, shown);
    }
    if (typeof apiVersion !== 'string' || typeof kind !== 'string' || apiVersion === '' || kind === '') return;
    if (isListKind(kind, apiVersion)) {
      const { items } = value;
      if (!Array.isArray(items)) mistake('must be a list', 'items', kind);
      else
        for (const [index, item] of items.entries()) {
          const typed = isObject(item) && kind !== 'List' ? { apiVersion, kind: kind.slice(0, -4), ...item } : item;
          this.take(typed, document, file, [...path, 'items', index], manifests, mistakes);
        }
      return;
    }
    const type = TYPES.find((candidate) => candidate.kind === kind && apiVersionOf(candidate) === apiVersion);
    if (type === undefined) {
      const { field, message } = unknownKind(kind, apiVersion);
      mistake(message, field, shown);
      return;
    }
    const object = prepared(type, value);
    const name = isObject(object['metadata']) ? keyOf(object as unknown as KubeObject) : '';
    const before = mistakes.length;
    for (const error of this.review(type, object)) mistake(messageFor(error), error.field, `${kind} ${name}`.trim());
    if (mistakes.length === before) manifests.push({ type, object: object as unknown as KubeObject, source });
  }

  private review(type: ResourceType, object: Json): FieldError[] {
    const metadata = object['metadata'];
    const errors = this.rules.review(type, object);
    if (!isObject(metadata) || metadata['name'] || !metadata['generateName']) return errors;
    // A random name each time would make a new object each time.
    const message = 'Required value: a manifest needs a name of its own, generateName is not enough';
    return [...errors, { field: 'metadata.name', reason: 'FieldValueRequired', message }];
  }
}

/** With the namespace filled in, and without what is the server's. */
function prepared(type: ResourceType, value: Json): Json {
  const { status: _status, ...object } = value;
  const given = value['metadata'];
  // Anything but an object is left for the review to tell.
  if (given !== undefined && given !== null && !isObject(given)) return object;
  const metadata: Json = { ...given };
  for (const field of SERVER_FIELDS) delete metadata[field];
  if (type.namespaced && (metadata['namespace'] === undefined || metadata['namespace'] === null)) {
    metadata['namespace'] = 'default';
  }
  return { ...object, metadata };
}

function messageFor({ message }: FieldError): string {
  return /must be a string, not a (number|boolean)/.test(message) ? `${message}; in YAML write it in quotes` : message;
}

function isListKind(kind: string, apiVersion: string): boolean {
  if (kind === 'List') return apiVersion === 'v1';
  return TYPES.some((type) => kind === `${type.kind}List` && apiVersionOf(type) === apiVersion);
}

function unknownKind(kind: string, apiVersion: string): { field: string; message: string } {
  const same = TYPES.find((type) => type.kind === kind);
  if (same !== undefined) {
    const message = `Unsupported value: ${JSON.stringify(apiVersion)}: ${kind} has the apiVersion ${JSON.stringify(apiVersionOf(same))}`;
    return { field: 'apiVersion', message };
  }
  const kinds = TYPES.map((type) => type.kind);
  const meant = nearMiss(kind, kinds);
  const hint = meant === undefined ? '' : `, did you mean ${JSON.stringify(meant)}?`;
  const message = `Unsupported value: ${JSON.stringify(kind)} in version ${JSON.stringify(apiVersion)}: supported kinds: ${kinds.join(', ')}${hint}`;
  return { field: 'kind', message };
}

/** The same object twice: the first stands, the others are mistakes. */
function withoutTwins(
  manifests: readonly Manifest[],
  mistakes: readonly ManifestMistake[],
): { manifests: Manifest[]; mistakes: ManifestMistake[] } {
  const first = new Map<string, Manifest>();
  const twins: ManifestMistake[] = [];
  for (const manifest of manifests) {
    const key = `${manifest.type.kind} ${keyOf(manifest.object)}`;
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, manifest);
      continue;
    }
    const { file, document, line } = other.source;
    const message = `Duplicate value: the same object is in ${file}, document ${document}, line ${line}, which is used`;
    twins.push({ ...manifest.source, object: key, field: 'metadata.name', message });
  }
  return { manifests: [...first.values()], mistakes: [...mistakes, ...twins] };
}

function shownName(value: Json): string {
  const metadata = value['metadata'];
  if (!isObject(metadata) || typeof metadata['name'] !== 'string') return '';
  return typeof metadata['namespace'] === 'string' ? `${metadata['namespace']}/${metadata['name']}` : metadata['name'];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
