import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyedQueue, type KeyedQueueOptions, type RunResult } from '../../../src/kit/keyed-queue.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

/** A queue whose runs are noted as [key, monotonic ms], and last as long as `takes` says. */
class Bench {
  readonly clock = new ManualClock();
  readonly runs: [string, number][] = [];
  readonly errors: string[] = [];
  readonly queue: KeyedQueue;
  takes = 0;
  answer: (key: string) => RunResult = () => undefined;
  atOnce = 0;
  private readonly running = new Map<string, number>();

  constructor(options: Partial<KeyedQueueOptions> = {}) {
    this.queue = new KeyedQueue(this.clock, (key) => this.run(key), {
      retry: { baseMs: 100, maxMs: 1000 },
      onError: (key, error) => this.errors.push(`${key}: ${String(error)}`),
      ...options,
    });
  }

  times(key = 'a'): number[] {
    return this.runs.filter(([of]) => of === key).map(([, at]) => at);
  }

  private async run(key: string): Promise<RunResult> {
    this.runs.push([key, this.clock.monotonic()]);
    const now = (this.running.get(key) ?? 0) + 1;
    this.running.set(key, now);
    this.atOnce = Math.max(this.atOnce, now);
    try {
      if (this.takes > 0) await this.clock.sleep(this.takes);
      return this.answer(key);
    } finally {
      this.running.set(key, (this.running.get(key) ?? 1) - 1);
    }
  }
}

