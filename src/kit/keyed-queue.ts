import { type BackoffOptions, RetryDelays } from './backoff.ts';
import type { Clock, Timer } from './clock.ts';

export interface KeyedQueueOptions {
  /** A key's runs start at least this far apart, in milliseconds. Default 0. */
  readonly minIntervalMs?: number;
  /** Without any request, a known key runs again after this long. Default: never. */
  readonly maxIntervalMs?: number;
  /** Delays after a run that throws. */
  readonly retry: BackoffOptions;
  readonly onError: (key: string, error: unknown) => void;
}

/** What a run may ask for: another run of its key after so many milliseconds. */
export type RunResult = { readonly againInMs?: number } | undefined;

interface Entry {
  running: boolean;
  requested: boolean;
  /** Forgotten during its run, and not asked for since: to be dropped when the run ends. */
  forgotten: boolean;
  lastStart: number;
  timer: Timer | undefined;
  timerAt: number;
  retry: RetryDelays | undefined;
}

/**
 * Coalesces work by key: at most one run per key at a time, any number of requests during a run make one more run,
 * runs of different keys never wait for each other. A run that throws is retried with back-off.
 */
export class KeyedQueue {
  private readonly entries = new Map<string, Entry>();
  private readonly idle: (() => void)[] = [];
  private running = 0;
  private closed = false;
  private readonly clock: Clock;
  private readonly run: (key: string) => Promise<RunResult> | RunResult;
  private readonly options: KeyedQueueOptions;

  constructor(clock: Clock, run: (key: string) => Promise<RunResult> | RunResult, options: KeyedQueueOptions) {
    this.clock = clock;
    this.run = run;
    this.options = options;
  }

  /** Asks for a run of `key` as soon as its minimum interval allows, or after `delayMs`. The earliest request wins. */
  request(key: string, delayMs = 0): void {
    if (this.closed) return;
    const entry = this.entry(key);
    entry.forgotten = false;
    if (entry.running && delayMs === 0) {
      entry.requested = true;
      return;
    }
    this.schedule(key, entry, delayMs);
  }

  /** Drops a key: unless it is asked for anew no run of it starts any more; a run under way ends by itself. */
  forget(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    entry.timer?.cancel();
    if (!entry.running) {
      this.entries.delete(key);
      return;
    }
    // Kept until then, so that a request in the meantime does not lead to a second run beside this one.
    entry.timer = undefined;
    entry.timerAt = Number.POSITIVE_INFINITY;
    entry.requested = false;
    entry.retry = undefined;
    entry.forgotten = true;
  }

  *keys(): IterableIterator<string> {
    for (const [key, { forgotten }] of this.entries) if (!forgotten) yield key;
  }

  /** Starts no more runs; resolves when those under way have ended. */
  async close(): Promise<void> {
    this.closed = true;
    for (const entry of this.entries.values()) entry.timer?.cancel();
    if (this.running > 0) await new Promise<void>((resolve) => this.idle.push(resolve));
  }

  private entry(key: string): Entry {
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = {
        running: false,
        requested: false,
        forgotten: false,
        lastStart: Number.NEGATIVE_INFINITY,
        timer: undefined,
        timerAt: Number.POSITIVE_INFINITY,
        retry: undefined,
      };
      this.entries.set(key, entry);
    }
    return entry;
  }

  private schedule(key: string, entry: Entry, delayMs: number): void {
    const now = this.clock.monotonic();
    const at = Math.max(now + delayMs, entry.lastStart + (this.options.minIntervalMs ?? 0));
    if (entry.timer !== undefined && entry.timerAt <= at) return;
    entry.timer?.cancel();
    entry.timerAt = at;
    entry.timer = this.clock.after(at - now, () => {
      entry.timer = undefined;
      entry.timerAt = Number.POSITIVE_INFINITY;
      if (entry.running) entry.requested = true;
      else void this.start(key, entry);
    });
  }

  /** Forgets an idle key, but not before its minimum interval is over. */
  private expire(key: string, entry: Entry): void {
    const left = entry.lastStart + (this.options.minIntervalMs ?? 0) - this.clock.monotonic();
    if (left <= 0) {
      this.entries.delete(key);
      return;
    }
    this.clock.after(left, () => {
      const idle = !entry.running && entry.timer === undefined;
      if (idle && this.entries.get(key) === entry) this.entries.delete(key);
    });
  }

  private async start(key: string, entry: Entry): Promise<void> {
    if (this.closed || this.entries.get(key) !== entry) return;
    entry.running = true;
    entry.requested = false;
    entry.lastStart = this.clock.monotonic();
    this.running++;
    let againInMs: number | undefined;
    try {
      const result = await this.run(key);
      againInMs = result?.againInMs;
      entry.retry = undefined;
    } catch (error) {
      this.options.onError(key, error);
      if (!entry.forgotten) {
        entry.retry ??= new RetryDelays(this.options.retry);
        againInMs = entry.retry.next();
      }
    } finally {
      entry.running = false;
      this.running--;
    }
    if (this.closed) {
      if (this.running === 0) for (const resolve of this.idle.splice(0)) resolve();
      return;
    }
    if (entry.forgotten) {
      this.entries.delete(key);
      return;
    }
    if (entry.requested) againInMs = 0;
    const delay = Math.min(
      againInMs ?? Number.POSITIVE_INFINITY,
      this.options.maxIntervalMs ?? Number.POSITIVE_INFINITY,
    );
    if (Number.isFinite(delay)) this.schedule(key, entry, delay);
    else if (entry.timer === undefined) this.expire(key, entry);
  }
}
