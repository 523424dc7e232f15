import { assign, isObject, type JsonObject, own } from './json-value.ts';

/** RFC 7386: null deletes, objects merge, everything else replaces. Changes nothing in place. */
export function jsonMergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else assign(result, key, jsonMergePatch(own(result, key), value));
  }
  return result;
}
