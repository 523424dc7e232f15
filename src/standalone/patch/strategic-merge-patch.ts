import { isDeepStrictEqual } from 'node:util';
import { CodedError } from '../../kit/errors.ts';
import type { ListSchema, Schema } from '../schema/port.ts';
import { assign, isObject, type JsonObject, own } from './json-value.ts';

const DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const ORDER = '$setElementOrder/';
const DELETE_VALUES = '$deleteFromPrimitiveList/';

/**
 * Strategic merge patch (apimachinery pkg/util/strategicpatch, and "Strategic Merge Patch" in the API conventions): as
 * a merge patch, but lists merge by the schema's patch key, and directives delete, replace and order. Changes nothing
 * in place. Throws InvalidArgument for directives that make no sense.
 */
export function strategicMergePatch(target: unknown, patch: unknown, schema: Schema | undefined): unknown {
  if (!isObject(patch)) throw new CodedError('InvalidArgument', 'a strategic merge patch must be an object');
  return mergeObjects(isObject(target) ? target : {}, patch, schema);
}

function mergeObjects(target: JsonObject, patch: JsonObject, schema: Schema | undefined): JsonObject {
  const directive = patch[DIRECTIVE];
  if (directive === 'delete') return {};
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive !== undefined && directive !== 'merge') throw badDirective(directive);
  const result = retainKeys({ ...target }, patch);
  for (const key of Object.keys(patch)) {
    if (key === DIRECTIVE || key === RETAIN_KEYS || key.startsWith(ORDER)) continue;
    if (key.startsWith(DELETE_VALUES)) {
      deleteValues(result, key.slice(DELETE_VALUES.length), patch[key]);
      continue;
    }
    mergeField(result, key, patch[key], fieldSchema(schema, key));
  }
  for (const key of Object.keys(patch)) {
    if (key.startsWith(ORDER)) orderList(result, target, patch, key.slice(ORDER.length), patch[key], schema);
  }
  return result;
}

function mergeField(result: JsonObject, key: string, value: unknown, schema: Schema | undefined): void {
  if (value === null) {
    delete result[key];
    return;
  }
  const before = own(result, key);
  if (isObject(value)) {
    // A whole object can be deleted by its directive, too.
    if (value[DIRECTIVE] === 'delete' && Object.keys(value).length === 1) {
      if (before !== undefined) assign(result, key, {});
      return;
    }
    assign(result, key, isObject(before) ? mergeObjects(before, value, schema) : withoutDirectives(value));
  } else if (Array.isArray(value)) {
    const list = schema?.kind === 'list' ? schema : undefined;
    const merges = list?.patch === 'merge' && Array.isArray(before);
    assign(result, key, merges ? mergeLists(before, value, list) : listWithoutDirectives(value));
  } else {
    assign(result, key, value);
  }
}

function mergeLists(target: readonly unknown[], patch: readonly unknown[], schema: ListSchema): unknown[] {
  const key = schema.patchKey;
  if (key === undefined) {
    const merged = [...target];
    for (const value of patch) if (!includesEqual(merged, value)) merged.push(value);
    return inOrder(merged, patch, target, undefined);
  }
  if (patch.some((item) => isObject(item) && item[DIRECTIVE] === 'replace')) {
    return patch.filter((item) => !(isObject(item) && item[DIRECTIVE] === 'replace')).map(dropDirectives);
  }
  const merged = [...target];
  const ordinary: unknown[] = [];
  for (const item of patch) {
    const value = keyValue(item, key);
    const at = merged.findIndex((other) => isObject(other) && isDeepStrictEqual(other[key], value));
    const directive = isObject(item) ? item[DIRECTIVE] : undefined;
    if (directive === 'delete') {
      if (at >= 0) merged.splice(at, 1);
      continue;
    }
    if (directive !== undefined && directive !== 'merge') throw badDirective(directive);
    const before = merged[at];
    if (isObject(before) && isObject(item)) merged[at] = mergeObjects(before, item, schema.item);
    else merged.push(dropDirectives(item));
    ordinary.push(item);
  }
  return inOrder(merged, ordinary, target, key);
}

