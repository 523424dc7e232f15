import { describe, expect, it } from 'vitest';
import { afterFailure, type BackoffEntry, RetryDelays, retryAt } from '../../../src/kit/backoff.ts';

const options = { baseMs: 10_000, maxMs: 300_000 };

describe('afterFailure', () => {
  it('doubles from the base to the maximum', () => {
    let entry: BackoffEntry | undefined;
    const delays: number[] = [];
    for (let now = 0; delays.length < 7; now += 1000) {
      entry = afterFailure(entry, now, options);
      delays.push(entry.delayMs / 1000);
    }
    expect(delays).toEqual([10, 20, 40, 80, 160, 300, 300]);
  });

  it('starts over after a quiet time of twice the maximum, or as long as it is told', () => {
    const entry: BackoffEntry = { failedAt: 0, delayMs: 300_000 };
    expect(afterFailure(entry, 600_000, options).delayMs).toBe(300_000);
    expect(afterFailure(entry, 600_001, options).delayMs).toBe(10_000);
    expect(afterFailure(entry, 5001, { ...options, resetAfterMs: 5000 }).delayMs).toBe(10_000);
  });
});

describe('retryAt', () => {
  it('is the failure and its delay', () => {
    expect(retryAt({ failedAt: 1000, delayMs: 500 }, 1100)).toBe(1500);
  });

  it('does not wait for a time that lies before the clock was set back', () => {
    expect(retryAt({ failedAt: 3_600_000, delayMs: 500 }, 1000)).toBe(1000);
    // Two clocks of one machine may differ by a little.
    expect(retryAt({ failedAt: 1900, delayMs: 500 }, 1000)).toBe(2400);
  });
});

describe('RetryDelays', () => {
  it('doubles, is capped, and begins anew after a reset', () => {
    const delays = new RetryDelays({ baseMs: 100, maxMs: 500 });
    expect([delays.next(), delays.next(), delays.next(), delays.next()]).toEqual([100, 200, 400, 500]);
    delays.reset();
    expect(delays.next()).toBe(100);
  });

  it('shortens by up to the jitter, never lengthens', () => {
    const draws = [0, 0.5, 1];
    const delays = new RetryDelays({ baseMs: 100, maxMs: 100, jitter: 0.3, random: () => draws.shift() ?? 0 });
    expect([delays.next(), delays.next(), delays.next()]).toEqual([100, 85, 70]);
  });

  it('stays finite however often it is asked', () => {
    const delays = new RetryDelays({ baseMs: 100, maxMs: 10_000 });
    for (let i = 0; i < 5000; i++) delays.next();
    expect(delays.next()).toBe(10_000);
  });
});
