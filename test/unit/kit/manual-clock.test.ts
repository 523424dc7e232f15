import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

describe('ManualClock', () => {
  it('stands still until it is moved', async () => {
    const clock = new ManualClock(5000);
    let ran = 0;
    clock.after(0, () => ran++);
    expect([clock.now(), clock.monotonic(), ran]).toEqual([5000, 0, 0]);
    await clock.advance(0);
    expect(ran).toBe(1);
    await clock.advance(250);
    expect([clock.now(), clock.monotonic()]).toEqual([5250, 250]);
  });

  it('runs timers in the order of their times, at their times; equal times in the order of their making', async () => {
    const clock = new ManualClock(0);
    const seen: string[] = [];
    const at = (ms: number, name: string) => clock.after(ms, () => seen.push(`${name}@${clock.now()}`));
    at(30, 'c');
    at(10, 'a1');
    at(10, 'a2');
    at(20, 'b');
    at(99, 'late');
    await clock.advance(50);
    expect(seen).toEqual(['a1@10', 'a2@10', 'b@20', 'c@30']);
    expect(clock.untilNext()).toBe(49);
  });

  it('runs timers that timers and promises make on the way', async () => {
    const clock = new ManualClock(0);
    const seen: number[] = [];
    const again = (): void => {
      seen.push(clock.now());
      if (seen.length < 4) void Promise.resolve().then(() => clock.after(10, again));
    };
    clock.after(10, again);
    await clock.advance(100);
    expect(seen).toEqual([10, 20, 30, 40]);
  });

  it('a cancelled timer does not run, and may be cancelled twice', async () => {
    const clock = new ManualClock();
    let ran = false;
    const timer = clock.after(10, () => {
      ran = true;
    });
    timer.cancel();
    timer.cancel();
    await clock.advance(100);
    expect(ran).toBe(false);
    expect(clock.untilNext()).toBeUndefined();
  });

  it('sleep ends in time, or with the reason of its signal and without leaving a timer', async () => {
    const clock = new ManualClock(0);
    const slept = clock.sleep(40).then(() => clock.now());
    const stop = new AbortController();
    const cut = clock.sleep(1000, stop.signal).catch((reason: unknown) => reason);
    await clock.advance(40);
    expect(await slept).toBe(40);
    stop.abort('enough');
    expect(await cut).toBe('enough');
    expect(clock.untilNext()).toBeUndefined();
    await expect(clock.sleep(1, AbortSignal.abort('late'))).rejects.toBe('late');
  });
});