/** $setElementOrder/FIELD: the items that it names come in its order, the others keep their places on the server. */
function orderList(
  result: JsonObject,
  target: JsonObject,
  patch: JsonObject,
  field: string,
  order: unknown,
  schema: Schema | undefined,
): void {
  const list = own(result, field);
  if (!Array.isArray(order)) throw new CodedError('InvalidArgument', `${ORDER}${field} must be a list`);
  if (!Array.isArray(list)) return;
  const of = fieldSchema(schema, field);
  const key = of?.kind === 'list' ? of.patchKey : undefined;
  const patched = own(patch, field);
  for (const item of Array.isArray(patched) ? patched : []) {
    if (isObject(item) && item[DIRECTIVE] !== undefined) continue;
    if (!order.some((other) => sameItem(item, other, key))) {
      throw new CodedError(
        'InvalidArgument',
        `the order in ${ORDER}${field} lacks an item of the patch: ${JSON.stringify(item)}`,
      );
    }
  }
  const before = own(target, field);
  assign(result, field, inOrder(list, order, Array.isArray(before) ? before : [], key));
}

/**
 * Items that `order` names, in its order, woven into the rest by where they stand in `server`; an item that the server
 * does not know comes before the rest.
 */
function inOrder(
  merged: readonly unknown[],
  order: readonly unknown[],
  server: readonly unknown[],
  key: string | undefined,
): unknown[] {
  const rankIn = (list: readonly unknown[], item: unknown): number =>
    list.findIndex((other) => sameItem(item, other, key));
  const named = merged.filter((item) => rankIn(order, item) >= 0);
  named.sort((a, b) => rankIn(order, a) - rankIn(order, b));
  const rest = merged.filter((item) => rankIn(order, item) < 0);
  const result: unknown[] = [];
  let next = 0;
  for (const item of rest) {
    const rank = rankIn(server, item);
    while (next < named.length) {
      const rival = rankIn(server, named[next]);
      if (rank >= 0 && rival >= 0 && rank < rival) break;
      result.push(named[next++]);
    }
    result.push(item);
  }
  return [...result, ...named.slice(next)];
}

function sameItem(a: unknown, b: unknown, key: string | undefined): boolean {
  if (key !== undefined && isObject(a) && isObject(b)) return isDeepStrictEqual(a[key], b[key]);
  return isDeepStrictEqual(a, b);
}

function retainKeys(result: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch[RETAIN_KEYS];
  if (keys === undefined) return result;
  if (!Array.isArray(keys)) throw new CodedError('InvalidArgument', `${RETAIN_KEYS} must be a list of field names`);
  for (const key of Object.keys(patch)) {
    if (!key.startsWith('$') && patch[key] !== null && !keys.includes(key)) {
      throw new CodedError('InvalidArgument', `${RETAIN_KEYS} lacks ${key}, which the patch sets`);
    }
  }
  for (const key of Object.keys(result)) if (!keys.includes(key)) delete result[key];
  return result;
}

function deleteValues(result: JsonObject, field: string, values: unknown): void {
  if (!Array.isArray(values)) throw new CodedError('InvalidArgument', `${DELETE_VALUES}${field} must be a list`);
  const list = own(result, field);
  if (Array.isArray(list))
    assign(
      result,
      field,
      list.filter((item) => !includesEqual(values, item)),
    );
}

function keyValue(item: unknown, key: string): unknown {
  const value = isObject(item) ? item[key] : undefined;
  if (value === undefined) {
    throw new CodedError('InvalidArgument', `an item of the patch lacks its merge key ${key}: ${JSON.stringify(item)}`);
  }
  return value;
}

function dropDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return listWithoutDirectives(value);
  return isObject(value) ? withoutDirectives(value) : value;
}

/** A part of the patch that meets nothing on the server, as it will be stored. */
function withoutDirectives(object: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const key of Object.keys(object)) {
    if (key === DIRECTIVE || key === RETAIN_KEYS || key.startsWith(ORDER) || key.startsWith(DELETE_VALUES)) continue;
    const value = object[key];
    if (value !== null) assign(result, key, dropDirectives(value));
  }
  return result;
}

function listWithoutDirectives(list: readonly unknown[]): unknown[] {
  return list
    .filter((item) => !(isObject(item) && (item[DIRECTIVE] === 'delete' || isBareReplace(item))))
    .map(dropDirectives);
}

function isBareReplace(item: JsonObject): boolean {
  return item[DIRECTIVE] === 'replace' && Object.keys(item).length === 1;
}

function includesEqual(list: readonly unknown[], value: unknown): boolean {
  return list.some((other) => isDeepStrictEqual(other, value));
}

function fieldSchema(schema: Schema | undefined, key: string): Schema | undefined {
  if (schema?.kind === 'object') return schema.fields.get(key)?.schema;
  return schema?.kind === 'map' ? schema.value : undefined;
}

function badDirective(directive: unknown): CodedError {
  return new CodedError(
    'InvalidArgument',
    `${DIRECTIVE} must be replace, merge or delete, not ${JSON.stringify(directive)}`,
  );
}
