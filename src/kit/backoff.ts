export interface BackoffOptions {
  /** The first delay, in milliseconds. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A key that has not failed for this long starts again at the base. Default: 2 × maxMs (client-go flowcontrol). */
  readonly resetAfterMs?: number;
  /** 0..1: how much of each delay is random, drawn by `random`. Default 0. */
  readonly jitter?: number;
  readonly random?: () => number;
}

/** The facts of one failing thing: when it failed last, and how long to wait after that. Times in milliseconds. */
export interface BackoffEntry {
  readonly failedAt: number;
  readonly delayMs: number;
}

/** Two clocks of one machine may differ by so much without one having been set. */
const CLOCK_SLACK_MS = 1000;

/** The next entry after a failure at `now`: doubles from base to max; starts over after a long enough quiet time. */
export function afterFailure(previous: BackoffEntry | undefined, now: number, options: BackoffOptions): BackoffEntry {
  const resetAfter = options.resetAfterMs ?? 2 * options.maxMs;
  const fresh = previous === undefined || now - previous.failedAt > resetAfter;
  const delay = fresh ? options.baseMs : Math.min(previous.delayMs * 2, options.maxMs);
  return { failedAt: now, delayMs: delay };
}

/**
 * When the thing may be tried again (milliseconds since the epoch). A failure in the future is one from before the clock
 * was set back: waiting until then could take hours.
 */
export function retryAt(entry: BackoffEntry, now: number): number {
  return entry.failedAt > now + CLOCK_SLACK_MS ? now : entry.failedAt + entry.delayMs;
}

/** Delays for a plain retry loop: base, doubled to max, each shortened at random by up to `jitter` of itself. */
export class RetryDelays {
  private attempt = 0;
  private readonly options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.options = options;
  }

  next(): number {
    const { baseMs, maxMs, jitter = 0, random = Math.random } = this.options;
    const full = Math.min(baseMs * 2 ** this.attempt, maxMs);
    this.attempt = Math.min(this.attempt + 1, 30);
    return full * (1 - jitter * random());
  }

  reset(): void {
    this.attempt = 0;
  }
}
