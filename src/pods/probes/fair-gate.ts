/**
 * Lets at most `limit` items run at once. While all places are taken, those who wait are served in turn by key (a pod),
 * so that a pod with many slow probes delays itself more than its neighbours.
 */
export class FairGate<T> {
  private readonly limit: number;
  private readonly start: (item: T) => void;
  private readonly waiting = new Map<string, T[]>();
  private running = 0;

  /** `start` must lead to exactly one `done()`, not before it returns. */
  constructor(limit: number, start: (item: T) => void) {
    this.limit = limit;
    this.start = start;
  }

  submit(key: string, item: T): void {
    if (this.running < this.limit) {
      this.running++;
      this.start(item);
      return;
    }
    const queue = this.waiting.get(key);
    if (queue === undefined) this.waiting.set(key, [item]);
    else queue.push(item);
  }

  done(): void {
    const first = this.waiting.entries().next();
    if (first.done === true) {
      this.running--;
      return;
    }
    const [key, queue] = first.value;
    const item = queue.shift();
    // To the end of the round, or out of it.
    this.waiting.delete(key);
    if (queue.length > 0) this.waiting.set(key, queue);
    if (item === undefined) this.running--;
    else this.start(item);
  }

  /** Forgets what waits under a key; what runs goes on. */
  drop(key: string): void {
    this.waiting.delete(key);
  }

  clear(): void {
    this.waiting.clear();
  }
}
