import type { Clock } from './clock.ts';

export interface ExpiringCacheOptions {
  /** More entries than these push out those that were asked for longest ago. */
  readonly most: number;
}

interface Entry<T> {
  readonly value: T;
  readonly until: number;
}

/** Remembers answers for a while. Whoever asks for what is being asked for already waits for the same answer. */
export class ExpiringCache<T> {
  private readonly options: ExpiringCacheOptions;
  private readonly clock: Pick<Clock, 'monotonic'>;
  private readonly entries = new Map<string, Entry<T>>();
  private readonly pending = new Map<string, Promise<T>>();

  constructor(options: ExpiringCacheOptions, deps: { readonly clock: Pick<Clock, 'monotonic'> }) {
    this.options = options;
    this.clock = deps.clock;
  }

  get size(): number {
    return this.entries.size;
  }

  /** What `ask` answers and for how long, in milliseconds, it holds (0: not at all). What it throws is not remembered. */
  async get(key: string, ask: () => Promise<{ readonly value: T; readonly ttlMs: number }>): Promise<T> {
    const known = this.entries.get(key);
    if (known !== undefined && this.clock.monotonic() < known.until) {
      // The order of a Map is that of insertion: asked for now is at the end.
      this.entries.delete(key);
      this.entries.set(key, known);
      return known.value;
    }
    const pending = this.pending.get(key) ?? this.ask(key, ask);
    this.pending.set(key, pending);
    return await pending;
  }

  private async ask(key: string, ask: () => Promise<{ readonly value: T; readonly ttlMs: number }>): Promise<T> {
    try {
      const { value, ttlMs } = await ask();
      this.entries.delete(key);
      if (ttlMs > 0) this.entries.set(key, { value, until: this.clock.monotonic() + ttlMs });
      for (const oldest of this.entries.keys()) {
        if (this.entries.size <= this.options.most) break;
        this.entries.delete(oldest);
      }
      return value;
    } finally {
      this.pending.delete(key);
    }
  }
}
