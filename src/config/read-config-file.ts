import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, Scalar } from 'yaml';
import { messageOf } from '../kit/errors.ts';
import { type Kind, kindOf } from './config-documents.ts';
import type { Finding } from './fields.ts';
import { kubeletPaths } from './kubelet-fields.ts';
import { fieldText, isMapping, type Layer, type PlacedFinding } from './layer.ts';

/** The YAML 1.1 booleans that Kubernetes' own parser takes, besides true and false. */
const OLD_BOOLEANS = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  test: /^(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/,
  resolve: (text: string) => new Scalar(/^(?:yes|on)$/i.test(text)),
} as const;

/** The documents of one YAML or JSON file, and what is wrong with it as such. Never throws for what the file says. */
export async function readConfigFile(
  path: string,
): Promise<{ readonly layers: readonly Layer[]; readonly findings: readonly PlacedFinding[] }> {
  const findings: PlacedFinding[] = [];
  const layers: Layer[] = [];
  const wrong = (text: string): void => {
    findings.push({ level: 'error', text: `${path}${text}` });
  };
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (error) {
    wrong(`: cannot be read: ${messageOf(error)}`);
    return { layers, findings };
  }
  const lines = new LineCounter();
  const parsed = parseAllDocuments(source, { lineCounter: lines, customTags: (tags) => [OLD_BOOLEANS, ...tags] });
  let documents = 0;
  for (const document of 'empty' in parsed ? [] : parsed) {
    for (const { code, message, pos } of document.errors) {
      const { line } = lines.linePos(pos[0]);
      if (code === 'DUPLICATE_KEY') {
        const kind: unknown = document.get('kind');
        const shown = typeof kind === 'string' ? `${kind}: ` : '';
        wrong(`:${line}: ${shown}${wordAt(source, pos[0])} is there a second time; expected it once`);
      } else wrong(`:${line}: is not YAML: ${message.split('\n')[0]}`);
    }
    const content: unknown = document.errors.length > 0 ? {} : document.toJS();
    if (content === null) continue;
    documents++;
    if (document.errors.length > 0) continue;
    if (!isMapping(content)) {
      wrong(': is not a mapping; expected apiVersion, kind and fields');
      continue;
    }
    const kind = kindOf(content, ({ level, path: at, message }: Finding) => {
      findings.push({ level, text: `${path}:${lineOf(document, at, lines)}: ${fieldText(at)} ${message}` });
    });
    if (kind === undefined) continue;
    const { apiVersion: _apiVersion, kind: _kind, ...fields } = content;
    const where = (at: readonly (string | number)[]): string =>
      `${path}:${lineOf(document, at, lines)}: ${kind}: ${fieldText(at)}`;
    if (layers.some((layer) => layer.kind === kind)) {
      findings.push({ level: 'error', text: `${where(['kind'])} is there a second time` });
    } else layers.push({ kind, content: absolutePaths(kind, fields, dirname(path)), where });
  }
  if (documents === 0) wrong(': is empty; expected apiVersion, kind and fields');
  return { layers, findings };
}

/**
 * The drop-ins of a folder: its files that end in ".conf", those of its folders, too, in lexical order, as kubelet walks
 * it (cmd/kubelet/app/server.go mergeKubeletConfigurations). `skipped` are files that end otherwise.
 */
export async function readConfigDir(dir: string): Promise<{
  readonly layers: readonly Layer[];
  readonly findings: readonly PlacedFinding[];
  readonly skipped: readonly string[];
}> {
  const layers: Layer[] = [];
  const findings: PlacedFinding[] = [];
  const skipped: string[] = [];
  let entries: { readonly name: string; readonly isDirectory: () => boolean }[];
  try {
    entries = await readdir(dir, { withFileTypes: true });
  } catch (error) {
    return { layers, findings: [{ level: 'error', text: `${dir}: cannot be read: ${messageOf(error)}` }], skipped };
  }
  entries.sort((left, right) => Buffer.compare(Buffer.from(left.name), Buffer.from(right.name)));
  for (const entry of entries) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) {
      const inner = await readConfigDir(path);
      layers.push(...inner.layers);
      findings.push(...inner.findings);
      skipped.push(...inner.skipped);
    } else if (!entry.name.endsWith('.conf')) skipped.push(path);
    else {
      const read = await readConfigFile(path);
      layers.push(...read.layers);
      findings.push(...read.findings);
    }
  }
  return { layers, findings, skipped };
}

/** Files that a file names are beside it. */
function absolutePaths(kind: Kind, fields: Record<string, unknown>, dir: string): Record<string, unknown> {
  if (kind !== 'KubeletConfiguration') return fields;
  for (const path of kubeletPaths) {
    const parent = path.slice(0, -1).reduce<unknown>((at, part) => (isMapping(at) ? at[part] : undefined), fields);
    const name = path.at(-1) ?? '';
    const value = isMapping(parent) ? parent[name] : undefined;
    if (isMapping(parent) && typeof value === 'string' && value !== '')
      parent[name] = value.startsWith('/') ? value : resolve(dir, value);
  }
  return fields;
}

function wordAt(source: string, offset: number): string {
  return /^"?([^\s:"]+)/.exec(source.slice(offset, offset + 80))?.[1] ?? 'a key';
}

/** The line of the deepest part of the path that is in the document. */
function lineOf(document: Document.Parsed, path: readonly (string | number)[], lines: LineCounter): number {
  let node: unknown = document.contents;
  let at = (node as Node | null)?.range?.[0] ?? 0;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (pair === undefined) break;
      at = (pair.key as Node).range?.[0] ?? at;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      at = (node as Node | undefined)?.range?.[0] ?? at;
    } else break;
  }
  return lines.linePos(at).line;
}
