import type { ListSchema, Schema } from '../schema/port.ts';
import { isObject, type JsonObject, own } from './json-value.ts';

/**
 * A set of field paths, as server-side apply records who owns what. Path elements are written as in FieldsV1:
 * `f:NAME` a field or map key, `k:{"key":value}` a list item by its keys, `v:VALUE` a list item by its value.
 * (metav1.FieldsV1 and sigs.k8s.io/structured-merge-diff, fieldpath.)
 */
export class FieldSet {
  member: boolean;
  readonly children: Map<string, FieldSet>;

  constructor(member = false, children: Iterable<readonly [string, FieldSet]> = []) {
    this.member = member;
    this.children = new Map(children);
  }

  static fromV1(fields: unknown): FieldSet {
    const set = new FieldSet();
    if (!isObject(fields)) return set;
    const keys = Object.keys(fields);
    if (keys.length === 0) set.member = true;
    for (const key of keys) {
      if (key === '.') set.member = true;
      else set.children.set(key, FieldSet.fromV1(fields[key]));
    }
    return set;
  }

  toV1(): JsonObject {
    const fields: JsonObject = {};
    if (this.member && this.children.size > 0) fields['.'] = {};
    for (const key of [...this.children.keys()].sort()) fields[key] = this.children.get(key)?.toV1();
    return fields;
  }

  get empty(): boolean {
    if (this.member) return false;
    for (const child of this.children.values()) if (!child.empty) return false;
    return true;
  }

  /** Every member as its path of elements. */
  *paths(prefix: readonly string[] = []): Generator<readonly string[]> {
    if (this.member) yield prefix;
    for (const [key, child] of this.children) yield* child.paths([...prefix, key]);
  }

  has(path: readonly string[]): boolean {
    return this.at(path)?.member ?? false;
  }

  at(path: readonly string[]): FieldSet | undefined {
    let node: FieldSet | undefined = this;
    for (const element of path) node = node?.children.get(element);
    return node;
  }

  union(other: FieldSet): FieldSet {
    const result = new FieldSet(this.member || other.member, this.children);
    for (const [key, child] of other.children) {
      const mine = result.children.get(key);
      result.children.set(key, mine === undefined ? child : mine.union(child));
    }
    return result;
  }

  minus(other: FieldSet): FieldSet {
    const result = new FieldSet(this.member && !other.member);
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      const left = theirs === undefined ? child : child.minus(theirs);
      if (!left.empty) result.children.set(key, left);
    }
    return result;
  }

  intersect(other: FieldSet): FieldSet {
    const result = new FieldSet(this.member && other.member);
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      if (theirs === undefined) continue;
      const both = child.intersect(theirs);
      if (!both.empty) result.children.set(key, both);
    }
    return result;
  }

  /** Without these paths and everything below them. */
  without(paths: readonly (readonly string[])[]): FieldSet {
    const result = new FieldSet(this.member);
    for (const [key, child] of this.children) {
      const below = paths.filter((path) => path[0] === key).map((path) => path.slice(1));
      if (below.some((path) => path.length === 0)) continue;
      const left = below.length === 0 ? child : child.without(below);
      if (!left.empty) result.children.set(key, left);
    }
    return result;
  }

  equals(other: FieldSet): boolean {
    return JSON.stringify(this.toV1()) === JSON.stringify(other.toV1()) && this.member === other.member;
  }
}

