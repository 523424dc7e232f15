import type { KubeObject } from '../../model/meta.ts';

export interface Entry {
  /** namespace/name, or name. */
  readonly key: string;
  readonly object: KubeObject;
  /** The length of the object's record in the write-ahead file. */
  readonly bytes: number;
}

/** The objects of one kind: found by key, walked in the order of keys. */
export class ObjectTable {
  private readonly byKey = new Map<string, Entry>();
  private readonly sorted: Entry[] = [];

  get size(): number {
    return this.sorted.length;
  }

  get(key: string): Entry | undefined {
    return this.byKey.get(key);
  }

  /** Puts or (undefined) removes; returns what was there. */
  set(key: string, entry: Entry | undefined): Entry | undefined {
    const before = this.byKey.get(key);
    const at = this.lowerBound(key);
    if (entry === undefined) {
      if (before !== undefined) {
        this.byKey.delete(key);
        this.sorted.splice(at, 1);
      }
      return before;
    }
    this.byKey.set(key, entry);
    // Loading a snapshot appends in order; splice at the end is as cheap as push.
    this.sorted.splice(at, before === undefined ? 0 : 1, entry);
    return before;
  }

  /** Entries of a namespace (or all), after the key `after`, at most `limit`. */
  range(namespace?: string, after?: string, limit = Number.POSITIVE_INFINITY): Entry[] {
    const prefix = namespace === undefined || namespace === '' ? '' : `${namespace}/`;
    // "0" follows "/" in ASCII: the first key that is not in the namespace any more.
    const end = prefix === '' ? this.sorted.length : this.lowerBound(`${namespace}0`);
    let start = prefix === '' ? 0 : this.lowerBound(prefix);
    if (after !== undefined) {
      const next = this.lowerBound(after);
      start = Math.max(start, this.sorted[next]?.key === after ? next + 1 : next);
    }
    return this.sorted.slice(start, Math.min(end, start + limit));
  }

  entries(): readonly Entry[] {
    return this.sorted;
  }

  private lowerBound(key: string): number {
    const last = this.sorted[this.sorted.length - 1];
    if (last === undefined || last.key < key) return this.sorted.length;
    let low = 0;
    let high = this.sorted.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.sorted[middle]?.key ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
