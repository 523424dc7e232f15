import { type KubeObject, keyOf } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import type { StoredEvent } from '../port.ts';

/** What a page of a list at one version holds. */
export interface Page {
  readonly objects: readonly KubeObject[];
  /** Where the next page starts; undefined at the end. */
  readonly next: string | undefined;
  /** Unknown with a filter. */
  readonly remaining: number | undefined;
}

export interface Row {
  readonly key: string;
  readonly object: KubeObject;
}

/** Takes the changes back: the rows as they were before the oldest of them. */
export function rewind(
  rows: readonly Row[],
  changes: readonly StoredEvent[],
  type: ResourceType,
  namespace: string | undefined,
  after: string | undefined,
): readonly Row[] {
  if (changes.length === 0) return rows;
  const then = new Map<string, KubeObject | undefined>();
  for (const change of changes) {
    if (change.resource.plural !== type.plural || change.resource.group !== type.group) continue;
    if (namespace !== undefined && namespace !== '' && change.object.metadata.namespace !== namespace) continue;
    const key = keyOf(change.object);
    if (after !== undefined && key <= after) continue;
    if (!then.has(key)) then.set(key, change.previous);
  }
  if (then.size === 0) return rows;
  const result = rows.filter((row) => !then.has(row.key));
  for (const [key, object] of then) if (object !== undefined) result.push({ key, object });
  return result.sort((a, b) => (a.key < b.key ? -1 : 1));
}

function firstMatching(rows: readonly Row[], matches: (object: KubeObject) => boolean, limit: number): readonly Row[] {
  const found: Row[] = [];
  for (const row of rows) {
    if (!matches(row.object)) continue;
    found.push(row);
    if (found.length >= limit) break;
  }
  return found;
}

/** The first `limit` rows that match. */
export function cutPage(
  all: readonly Row[],
  matches: ((object: KubeObject) => boolean) | undefined,
  limit: number,
): Page {
  const rows = matches === undefined ? all : firstMatching(all, matches, limit + 1);
  const page = rows.length > limit ? rows.slice(0, limit) : rows;
  const objects = page.map((row) => row.object);
  if (page.length === rows.length) return { objects, next: undefined, remaining: 0 };
  return {
    objects,
    next: page[page.length - 1]?.key,
    remaining: matches === undefined ? rows.length - page.length : undefined,
  };
}