/** `.spec.containers[name="web"].image`, as kubectl shows conflicts. */
export function pathText(path: readonly string[]): string {
  let text = '';
  for (const element of path) {
    const rest = element.slice(2);
    if (element.startsWith('f:')) {
      text += `.${rest}`;
    } else if (element.startsWith('k:')) {
      const keys = Object.entries(JSON.parse(rest) as JsonObject);
      text += `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
    } else {
      text += `[${element.startsWith('v:') ? '=' : ''}${rest}]`;
    }
  }
  return text;
}

/** The fields that a value sets: its leaves (what the schema calls atomic is one), and every item of a keyed list. */
export function fieldsOf(value: unknown, schema: Schema | undefined): FieldSet {
  const parts = partsOf(value, schema);
  if (parts === undefined || parts.size === 0) return new FieldSet(true);
  const set = new FieldSet();
  for (const [element, part] of parts) {
    const child = fieldsOf(part.value, part.schema);
    if (part.item) child.member = true;
    set.children.set(element, child);
  }
  return set;
}

interface Part {
  readonly value: unknown;
  readonly schema: Schema | undefined;
  /** An item of a list: a member of the set by itself. */
  readonly item: boolean;
  /** Where it stands: the field's name, or the index in the list. */
  readonly at: string | number;
}

/** A granular value's parts by path element; undefined when apply treats the value as a whole. */
export function partsOf(value: unknown, schema: Schema | undefined): Map<string, Part> | undefined {
  if (schema?.kind === 'leaf') return undefined;
  if (Array.isArray(value)) {
    if (schema?.kind !== 'list' || schema.listType === 'atomic') return undefined;
    const parts = new Map<string, Part>();
    for (const [index, item] of value.entries()) {
      const element = itemElement(item, schema);
      // Duplicates have no place in a set; the value is then taken as a whole.
      if (element === undefined || parts.has(element)) return undefined;
      parts.set(element, { value: item, schema: schema.item, item: true, at: index });
    }
    return parts;
  }
  if (!isObject(value)) return undefined;
  if ((schema?.kind === 'object' || schema?.kind === 'map') && schema.atomic) return undefined;
  const parts = new Map<string, Part>();
  for (const key of Object.keys(value)) {
    const below =
      schema?.kind === 'object' ? schema.fields.get(key)?.schema : schema?.kind === 'map' ? schema.value : undefined;
    if (value[key] !== undefined) parts.set(`f:${key}`, { value: value[key], schema: below, item: false, at: key });
  }
  return parts;
}

/** `k:…` or `v:…` of a list's item; undefined when it lacks a key that has no preset. */
function itemElement(item: unknown, schema: ListSchema): string | undefined {
  if (schema.listType === 'set') return `v:${JSON.stringify(item)}`;
  if (!isObject(item)) return undefined;
  const keys: JsonObject = {};
  for (const key of [...schema.keys].sort()) {
    const preset = schema.item.kind === 'object' ? schema.item.fields.get(key)?.preset : undefined;
    const value = own(item, key) ?? preset;
    if (value === undefined) return undefined;
    keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

export interface Comparison {
  readonly changed: FieldSet;
  readonly removed: FieldSet;
}

/** What differs between two values: fields that are new or have another value, and fields that are gone. */
export function compare(before: unknown, after: unknown, schema: Schema | undefined): Comparison {
  if (before === after) return { changed: new FieldSet(), removed: new FieldSet() };
  const old = partsOf(before, schema);
  const now = partsOf(after, schema);
  if (old === undefined || now === undefined) {
    if (before === undefined) return { changed: fieldsOf(after, schema), removed: new FieldSet() };
    if (after === undefined) return { changed: new FieldSet(), removed: fieldsOf(before, schema) };
    const same = canonical(before) === canonical(after);
    return { changed: same ? new FieldSet() : fieldsOf(after, schema), removed: new FieldSet() };
  }
  const changed = new FieldSet();
  const removed = new FieldSet();
  for (const [element, part] of now) {
    const was = old.get(element);
    if (was === undefined) {
      const added = fieldsOf(part.value, part.schema);
      if (part.item) added.member = true;
      changed.children.set(element, added);
      continue;
    }
    const below = compare(was.value, part.value, part.schema);
    if (!below.changed.empty) changed.children.set(element, below.changed);
    if (!below.removed.empty) removed.children.set(element, below.removed);
  }
  for (const [element, part] of old) {
    if (now.has(element)) continue;
    const gone = fieldsOf(part.value, part.schema);
    // A part that is gone takes along whoever owned it as a whole.
    gone.member = true;
    removed.children.set(element, gone);
  }
  return { changed, removed };
}

/** JSON text that does not depend on the order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (!isObject(inner)) return inner;
    const sorted: JsonObject = {};
    for (const key of Object.keys(inner).sort()) sorted[key] = inner[key];
    return sorted;
  });
}
