import { isDeepStrictEqual } from 'node:util';
import type { Schema } from '../schema/port.ts';
import { type Comparison, compare, FieldSet, fieldsOf, partsOf, pathText } from './field-set.ts';
import { assign, isObject, type JsonObject, own } from './json-value.ts';

/** Who writes, as managedFields records it. */
export interface Writer {
  readonly manager: string;
  readonly apiVersion: string;
  /** "" for the object itself. */
  readonly subresource: string;
  /** RFC 3339. */
  readonly time: string;
}

export interface Conflict {
  readonly manager: string;
  readonly apiVersion: string;
  readonly subresource: string;
  /** Such as .spec.replicas */
  readonly field: string;
}

interface Entry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  subresource: string;
  time: string;
  set: FieldSet;
}

// Fields that belong to the server: nobody owns them (fieldmanager/stripmeta.go).
const SERVER_FIELDS: readonly (readonly string[])[] = [
  ['f:apiVersion'],
  ['f:kind'],
  ...[
    'name',
    'generateName',
    'namespace',
    'selfLink',
    'uid',
    'resourceVersion',
    'generation',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'managedFields',
  ].map((name) => ['f:metadata', `f:${name}`]),
];
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const BEFORE_FIRST_APPLY = 'before-first-apply';

export type ApplyResult =
  | { readonly conflicts: readonly Conflict[] }
  | { readonly conflicts: undefined; readonly object: JsonObject };

/**
 * Server-side apply (KEP-555): merges `config` into `live`, takes away what this manager applied before and has left
 * out now unless somebody else owns it too, and records who owns what. Without `force`, changing a value that another
 * manager owns is a conflict. An object that was never applied is owned by "before-first-apply".
 */
export function serverSideApply(
  live: JsonObject | undefined,
  config: JsonObject,
  schema: Schema | undefined,
  writer: Writer,
  options: { readonly force: boolean; readonly unowned?: readonly (readonly string[])[] },
): ApplyResult {
  const unowned = [...SERVER_FIELDS, ...(options.unowned ?? [])];
  const entries = live === undefined ? [] : entriesOf(live);
  if (live !== undefined && entries.length === 0) {
    const set = fieldsOf(live, schema).without(unowned);
    entries.push({ ...writer, manager: BEFORE_FIRST_APPLY, operation: 'Update', subresource: '', set });
  }
  const mine = entries.find((entry) => entry.operation === 'Apply' && isBy(entry, writer));
  const others = entries.filter((entry) => entry !== mine);
  const applied = fieldsOf(config, schema).without(unowned);

  const merged = live === undefined ? structuredClone(config) : (mergeApplied(live, config, schema) as JsonObject);
  const { changed } = compare(live ?? {}, merged, schema);
  const conflicts = conflictsWith(others, changed);
  if (conflicts.length > 0 && !options.force && !ownedByLastApplied(live, conflicts, schema, writer)) {
    return {
      conflicts: conflicts.map(({ entry, path }) => ({
        manager: entry.manager,
        apiVersion: entry.apiVersion,
        subresource: entry.subresource,
        field: pathText(path),
      })),
    };
  }
  for (const entry of others) entry.set = entry.set.minus(entry.set.intersect(changed));

  let object = merged;
  if (mine !== undefined) {
    const kept = others.reduce((all, entry) => all.union(entry.set), applied);
    object = (prune(merged, mine.set, kept, schema) ?? {}) as JsonObject;
  }
  if (live !== undefined) dropRemoved(others, compare(live, object, schema));
  const time = mine?.set.equals(applied) ? mine.time : writer.time;
  const own: Entry = { ...writer, operation: 'Apply', time, set: applied };
  return { conflicts: undefined, object: withEntries(object, [own, ...others]) };
}

/**
 * Records an ordinary write (create, update, patch) in managedFields: the writer owns what it changed and the others
 * no longer do. Objects that were never applied are not tracked, which spares their memory; `next` is returned as is.
 */
export function trackUpdate(
  live: JsonObject,
  next: JsonObject,
  schema: Schema | undefined,
  writer: Writer,
  unowned: readonly (readonly string[])[] = [],
): JsonObject {
  const entries = entriesOf(live);
  if (entries.length === 0) return next;
  const difference = compare(live, next, schema);
  const all = [...SERVER_FIELDS, ...unowned];
  const changed = difference.changed.without(all);
  const removed = difference.removed.without(all);
  if (changed.empty && removed.empty) return withEntries(next, entries);
  let mine = entries.find((entry) => entry.operation === 'Update' && isBy(entry, writer));
  for (const entry of entries) if (entry !== mine) entry.set = entry.set.minus(changed);
  dropRemoved(entries, { changed, removed });
  if (!changed.empty) {
    if (mine === undefined) {
      mine = { ...writer, operation: 'Update', set: new FieldSet() };
      entries.push(mine);
    }
    mine.set = mine.set.union(changed);
    mine.time = writer.time;
  }
  return withEntries(next, entries);
}

function isBy(entry: Entry, writer: Writer): boolean {
  return (
    entry.manager === writer.manager &&
    entry.apiVersion === writer.apiVersion &&
    entry.subresource === writer.subresource
  );
}

