import type { StoredEvent } from '../port.ts';

/** The last changes, oldest first, bounded by count. */
export class EventHistory {
  private readonly capacity: number;
  private events: StoredEvent[] = [];
  private head = 0;
  /** Every change after this version is here. */
  private since: number;
  /** Versions up to this one may have been promised to clients and lost: they are not in any history. */
  private readonly gaps: { readonly after: number; readonly until: number }[] = [];

  constructor(capacity: number, since = 0) {
    this.capacity = capacity;
    this.since = since;
  }

  push(event: StoredEvent): void {
    this.events.push(event);
    if (this.events.length - this.head > this.capacity) this.dropOldest();
  }

  /** Versions in (after, until) were skipped, because they may have been used by changes that a crash undid. */
  skip(after: number, until: number): void {
    this.gaps.push({ after, until });
  }

  /** Forgets everything up to and including `version`. */
  forget(version: number): void {
    while (this.head < this.events.length && (this.events[this.head]?.resourceVersion ?? 0) <= version) {
      this.dropOldest();
    }
    this.since = Math.max(this.since, version);
  }

  after(since: number): StoredEvent[] | undefined {
    if (since < this.since) return undefined;
    for (const gap of this.gaps) if (since > gap.after && since < gap.until) return undefined;
    let low = this.head;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.events[middle]?.resourceVersion ?? 0) <= since) low = middle + 1;
      else high = middle;
    }
    return this.events.slice(low);
  }

  private dropOldest(): void {
    const oldest = this.events[this.head];
    if (oldest !== undefined) this.since = oldest.resourceVersion;
    this.head++;
    // Shifting an array one by one is linear each time; half-empty arrays are cut instead.
    if (this.head >= this.capacity) {
      this.events = this.events.slice(this.head);
      this.head = 0;
    }
  }
}
