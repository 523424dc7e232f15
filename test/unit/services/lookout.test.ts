import { describe, expect, it } from 'vitest';
import { FakeRuleWatch } from '../../../src/host/rule-watch/fake.ts';
import { OwnWriters } from '../../../src/host/rule-watch/own-writers.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { WatchAlarm } from '../../../src/services/act/watch-alarm.ts';
import { Lookout } from '../../../src/services/lookout.ts';

const nft = { pid: 8, name: 'nft' };

function lookoutWith(watch?: FakeRuleWatch) {
  const clock = new ManualClock(0);
  const lookout = new Lookout({ checkMs: 400, lazyMs: 10_000 }, { clock, alarm: new WatchAlarm(watch, silent) });
  const told: number[] = [];
  const unwatch = lookout.watch((inMs) => told.push(inMs));
  /** A look that takes so long. */
  const look = (costMs = 0, intact = true) =>
    lookout.look(async () => {
      await clock.advance(costMs);
      return intact;
    });
  return { clock, lookout, told, unwatch, look };
}

describe('when to look at the rules', () => {
  it('without an alarm: every now and then', async () => {
    const { clock, lookout, look } = lookoutWith();
    expect(lookout.isDue).toBe(false);
    await clock.advance(399);
    expect(lookout.isDue).toBe(false);
    await clock.advance(1);
    expect(lookout.isDue).toBe(true);
    await look();
    expect(lookout.isDue).toBe(false);
  });

  it('with one that works: seldom', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { clock, lookout, look, told } = lookoutWith(watch);
    watch.hears = true;
    await clock.advance(9_999);
    expect(lookout.isDue).toBe(false);
    await clock.advance(1);
    expect(lookout.isDue).toBe(true);
    await look();
    expect([lookout.isDue, told]).toEqual([false, []]);
  });

  it('with one that is deaf: as without', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { clock, lookout, look } = lookoutWith(watch);
    watch.hears = true;
    await clock.advance(400);
    expect(lookout.isDue).toBe(false);
    watch.fail();
    expect(lookout.isDue).toBe(true);
    await look();
    await clock.advance(400);
    expect(lookout.isDue).toBe(true);
  });

  it('when it rings: at once, and says who wrote', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { lookout, look, told } = lookoutWith(watch);
    watch.commit(nft);
    expect([lookout.isDue, told]).toEqual([true, [0]]);
    expect(await look(0, false)).toEqual({ intact: false, by: nft });
    expect(lookout.isDue).toBe(false);
    expect(await look()).toEqual({ intact: true, by: undefined });
  });

  it('after a dear look it rests, however often it rings: a twentieth of the time', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { clock, lookout, look, told } = lookoutWith(watch);
    await look(10);
    watch.commit(nft);
    expect([lookout.isDue, told]).toEqual([false, [191]]);
    await clock.advance(189);
    expect(lookout.isDue).toBe(false);
    await clock.advance(1);
    expect(lookout.isDue).toBe(true);
  });

  it('after one that found something it does not rest', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { lookout, look, told } = lookoutWith(watch);
    await look(10, false);
    watch.commit(nft);
    expect([lookout.isDue, told]).toEqual([true, [0]]);
  });

  it('what rings during a look is looked at by the next', async () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { lookout } = lookoutWith(watch);
    await lookout.look(async () => {
      watch.commit(nft);
      return true;
    });
    expect(lookout.isDue).toBe(true);
  });

  it('a look that fails counts as one', async () => {
    const { clock, lookout } = lookoutWith();
    await clock.advance(400);
    await expect(lookout.look(() => Promise.reject(new Error('no nft')))).rejects.toThrow('no nft');
    expect(lookout.isDue).toBe(false);
  });

  it('nobody is told any more after leaving', () => {
    const watch = new FakeRuleWatch(new OwnWriters());
    const { told, unwatch } = lookoutWith(watch);
    unwatch();
    watch.commit(nft);
    expect(told).toEqual([]);
  });
});
