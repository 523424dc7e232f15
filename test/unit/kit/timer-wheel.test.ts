import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { TimerWheel } from '../../../src/kit/timer-wheel.ts';

function wheelOn(clock: ManualClock, options = {}): { wheel: TimerWheel; errors: unknown[] } {
  const errors: unknown[] = [];
  return { wheel: new TimerWheel(options, { clock, onError: (error) => errors.push(error) }), errors };
}

describe('TimerWheel', () => {
  it('fires each timer once, never early and at most one tick late, over several turns', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 8, maxLength: 20 }),
        async (times, steps) => {
          const clock = new ManualClock();
          const { wheel } = wheelOn(clock, { slots: 64, tickMs: 4 });
          const fired: [number, number][] = [];
          times.forEach((time, index) => {
            wheel.timerFor(() => fired.push([index, clock.monotonic()])).at(time);
          });
          for (const step of [...steps, 3100]) await clock.advance(step);
          expect(fired).toHaveLength(times.length);
          for (const [index, at] of fired) {
            const wanted = times[index] as number;
            expect(at).toBeGreaterThanOrEqual(wanted);
            expect(at - wanted).toBeLessThanOrEqual(4);
          }
          expect(wheel.pending).toBe(0);
          expect(clock.untilNext()).toBeUndefined();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps a periodic timer on its grid for a minute', async () => {
    const clock = new ManualClock();
    const { wheel } = wheelOn(clock);
    const fired: number[] = [];
    let next = 10_000;
    const timer = wheel.timerFor(() => {
      fired.push(clock.monotonic());
      next += 10_000;
      timer.at(next);
    });
    timer.at(next);
    await clock.advance(60_000);
    expect(fired).toEqual([10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
  });

  it('moves, cancels and sets again, also from within a round', async () => {
    const clock = new ManualClock();
    const { wheel } = wheelOn(clock);
    const fired: string[] = [];
    const second = wheel.timerFor(() => fired.push('second'));
    const third = wheel.timerFor(() => fired.push('third'));
    const first = wheel.timerFor(() => {
      fired.push('first');
      second.cancel();
      third.at(400);
    });
    first.at(100);
    second.at(100);
    third.at(100);
    await clock.advance(200);
    expect(fired).toEqual(['first']);
    expect(third.armed).toBe(true);
    third.at(300);
    await clock.advance(104);
    expect(fired).toEqual(['first', 'third']);
    await clock.advance(500);
    expect(fired).toEqual(['first', 'third']);
  });

  it('fires an earlier timer that is set while a later one waits', async () => {
    const clock = new ManualClock();
    const { wheel } = wheelOn(clock);
    const fired: string[] = [];
    wheel.timerFor(() => fired.push('late')).at(5000);
    wheel.timerFor(() => fired.push('soon')).at(8);
    await clock.advance(8);
    expect(fired).toEqual(['soon']);
  });

  it('starts in the present after it was empty for long', async () => {
    const clock = new ManualClock();
    const { wheel } = wheelOn(clock, { slots: 16 });
    await clock.advance(10_000_000);
    const fired: number[] = [];
    wheel.timerFor(() => fired.push(clock.monotonic())).at(clock.monotonic() + 40);
    expect(clock.untilNext()).toBe(40);
    await clock.advance(40);
    expect(fired).toEqual([10_000_040]);
  });

  it('does not stop at one that throws, and fires none after close', async () => {
    const clock = new ManualClock();
    const { wheel, errors } = wheelOn(clock);
    const fired: string[] = [];
    wheel
      .timerFor(() => {
        throw new Error('broken');
      })
      .at(4);
    wheel.timerFor(() => fired.push('next')).at(4);
    const later = wheel.timerFor(() => fired.push('later'));
    later.at(100);
    await clock.advance(50);
    expect(fired).toEqual(['next']);
    expect(errors).toHaveLength(1);
    wheel.close();
    later.at(60);
    await clock.advance(500);
    expect(fired).toEqual(['next']);
    expect(clock.untilNext()).toBeUndefined();
  });

  it('refuses a number of slots that is no power of two', () => {
    expect(() => wheelOn(new ManualClock(), { slots: 100 })).toThrow(/power of two/);
  });
});
