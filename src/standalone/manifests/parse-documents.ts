import type { Document, LineCounter, Node, Tags } from 'yaml';
import { CodedError, messageOf } from '../../kit/errors.ts';

export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

export interface TextError extends Partial<TextPosition> {
  readonly message: string;
}

/** One YAML document as plain JSON values, with the places of its parts. */
export interface ParsedDocument {
  /** From 1. */
  readonly index: number;
  readonly line: number;
  /** undefined for an empty document, and for one with errors. */
  readonly value: unknown;
  readonly errors: readonly TextError[];
  /** The key at a path, or the deepest part of the path that is there. */
  positionOf(path: readonly (string | number)[]): TextPosition;
}

/** Aliases may not make more of a document than this: a bomb of anchors is small as text only. */
const MAX_ALIASES = 100;
const MAX_VALUES = 500_000;
const MAX_DEPTH = 100;
/** After the first few, errors of a broken text say nothing new. */
const MAX_ERRORS = 3;

// Types of YAML 1.1 that JSON does not have; go-yaml, and so kubectl, reads them as text.
const LEFT_OUT = new Set(['timestamp', 'binary', 'omap', 'pairs', 'set'].map((name) => `tag:yaml.org,2002:${name}`));

/**
 * Reads YAML as kubectl does: version 1.1, in which `yes` is true and 0644 is octal, with merge keys; but keys may not
 * occur twice. A mistake in one document leaves the others readable. JSON is read as the YAML it nearly is. Throws
 * InvalidObject when nothing can be made of the text.
 */
export async function parseDocuments(text: string): Promise<ParsedDocument[]> {
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  // Tabs may indent JSON, not YAML; a text that begins like JSON is taken for it.
  const source = /^\s*[{[]/.test(text) ? text.replaceAll('\t', ' ') : text;
  let documents: Document[];
  try {
    const parsed = yaml.parseAllDocuments(source, {
      version: '1.1',
      merge: true,
      uniqueKeys: true,
      lineCounter: lines,
      logLevel: 'silent',
      customTags: (tags: Tags) =>
        tags.filter((tag) => typeof tag === 'string' || (!LEFT_OUT.has(tag.tag) && tag.format !== 'TIME')),
    });
    documents = Array.isArray(parsed) ? (parsed as Document[]) : [];
  } catch (error) {
    throw new CodedError('InvalidObject', `cannot be read as YAML: ${messageOf(error)}`, {}, error);
  }
  return documents.map((document, index) => read(document, index + 1, lines, yaml));
}

type Yaml = typeof import('yaml');

function read(document: Document, index: number, lines: LineCounter, yaml: Yaml): ParsedDocument {
  const start = positionAt(lines, document.contents?.range?.[0] ?? document.range?.[0] ?? 0);
  const positionOf = (path: readonly (string | number)[]): TextPosition => locate(document, path, lines, yaml) ?? start;
  if (document.errors.length > 0) {
    const errors = document.errors.slice(0, MAX_ERRORS).map((error) => ({
      message: (error.message.split(/ at line \d+|\n/)[0] ?? '').trim(),
      ...positionAt(lines, error.pos[0]),
    }));
    return { index, line: errors[0]?.line ?? start.line, value: undefined, errors, positionOf };
  }
  try {
    const budget = { values: MAX_VALUES };
    const value = plainCopy(document.toJS({ maxAliasCount: MAX_ALIASES }), budget, 0);
    return { index, line: start.line, value: value ?? undefined, errors: [], positionOf };
  } catch (error) {
    return { index, line: start.line, value: undefined, errors: [{ ...start, message: messageOf(error) }], positionOf };
  }
}

/** Without shared or circular parts, so that nobody downstream need think of them. */
function plainCopy(value: unknown, budget: { values: number }, depth: number): unknown {
  if (--budget.values < 0)
    throw new CodedError('InvalidObject', `has more than ${MAX_VALUES} values once its aliases are written out`);
  if (depth > MAX_DEPTH) throw new CodedError('InvalidObject', `is nested more than ${MAX_DEPTH} levels deep`);
  if (Array.isArray(value)) return value.map((item) => plainCopy(item, budget, depth + 1));
  if (typeof value === 'bigint') return Number(value);
  // Infinity and NaN have no place in JSON: null is what they become there.
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const copied = plainCopy(item, budget, depth + 1);
    Object.defineProperty(copy, key, { value: copied, enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

function locate(
  document: Document,
  path: readonly (string | number)[],
  lines: LineCounter,
  yaml: Yaml,
): TextPosition | undefined {
  let node: unknown = document.contents;
  let found: unknown = node;
  for (const step of path) {
    if (yaml.isAlias(node)) node = node.resolve(document);
    if (yaml.isMap(node)) {
      const pair = node.items.find(({ key }) => yaml.isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      found = pair.key;
      node = pair.value;
    } else if (yaml.isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined) break;
      found = item;
      node = item;
    } else break;
  }
  const offset = yaml.isNode(found) ? (found as Node).range?.[0] : undefined;
  return offset === undefined ? undefined : positionAt(lines, offset);
}

function positionAt(lines: LineCounter, offset: number): TextPosition {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** The steps of a field path such as spec.containers[0].env[1].name or metadata.labels[example.com/tier]. */
export function stepsOf(field: string): (string | number)[] {
  const steps: (string | number)[] = [];
  for (const [, name, key] of field.matchAll(/([^.[\]]+)|\[([^\]]*)\]/g)) {
    if (name !== undefined) steps.push(name);
    else if (key !== undefined) steps.push(/^\d+$/.test(key) ? Number(key) : key);
  }
  return steps;
}
