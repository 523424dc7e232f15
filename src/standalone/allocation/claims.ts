import type { Clock } from '../../kit/clock.ts';

/** A reservation that no stored object has confirmed lapses after this long: its write failed. */
const PENDING_MS = 30_000;

/**
 * Who has which value (an address, a port). What stored objects hold comes from the Store's events; what was just
 * handed out is pending until its object is stored, or lapses.
 */
export class Claims<V> {
  private readonly held = new Map<V, string>();
  private readonly byOwner = new Map<string, readonly V[]>();
  private readonly pending = new Map<V, { readonly owner: string; readonly until: number }>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** True when nobody but `owner` has the value. */
  isFree(value: V, owner: string): boolean {
    const holder = this.held.get(value);
    if (holder !== undefined) return holder === owner;
    const reservation = this.pending.get(value);
    if (reservation === undefined || reservation.owner === owner) return true;
    if (reservation.until > this.clock.monotonic()) return false;
    this.pending.delete(value);
    return true;
  }

  reserve(value: V, owner: string): void {
    this.pending.set(value, { owner, until: this.clock.monotonic() + PENDING_MS });
  }

  /** What the stored object has now; empty after its deletion. Its reservations are settled by this. */
  confirm(owner: string, values: readonly V[]): void {
    for (const value of this.byOwner.get(owner) ?? []) {
      if (this.held.get(value) === owner) this.held.delete(value);
    }
    for (const value of values) {
      this.held.set(value, owner);
      if (this.pending.get(value)?.owner === owner) this.pending.delete(value);
    }
    if (values.length > 0) this.byOwner.set(owner, values);
    else this.byOwner.delete(owner);
  }

  get size(): number {
    return this.held.size;
  }
}
