/**
 * A frozen copy of JSON data as the store keeps it: without undefined fields, sharing every subtree that is equal in
 * `previous`. Returns `previous` itself when nothing differs (the order of keys does not count). Objects that are
 * frozen are taken as they are: only the store freezes, and it freezes to the bottom.
 */
export function adopt<T>(next: T, previous?: unknown): T {
  return merge(next, previous) as T;
}

function merge(next: unknown, previous: unknown): unknown {
  if (next === previous || next === null || typeof next !== 'object') return next;
  if (Array.isArray(next)) return mergeArray(next, previous);
  return mergeObject(next as Record<string, unknown>, previous);
}

function mergeArray(next: readonly unknown[], previous: unknown): unknown {
  const before: readonly unknown[] | undefined = Array.isArray(previous) ? previous : undefined;
  if (before === undefined && Object.isFrozen(next)) return next;
  let same = before !== undefined && before.length === next.length;
  const copy: unknown[] = [];
  for (let i = 0; i < next.length; i++) {
    // An undefined item is null in JSON.
    const item = merge(next[i] ?? null, before?.[i]);
    if (same && item !== before?.[i]) same = false;
    copy.push(item);
  }
  return same ? before : Object.freeze(copy);
}

function mergeObject(next: Record<string, unknown>, previous: unknown): unknown {
  const before = isPlainObject(previous) ? previous : undefined;
  if (before === undefined && Object.isFrozen(next)) return next;
  const copy: Record<string, unknown> = {};
  let same = before !== undefined;
  let count = 0;
  for (const key of Object.keys(next)) {
    const value = next[key];
    if (value === undefined) continue;
    count++;
    const old = before !== undefined && Object.hasOwn(before, key) ? before[key] : undefined;
    const item = merge(value, old);
    if (same && (item !== old || old === undefined)) same = false;
    if (key === '__proto__') Object.defineProperty(copy, key, { value: item, enumerable: true });
    else copy[key] = item;
  }
  if (same && before !== undefined && Object.keys(before).length === count) return before;
  return Object.freeze(copy);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
