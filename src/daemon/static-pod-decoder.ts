import { CodedError } from '../kit/errors.ts';
import type { Pod } from '../model/pod.ts';
import { resources } from '../model/resource.ts';
import type { DecodedPod, ManifestDecoder } from '../pods/sources/port.ts';
import { normalize } from '../standalone/defaults/normalize.ts';
import { applyPodDefaults } from '../standalone/defaults/pod-defaults.ts';
import { type ParsedDocument, parseDocuments, stepsOf } from '../standalone/manifests/parse-documents.ts';
import type { FieldError } from '../standalone/port.ts';
import { enumErrors } from '../standalone/schema/enum-errors.ts';
import { SchemaTree } from '../standalone/schema/schema-tree.ts';
import { isUnknownField, structuralErrors } from '../standalone/schema/structural-errors.ts';
import { validateObject } from '../standalone/validation/validate-object.ts';

type Json = Record<string, unknown>;
type Path = readonly (string | number)[];

/** An API server sets these by itself; kubelet's decoder does not, and its hash is over what the decoder gives. */
const ONLY_IN_API = ['resizePolicy', 'divisor'];

/** Manifests of static pods, judged by the same schema, defaults and rules as objects of the embedded API. */
export class StaticPodDecoder implements ManifestDecoder {
  private readonly schemas = new SchemaTree();

  async decode(text: string, name: string, options: { readonly lists?: boolean } = {}): Promise<readonly DecodedPod[]> {
    const [document, ...others] = (await parseDocuments(text)).filter(
      ({ value, errors }) => value !== undefined || errors.length > 0,
    );
    if (document === undefined) throw new CodedError('InvalidObject', `${name}: is empty, a Pod is expected`);
    if (document.errors.length > 0) {
      const lines = document.errors.map(({ line, column, message }) => `${placed(name, line, column)}: ${message}`);
      throw new CodedError('InvalidObject', lines.join('\n'));
    }
    const pods = listOf(document, name, options.lists === true).map(({ value, path }) =>
      this.decodeOne(value, path, document, name),
    );
    const [first] = pods;
    if (first === undefined || others.length === 0) return pods;
    const ignored = `${placed(name, others[0]?.line)}: only the first document of a file is a static pod; ${others.length} more passed over`;
    return [{ ...first, warnings: [...first.warnings, ignored] }, ...pods.slice(1)];
  }

  private decodeOne(value: Json, path: Path, document: ParsedDocument, name: string): DecodedPod {
    const root = this.schemas.rootOf(resources.pods);
    if (root === undefined) throw new CodedError('Internal', 'there is no schema of Pod');
    const line = (error: FieldError): string => {
      const { line, column } = document.positionOf([...path, ...stepsOf(error.field)]);
      return `${placed(name, line, column)}: ${error.field}: ${error.message}`;
    };
    const structural = structuralErrors(root, value);
    const fatal = structural.filter((error) => !isUnknownField(error));
    if (fatal.length > 0) throw new CodedError('InvalidObject', fatal.map(line).join('\n'));
    const written = withoutNulls(value) as Json;
    // A time or a status that is only there because somebody exported the object.
    written['spec'] ??= {};
    const metadata = (written['metadata'] ?? {}) as Json;
    written['metadata'] = metadata;
    const pod = normalize(root, written) as unknown as Pod;
    const asRead = structuredClone(written);
    applyPodDefaults(pod);
    applyPodDefaults(written as unknown as Pod);
    dropInvented(written, asRead);
    return {
      written,
      pod,
      check: (complete) =>
        [...enumErrors(root, complete), ...validateObject(resources.pods, complete, undefined)].map(line),
      warnings: structural.filter(isUnknownField).map(line),
    };
  }
}

function listOf(document: ParsedDocument, name: string, lists: boolean): { value: Json; path: Path }[] {
  const { value } = document;
  const refuse = (message: string): CodedError =>
    new CodedError('InvalidObject', `${placed(name, document.line)}: ${message}`);
  if (!isObject(value)) throw refuse('a Pod is expected');
  const { apiVersion, kind } = value;
  if (apiVersion === 'v1' && kind === 'Pod') return [{ value, path: [] }];
  if (lists && apiVersion === 'v1' && (kind === 'PodList' || kind === 'List')) {
    const { items } = value;
    if (!Array.isArray(items)) throw refuse('items: must be a list');
    return items.map((item: unknown, index) => {
      if (!isObject(item)) throw refuse(`items[${index}]: a Pod is expected`);
      if (item['kind'] !== undefined && item['kind'] !== 'Pod') throw refuse(`items[${index}].kind: must be "Pod"`);
      return { value: item, path: ['items', index] };
    });
  }
  const found = `${String(apiVersion ?? 'no apiVersion')}, ${String(kind ?? 'no kind')}`;
  throw refuse(`a Pod of apiVersion v1 is expected${lists ? ', or a PodList' : ''}, not ${found}`);
}

/** Null is as good as absent in an object; in lists and maps Go puts a zero there, and so nothing is taken out. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  const result: Json = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === null || item === undefined) continue;
    Object.defineProperty(result, key, {
      value: withoutNulls(item),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}

function dropInvented(defaulted: unknown, written: unknown): void {
  if (Array.isArray(defaulted)) {
    for (const [index, item] of defaulted.entries()) dropInvented(item, (written as unknown[] | undefined)?.[index]);
    return;
  }
  if (!isObject(defaulted)) return;
  for (const key of Object.keys(defaulted)) {
    const before = isObject(written) ? written[key] : undefined;
    if (!ONLY_IN_API.includes(key)) dropInvented(defaulted[key], before);
    else if (before === undefined) delete defaulted[key];
    else defaulted[key] = before;
  }
}

function placed(name: string, line?: number, column?: number): string {
  return [name, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(':');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
