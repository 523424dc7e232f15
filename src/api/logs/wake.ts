import type { Clock } from '../../kit/clock.ts';

/** Somebody waits, somebody else calls; a call that comes before is not lost. */
export class Wake {
  private readonly clock: Pick<Clock, 'sleep'>;
  private called = false;
  private waiting: (() => void) | undefined;

  constructor(clock: Pick<Clock, 'sleep'>) {
    this.clock = clock;
  }

  call(): void {
    this.called = true;
    this.waiting?.();
  }

  /** Resolves when called, or after `atMostMs`; rejects with the signal's reason. */
  async next(atMostMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.called) {
      const over = new AbortController();
      const called = new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
      try {
        await Promise.race([called, this.clock.sleep(atMostMs, AbortSignal.any([signal, over.signal]))]);
      } finally {
        this.waiting = undefined;
        over.abort();
      }
    }
    this.called = false;
  }
}