describe('KeyedQueue', () => {
  it('runs a key once for many requests, and once more for requests during the run', async () => {
    const bench = new Bench();
    bench.takes = 10;
    for (let i = 0; i < 5; i++) bench.queue.request('a');
    await bench.clock.advance(5);
    for (let i = 0; i < 5; i++) bench.queue.request('a');
    await bench.clock.advance(100);
    expect(bench.times()).toEqual([0, 10]);
  });

  it('never lets one key wait for another', async () => {
    const bench = new Bench();
    bench.takes = 1000;
    bench.queue.request('a');
    bench.queue.request('b');
    await bench.clock.advance(1);
    expect(bench.runs).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
  });

  it('keeps the runs of a key apart by the minimum interval, also after it had nothing to do', async () => {
    const bench = new Bench({ minIntervalMs: 100 });
    bench.queue.request('a');
    await bench.clock.advance(30);
    bench.queue.request('a');
    await bench.clock.advance(50);
    expect(bench.times()).toEqual([0]);
    await bench.clock.advance(500);
    bench.queue.request('a');
    await bench.clock.advance(1);
    expect(bench.times()).toEqual([0, 100, 580]);
  });

  it('runs a known key again after the maximum interval, and earlier if a run asks for it', async () => {
    const bench = new Bench({ maxIntervalMs: 1000 });
    bench.queue.request('a');
    await bench.clock.advance(2500);
    expect(bench.times()).toEqual([0, 1000, 2000]);
    bench.answer = () => ({ againInMs: 300 });
    await bench.clock.advance(1100);
    expect(bench.times()).toEqual([0, 1000, 2000, 3000, 3300, 3600]);
  });

  it('takes the earliest of several delays', async () => {
    const bench = new Bench();
    bench.queue.request('a', 500);
    bench.queue.request('a', 200);
    bench.queue.request('a', 900);
    await bench.clock.advance(1000);
    expect(bench.times()).toEqual([200]);
  });

  it('a delay that falls due during a run leads to one more run', async () => {
    const bench = new Bench();
    bench.takes = 100;
    bench.queue.request('a');
    await bench.clock.advance(10);
    bench.queue.request('a', 20);
    await bench.clock.advance(500);
    expect(bench.times()).toEqual([0, 100]);
  });

  it('repeats a run that throws with growing delays, and begins anew after a success', async () => {
    const bench = new Bench();
    let failing = true;
    bench.answer = () => {
      if (failing) throw new Error('no');
      return undefined;
    };
    bench.queue.request('a');
    await bench.clock.advance(750);
    expect(bench.times()).toEqual([0, 100, 300, 700]);
    expect(bench.errors).toEqual(['a: Error: no', 'a: Error: no', 'a: Error: no', 'a: Error: no']);
    failing = false;
    await bench.clock.advance(1000);
    failing = true;
    bench.runs.length = 0;
    bench.queue.request('a');
    const began = bench.clock.monotonic();
    await bench.clock.advance(150);
    expect(bench.times()).toEqual([began, began + 100]);
  });

  it('a request does not wait for the back-off', async () => {
    const bench = new Bench();
    bench.answer = () => {
      throw new Error('no');
    };
    bench.queue.request('a');
    await bench.clock.advance(10);
    bench.queue.request('a');
    await bench.clock.advance(1);
    expect(bench.times()).toEqual([0, 10]);
  });

  it('forgets a key: no timer of it fires any more', async () => {
    const bench = new Bench({ maxIntervalMs: 100 });
    bench.queue.request('a');
    await bench.clock.advance(10);
    expect([...bench.queue.keys()]).toEqual(['a']);
    bench.queue.forget('a');
    expect([...bench.queue.keys()]).toEqual([]);
    await bench.clock.advance(1000);
    expect(bench.times()).toEqual([0]);
    expect(bench.clock.untilNext()).toBeUndefined();
  });

  it('forgets a key during its run: that ends, and none follows', async () => {
    const bench = new Bench({ maxIntervalMs: 50 });
    bench.takes = 100;
    bench.queue.request('a');
    await bench.clock.advance(10);
    bench.queue.request('a');
    bench.queue.forget('a');
    expect([...bench.queue.keys()]).toEqual([]);
    await bench.clock.advance(1000);
    expect(bench.times()).toEqual([0]);
  });

  it('a key asked for again after it was forgotten during its run waits for that run', async () => {
    const bench = new Bench();
    bench.takes = 100;
    bench.queue.request('a');
    await bench.clock.advance(10);
    bench.queue.forget('a');
    bench.queue.request('a');
    await bench.clock.advance(1000);
    expect(bench.times()).toEqual([0, 100]);
    expect(bench.atOnce).toBe(1);
  });

  it('a failure of a run that was forgotten is not repeated', async () => {
    const bench = new Bench();
    bench.takes = 10;
    bench.answer = () => {
      throw new Error('no');
    };
    bench.queue.request('a');
    await bench.clock.advance(5);
    bench.queue.forget('a');
    await bench.clock.advance(5000);
    expect(bench.times()).toEqual([0]);
  });

  it('holds no key that has nothing to do', async () => {
    const bench = new Bench({ minIntervalMs: 20 });
    bench.queue.request('a');
    await bench.clock.advance(5);
    expect([...bench.queue.keys()]).toEqual(['a']);
    await bench.clock.advance(50);
    expect([...bench.queue.keys()]).toEqual([]);
  });

  it('close waits for the runs under way and starts no other', async () => {
    const bench = new Bench();
    bench.takes = 100;
    bench.queue.request('a');
    await bench.clock.advance(1);
    bench.queue.request('a');
    bench.queue.request('b', 10);
    let closed = false;
    const closing = bench.queue.close().then(() => {
      closed = true;
    });
    bench.queue.request('c');
    await bench.clock.advance(50);
    expect(closed).toBe(false);
    await bench.clock.advance(100);
    await closing;
    expect(bench.runs).toEqual([['a', 0]]);
  });

  it('close of an idle queue is done at once', async () => {
    const bench = new Bench({ maxIntervalMs: 10 });
    bench.queue.request('a');
    await bench.clock.advance(5);
    await bench.queue.close();
    await bench.clock.advance(100);
    expect(bench.times()).toEqual([0]);
  });

  it('whatever happens: one run of a key at a time, kept apart, and none lost (property)', async () => {
    const action = fc.oneof(
      fc.record({ type: fc.constant('request' as const), key: fc.constantFrom('a', 'b'), delay: fc.nat(40) }),
      fc.record({ type: fc.constant('forget' as const), key: fc.constantFrom('a', 'b') }),
      fc.record({ type: fc.constant('wait' as const), ms: fc.nat(30) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 30 }), fc.nat(20), fc.nat(15), async (actions, takes, min) => {
        const bench = new Bench({ minIntervalMs: min });
        bench.takes = takes;
        const asked = new Map<string, number>();
        for (const step of actions) {
          if (step.type === 'wait') await bench.clock.advance(step.ms);
          else if (step.type === 'forget') {
            bench.queue.forget(step.key);
            asked.delete(step.key);
          } else {
            bench.queue.request(step.key, step.delay);
            asked.set(step.key, bench.clock.monotonic());
          }
        }
        await bench.clock.advance(500);
        expect(bench.atOnce).toBeLessThanOrEqual(1);
        for (const [key, at] of asked) expect(bench.times(key).some((run) => run >= at)).toBe(true);
        for (const key of actions.some(({ type }) => type === 'forget') ? [] : ['a', 'b']) {
          const times = bench.times(key);
          for (const [i, at] of times.slice(1).entries()) expect(at - (times[i] ?? 0)).toBeGreaterThanOrEqual(min);
        }
        expect([...bench.queue.keys()]).toEqual([]);
      }),
      { numRuns: 200, seed: 2026 },
    );
  });
});
