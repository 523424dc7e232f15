import type { Clock } from './clock.ts';

export interface TokenBucketOptions {
  /** Tokens that come back each second. Zero or less: no limit at all (kubelet's QPS −1). */
  readonly perSecond: number;
  /** Tokens that a full bucket holds. */
  readonly burst: number;
}

/** A rate limit: takers wait for their turn in the order in which they came. */
export class TokenBucket {
  private tokens: number;
  private at: number;
  private readonly options: TokenBucketOptions;
  private readonly clock: Clock;

  constructor(options: TokenBucketOptions, clock: Clock) {
    this.options = options;
    this.clock = clock;
    this.tokens = options.burst;
    this.at = clock.monotonic();
  }

  /** Takes a token if there is one. */
  tryTake(): boolean {
    if (this.options.perSecond <= 0) return true;
    this.refill();
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }

  /** Takes a token, waiting for it if need be; rejects with the signal's reason when it aborts first. */
  async take(signal?: AbortSignal): Promise<void> {
    if (this.options.perSecond <= 0) return;
    this.refill();
    // Going below zero reserves a token that is still to come: this is the queue.
    this.tokens -= 1;
    if (this.tokens >= 0) return;
    try {
      await this.clock.sleep((-this.tokens / this.options.perSecond) * 1000, signal);
    } catch (error) {
      this.tokens += 1;
      throw error;
    }
  }

  private refill(): void {
    const now = this.clock.monotonic();
    this.tokens = Math.min(this.options.burst, this.tokens + ((now - this.at) / 1000) * this.options.perSecond);
    this.at = now;
  }
}
