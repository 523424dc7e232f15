import { type Clock, sleepOn, type Timer } from './clock.ts';

interface Pending {
  at: number;
  order: number;
  run: () => void;
}

/** A clock for tests: it moves only when told to, and runs due timers in the order of their times. */
export class ManualClock implements Clock {
  private time: number;
  private offset = 0;
  private readonly started: number;
  private order = 0;
  private readonly pending = new Set<Pending>();

  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.time = startMs;
    this.started = startMs;
  }

  now(): number {
    return this.time + this.offset;
  }

  /** Sets the wall clock on (or back) by so much; monotonic time and timers do not notice. */
  jump(ms: number): void {
    this.offset += ms;
  }

  monotonic(): number {
    return this.time - this.started;
  }

  after(delayMs: number, run: () => void): Timer {
    const entry: Pending = { at: this.time + Math.max(delayMs, 0), order: this.order++, run };
    this.pending.add(entry);
    return { cancel: () => this.pending.delete(entry) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** Moves time on by `ms`, running each timer that falls due at its own time; lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const next = this.earliest();
      if (next === undefined || next.at > end) break;
      this.pending.delete(next);
      this.time = next.at;
      next.run();
    }
    this.time = end;
    await settle();
  }

  /** Milliseconds until the next timer, or undefined when none is set. */
  untilNext(): number | undefined {
    const next = this.earliest();
    return next === undefined ? undefined : next.at - this.time;
  }

  private earliest(): Pending | undefined {
    let best: Pending | undefined;
    for (const entry of this.pending) {
      if (best === undefined || entry.at < best.at || (entry.at === best.at && entry.order < best.order)) best = entry;
    }
    return best;
  }
}

// setImmediate runs after the microtask queue is empty, however long the chain of promises is.
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
