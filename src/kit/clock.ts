/** A timer that was started; `cancel` is idempotent. */
export interface Timer {
  cancel(): void;
}

/**
 * Time, injected everywhere so that tests can hold it still.
 * `now` is wall time in milliseconds since the epoch (it may jump); `monotonic` is milliseconds from an arbitrary
 * start that never goes back (CLOCK_MONOTONIC). Durations are measured with `monotonic`, statuses written with `now`.
 */
export interface Clock {
  now(): number;
  monotonic(): number;
  after(delayMs: number, run: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

// setTimeout silently fires at once for anything above this (Node documentation, timers).
const LONGEST_TIMEOUT_MS = 2_147_483_647;

export function sleepOn(clock: Pick<Clock, 'after'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The machine's clock. A timer keeps the process alive until it ran or was cancelled. */
export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(delayMs: number, run: () => void): Timer {
    if (delayMs <= 0) {
      // setTimeout waits for a millisecond at least, which is most of what a change of a Service takes.
      const immediate = setImmediate(run);
      return { cancel: () => clearImmediate(immediate) };
    }
    const handle = setTimeout(run, Math.min(delayMs, LONGEST_TIMEOUT_MS));
    return { cancel: () => clearTimeout(handle) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}
