import type { Clock, Timer } from '../kit/clock.ts';

/**
 * The signal of one request: it aborts with the caller's, or when time is over, and knows which of the two it was.
 * Not AbortSignal.any: on Node 20 that keeps a trace of every request on a caller's signal that lives as long as the
 * process (nodejs/node 54614).
 */
export class RequestStop {
  cause: 'caller' | 'time' | undefined;
  private readonly controller = new AbortController();
  private readonly clock: Clock;
  private readonly caller: AbortSignal | undefined;
  private readonly limitMs: number;
  private last: number;
  private timer: Timer;
  private readonly onCaller = (): void => this.abort('caller');

  constructor(clock: Clock, limitMs: number, caller: AbortSignal | undefined) {
    this.clock = clock;
    this.limitMs = limitMs;
    this.caller = caller;
    this.last = clock.monotonic();
    this.timer = clock.after(limitMs, () => this.check());
    if (caller?.aborted) this.abort('caller');
    else caller?.addEventListener('abort', this.onCaller, { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Starts the time limit over. The timer is not touched here: it finds out when it fires. */
  extend(): void {
    this.last = this.clock.monotonic();
  }

  end(): void {
    this.timer.cancel();
    this.caller?.removeEventListener('abort', this.onCaller);
  }

  private check(): void {
    const left = this.limitMs - (this.clock.monotonic() - this.last);
    if (left <= 0) this.abort('time');
    else this.timer = this.clock.after(left, () => this.check());
  }

  private abort(cause: 'caller' | 'time'): void {
    this.cause ??= cause;
    this.controller.abort();
  }
}
