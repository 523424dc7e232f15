import { CodedError } from '../../kit/errors.ts';
import type { HeldLock, LockPort } from './port.ts';

interface Queue {
  held: boolean;
  readonly waiting: (() => void)[];
}

/** Locks in memory: each path is held by one at a time, the others wait in their order. */
export class FakeLocks implements LockPort {
  private readonly queues = new Map<string, Queue>();
  private readonly closed: ReadonlySet<string>;

  /** `closed`: paths that cannot be opened. */
  constructor(closed: readonly string[] = []) {
    this.closed = new Set(closed);
  }

  async acquire(path: string, signal: AbortSignal): Promise<HeldLock> {
    if (this.closed.has(path)) throw new CodedError('InvalidConfig', `lock ${path}: cannot be opened`);
    const queue = this.queues.get(path) ?? { held: false, waiting: [] };
    this.queues.set(path, queue);
    if (queue.held) {
      await new Promise<void>((resolve, reject) => {
        const turn = (): void => {
          signal.removeEventListener('abort', gone);
          resolve();
        };
        const gone = (): void => {
          queue.waiting.splice(queue.waiting.indexOf(turn), 1);
          reject(new CodedError('Aborted', `lock ${path}: no longer waited for`));
        };
        queue.waiting.push(turn);
        signal.addEventListener('abort', gone, { once: true });
        if (signal.aborted) gone();
      });
    }
    queue.held = true;
    let mine = true;
    return {
      contended: async () => mine && queue.waiting.length > 0,
      release: async () => {
        if (!mine) return;
        mine = false;
        queue.held = false;
        queue.waiting.shift()?.();
      },
    };
  }
}
