import type { Writer } from '../host/rule-watch/port.ts';
import type { Clock } from '../kit/clock.ts';
import type { Alarm } from './port.ts';

export interface LookoutOptions {
  /** How often to look while no alarm works, in milliseconds. */
  readonly checkMs: number;
  /** How often to look while one does: it may be deaf without knowing. Default 10 s. */
  readonly lazyMs?: number;
}

/** Looking for nothing takes at most this part of the time: 1/20. */
const share = 20;

/** Decides when to look whether the kernel still has our rules: after an alarm at once, else every now and then. */
export class Lookout {
  private readonly clock: Clock;
  private readonly alarm: Alarm | undefined;
  private readonly checkMs: number;
  private readonly lazyMs: number;
  private lookedAt: number;
  private restUntil = Number.NEGATIVE_INFINITY;
  private alarmed = false;
  /** Who rang last, since the last look. */
  private intruder: Writer | undefined;

  constructor(options: LookoutOptions, deps: { readonly clock: Clock; readonly alarm: Alarm | undefined }) {
    this.clock = deps.clock;
    this.alarm = deps.alarm;
    this.checkMs = options.checkMs;
    this.lazyMs = options.lazyMs ?? 10_000;
    this.lookedAt = this.clock.monotonic();
  }

  /** Tells how long until the look may be had, in milliseconds, after each alarm. */
  watch(tell: (inMs: number) => void): () => void {
    const unsubscribe = this.alarm?.subscribe((intruder) => {
      this.alarmed = true;
      this.intruder = intruder ?? this.intruder;
      const restMs = this.restUntil - this.clock.monotonic();
      // Timers may come a moment early.
      tell(restMs > 0 ? Math.ceil(restMs) + 1 : 0);
    });
    return () => unsubscribe?.();
  }

  get isDue(): boolean {
    const now = this.clock.monotonic();
    if (now < this.restUntil) return false;
    return this.alarmed || now - this.lookedAt >= (this.alarm?.hears ? this.lazyMs : this.checkMs);
  }

  /** Looks. `intruder`: who wrote last before it, where that is known. */
  async look(intact: () => Promise<boolean>): Promise<{ readonly intact: boolean; readonly by: Writer | undefined }> {
    const { clock, intruder } = this;
    this.lookedAt = clock.monotonic();
    // Before it: an alarm meanwhile may be about what the look does not see any more.
    this.alarmed = false;
    this.intruder = undefined;
    let isIntact = true;
    try {
      isIntact = await intact();
      return { intact: isIntact, by: intruder };
    } finally {
      // Who flushes once may do so again, and to find it was worth what it cost.
      this.restUntil = isIntact ? this.lookedAt + (clock.monotonic() - this.lookedAt) * share : this.lookedAt;
    }
  }
}
