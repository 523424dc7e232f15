import type { Kind } from './config-documents.ts';
import type { Finding } from './fields.ts';

type Path = readonly (string | number)[];

/** What one source says of one kind: a document of a file, or a flag. Later layers go over earlier ones. */
export interface Layer {
  readonly kind: Kind;
  /** Fields as they stand there, apiVersion and kind left out. */
  readonly content: Readonly<Record<string, unknown>>;
  /** Where a field stands, as text to put before what is wrong: "FILE:3: KubeletConfiguration: maxPods". */
  readonly where: (path: Path) => string;
  /** A mapping that this layer replaces instead of merging into it: kubelet's flags do so. */
  readonly replaces?: readonly string[];
}

/** A finding with the place where it was found, as one line of text. */
export interface PlacedFinding {
  readonly level: Finding['level'];
  readonly text: string;
}

/** All layers of a kind in one: mappings are merged, lists and all else replaced, null takes away (RFC 7396). */
export function mergedContent(layers: readonly Layer[], kind: Kind): Record<string, unknown> {
  let merged: Record<string, unknown> = {};
  for (const layer of layers) {
    if (layer.kind !== kind) continue;
    if (layer.replaces !== undefined) merged = without(merged, layer.replaces);
    merged = patched(merged, layer.content);
  }
  return merged;
}

/** Where the last layer says something about a field; the field itself where none does. */
export function whereIs(layers: readonly Layer[], kind: Kind, path: Path): string {
  // A path may go deeper than what a layer holds, and still be about it: a list's entry, a default inside of a section.
  for (let depth = path.length; depth > 0; depth--) {
    const layer = layers.findLast(
      (candidate) => candidate.kind === kind && holds(candidate.content, path.slice(0, depth)),
    );
    if (layer !== undefined) return layer.where(path);
  }
  return `${kind}: ${fieldText(path)}`;
}

/** `evictionHard.memory.available` would mislead: keys that are not plain words stand in brackets. */
export function fieldText(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `["${part}"]`;
  }
  return text;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function patched(
  under: Readonly<Record<string, unknown>>,
  over: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete result[key];
    else if (isMapping(value)) {
      const below = result[key];
      result[key] = patched(isMapping(below) ? below : {}, value);
    } else result[key] = value;
  }
  return result;
}

function without(
  content: Readonly<Record<string, unknown>>,
  [first = '', ...rest]: readonly string[],
): Record<string, unknown> {
  const { [first]: inner, ...others } = content;
  if (rest.length === 0 || inner === undefined) return others;
  return { ...others, [first]: isMapping(inner) ? without(inner, rest) : inner };
}

function holds(content: unknown, path: Path): boolean {
  let value = content;
  for (const part of path) {
    if (Array.isArray(value) && typeof part === 'number' && part < value.length) value = value[part];
    else if (isMapping(value) && Object.hasOwn(value, part)) value = value[part];
    else return false;
  }
  return true;
}