function entriesOf(object: JsonObject): Entry[] {
  const metadata = object['metadata'];
  const list = isObject(metadata) ? metadata['managedFields'] : undefined;
  const entries: Entry[] = [];
  for (const item of Array.isArray(list) ? list : []) {
    if (!isObject(item) || item['fieldsType'] !== 'FieldsV1') continue;
    entries.push({
      manager: String(item['manager'] ?? ''),
      operation: item['operation'] === 'Apply' ? 'Apply' : 'Update',
      apiVersion: String(item['apiVersion'] ?? ''),
      subresource: String(item['subresource'] ?? ''),
      time: String(item['time'] ?? ''),
      set: rootSet(item['fieldsV1']),
    });
  }
  return entries;
}

// The root of FieldsV1 is no field by itself, even when it is empty.
function rootSet(fields: unknown): FieldSet {
  const set = FieldSet.fromV1(fields);
  set.member = false;
  return set;
}

function withEntries(object: JsonObject, entries: readonly Entry[]): JsonObject {
  const managedFields = entries
    .filter((entry) => !entry.set.empty)
    .map(({ manager, operation, apiVersion, subresource, time, set }) => ({
      manager,
      operation,
      apiVersion,
      time,
      fieldsType: 'FieldsV1',
      fieldsV1: set.toV1(),
      ...(subresource === '' ? {} : { subresource }),
    }));
  const { managedFields: _before, ...metadata } = isObject(object['metadata']) ? object['metadata'] : {};
  return { ...object, metadata: managedFields.length === 0 ? metadata : { ...metadata, managedFields } };
}

function conflictsWith(others: readonly Entry[], changed: FieldSet): { entry: Entry; path: readonly string[] }[] {
  const found: { entry: Entry; path: readonly string[] }[] = [];
  for (const entry of others) {
    for (const path of entry.set.intersect(changed).paths()) found.push({ entry, path });
  }
  return found;
}

/** `kubectl apply --server-side` takes over from `kubectl apply` what that had applied (fieldmanager/lastappliedmanager.go). */
function ownedByLastApplied(
  live: JsonObject | undefined,
  conflicts: readonly { readonly path: readonly string[] }[],
  schema: Schema | undefined,
  writer: Writer,
): boolean {
  if (writer.manager !== 'kubectl' || live === undefined) return false;
  const metadata = live['metadata'];
  const annotations = isObject(metadata) ? metadata['annotations'] : undefined;
  const text = isObject(annotations) ? annotations[LAST_APPLIED] : undefined;
  if (typeof text !== 'string') return false;
  try {
    const last = fieldsOf(JSON.parse(text), schema);
    return conflicts.every(({ path }) => last.has(path));
  } catch {
    return false;
  }
}

/** Fields that are gone belong to nobody. */
function dropRemoved(entries: readonly Entry[], { removed }: Comparison): void {
  if (removed.empty) return;
  for (const entry of entries) entry.set = entry.set.minus(removed);
}

function mergeApplied(live: unknown, config: unknown, schema: Schema | undefined): unknown {
  const before = partsOf(live, schema);
  const parts = partsOf(config, schema);
  if (before === undefined || parts === undefined) return config;
  if (schema?.kind === 'list') {
    const merged: unknown[] = [];
    const liveOnly = [...before].filter(([element]) => !parts.has(element)).map(([, part]) => part);
    const wanted = [...parts];
    for (const [index, [element, part]] of wanted.entries()) {
      const match = before.get(element);
      // Items that only the server has stay in front of what they stood in front of.
      const next = wanted.slice(index).find(([other]) => before.has(other));
      const limit = next === undefined ? Number.POSITIVE_INFINITY : Number(before.get(next[0])?.at);
      while (liveOnly[0] !== undefined && Number(liveOnly[0].at) < limit) merged.push(liveOnly.shift()?.value);
      merged.push(match === undefined ? part.value : mergeApplied(match.value, part.value, schema.item));
    }
    return [...merged, ...liveOnly.map((part) => part.value)];
  }
  const merged: JsonObject = { ...(live as JsonObject) };
  for (const part of parts.values()) {
    const key = String(part.at);
    if (part.value === null) delete merged[key];
    else assign(merged, key, mergeApplied(own(merged, key), part.value, part.schema));
  }
  return merged;
}

/** Takes from `value` the fields in `last` that are not in `kept`; undefined when nothing of it is left. */
function prune(value: unknown, last: FieldSet, kept: FieldSet | undefined, schema: Schema | undefined): unknown {
  const parts = partsOf(value, schema);
  if (parts === undefined || parts.size === 0) return value;
  let dropped = false;
  const left: [string | number, unknown][] = [];
  for (const [element, part] of parts) {
    const was = last.children.get(element);
    const keeps = kept?.children.get(element);
    if (was === undefined) {
      left.push([part.at, part.value]);
    } else if (was.member && (keeps === undefined || keeps.empty)) {
      dropped = true;
    } else {
      const rest = prune(part.value, was, keeps, part.schema);
      if (rest === undefined) dropped = true;
      else left.push([part.at, rest]);
    }
  }
  if (dropped && left.length === 0 && kept?.member !== true) return undefined;
  if (schema?.kind === 'list') return left.map(([, item]) => item);
  const object: JsonObject = {};
  for (const [key, item] of left) assign(object, String(key), item);
  return isDeepStrictEqual(object, value) ? value : object;
}
