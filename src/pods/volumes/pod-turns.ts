import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';

/**
 * Lets the volume work of one pod run one at a time, each with a deadline. Work that hangs past it keeps its pod's turn
 * until it ends, and later work of that pod is refused meanwhile; other pods never wait.
 */
export class PodTurns {
  private readonly running = new Map<string, Promise<unknown>>();
  private readonly clock: Clock;
  private readonly deadlineMs: number;

  constructor(clock: Clock, deadlineMs: number) {
    this.clock = clock;
    this.deadlineMs = deadlineMs;
  }

  async run<T>(podUid: string, what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const until = this.clock.monotonic() + this.deadlineMs;
    for (let earlier = this.running.get(podUid); earlier !== undefined; earlier = this.running.get(podUid)) {
      await this.within(
        earlier.catch(() => {}),
        until,
        `${what}: earlier volume work of the pod has not ended`,
        signal,
      );
    }
    const mine = work();
    this.running.set(podUid, mine);
    const done = (): void => {
      this.running.delete(podUid);
    };
    mine.then(done, done);
    return this.within(mine, until, `${what}: not done`, signal);
  }

  private within<T>(work: Promise<T>, until: number, what: string, signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const onAbort = (): void => settle(() => reject(signal?.reason));
      const timer = this.clock.after(until - this.clock.monotonic(), () =>
        settle(() =>
          reject(
            new CodedError('DeadlineExceeded', `${what} within ${this.deadlineMs} ms`, { deadlineMs: this.deadlineMs }),
          ),
        ),
      );
      const settle = (finish: () => void): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        finish();
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
      work.then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }
}
