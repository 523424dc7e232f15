import type { Clock } from '../../kit/clock.ts';
import { CodedError, type ErrorCode } from '../../kit/errors.ts';
import type { CriRuntime } from './port.ts';

export type CriOperation = Exclude<keyof CriRuntime, 'watchEvents' | 'close'>;

export interface FailOptions {
  /** How many matching calls fail. Default 1. */
  readonly times?: number;
  /** Only calls about such a subject: `namespace/pod`, `namespace/pod/container` or an image reference. */
  readonly match?: (subject: string) => boolean;
  /** Let the call take effect first, and lose only its answer. */
  readonly afterEffect?: boolean;
}

interface Failure {
  readonly operation: CriOperation;
  readonly error: CodedError;
  readonly match: (subject: string) => boolean;
  readonly afterEffect: boolean;
  left: number;
}

interface Wait {
  readonly operation: CriOperation;
  readonly match: (subject: string) => boolean;
  /** Resolves when the call may go on. */
  readonly until: (signal?: AbortSignal) => Promise<void>;
}

const always = (): boolean => true;

/** Errors and latency that a test wants of the fake runtime. */
export class FakeFaults {
  private failures: Failure[] = [];
  private waits: Wait[] = [];
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  fail(operation: CriOperation, error: CodedError | ErrorCode, options: FailOptions = {}): void {
    this.failures.push({
      operation,
      error: typeof error === 'string' ? new CodedError(error, `${operation}: ${error} (injected)`) : error,
      match: options.match ?? always,
      afterEffect: options.afterEffect ?? false,
      left: options.times ?? 1,
    });
  }

  /** Replaces any earlier delay of the operation; 0 takes it away. */
  delay(operation: CriOperation, ms: number, match?: (subject: string) => boolean): void {
    if (match === undefined) this.waits = this.waits.filter((wait) => wait.operation !== operation);
    if (ms <= 0) return;
    this.waits.push({ operation, match: match ?? always, until: (signal) => this.clock.sleep(ms, signal) });
  }

  /** Calls hang until the returned function is called. */
  hold(operation: CriOperation, match: (subject: string) => boolean = always): () => void {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const wait: Wait = {
      operation,
      match,
      until: (signal) =>
        new Promise((resolve, reject) => {
          void released.then(resolve);
          signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        }),
    };
    this.waits.push(wait);
    return () => {
      this.waits = this.waits.filter((other) => other !== wait);
      release();
    };
  }

  async wait(operation: CriOperation, subject: string, signal?: AbortSignal): Promise<void> {
    for (const wait of this.waits) {
      if (wait.operation === operation && wait.match(subject)) await wait.until(signal);
    }
  }

  /** Throws the first failure that is due. */
  check(operation: CriOperation, subject: string, afterEffect: boolean): void {
    const due = this.failures.find(
      (failure) => failure.operation === operation && failure.afterEffect === afterEffect && failure.match(subject),
    );
    if (due === undefined) return;
    due.left--;
    if (due.left <= 0) this.failures = this.failures.filter((failure) => failure !== due);
    throw due.error;
  }
}
