import { describe, expect, it } from 'vitest';
import type { HealthCheck } from '../../../src/api/health-checks.ts';
import { ServiceTalk, watchdogOf } from '../../../src/daemon/service-manager.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

function setUp(watchdogMs: number | undefined) {
  const clock = new ManualClock();
  const told: Readonly<Record<string, string>>[] = [];
  const world = { status: 'fine', live: undefined as string | undefined, away: false };
  const checks: HealthCheck[] = [
    { name: 'loop', kind: 'live', check: () => world.live },
    { name: 'node', kind: 'ready', check: () => 'never ready' },
  ];
  const talk = new ServiceTalk(
    { watchdogMs },
    {
      manager: {
        notify: async (assignments) => {
          if (world.away) throw new Error('nobody listens');
          told.push(assignments);
        },
      },
      checks,
      status: () => world.status,
      clock,
      log: silent,
    },
  );
  const stop = new AbortController();
  return { clock, told, world, talk, stop, done: talk.run(stop.signal) };
}

describe('what systemd is told', () => {
  it('READY at once, and twice a watchdog period that the service lives', async () => {
    const { clock, told, talk, stop, done } = setUp(20_000);
    await clock.advance(0);
    expect(told).toEqual([{ READY: '1', STATUS: 'fine' }]);
    await clock.advance(10_000);
    await clock.advance(10_000);
    expect(told.slice(1)).toEqual([{ WATCHDOG: '1' }, { WATCHDOG: '1' }]);
    stop.abort();
    await done;
    await talk.stopping();
    expect(told.at(-1)).toMatchObject({ STOPPING: '1' });
    expect(clock.untilNext()).toBeUndefined();
  });

  it('not that it lives while a live check fails; checks of readiness do not count', async () => {
    const { clock, told, world, stop, done } = setUp(20_000);
    await clock.advance(10_000);
    world.live = 'stuck';
    await clock.advance(20_000);
    expect(told.filter(({ WATCHDOG }) => WATCHDOG !== undefined)).toHaveLength(1);
    world.live = undefined;
    await clock.advance(10_000);
    expect(told.filter(({ WATCHDOG }) => WATCHDOG !== undefined)).toHaveLength(2);
    stop.abort();
    await done;
  });

  it('its status only when that changes, without a watchdog too', async () => {
    const { clock, told, world, stop, done } = setUp(undefined);
    await clock.advance(60_000);
    expect(told).toHaveLength(1);
    world.status = 'busy';
    await clock.advance(60_000);
    expect(told.slice(1)).toEqual([{ STATUS: 'busy' }]);
    stop.abort();
    await done;
  });

  it('again what it could not be told', async () => {
    const { clock, told, world, stop, done } = setUp(20_000);
    await clock.advance(0);
    world.away = true;
    world.status = 'busy';
    await clock.advance(10_000);
    expect(told).toHaveLength(1);
    world.away = false;
    await clock.advance(10_000);
    expect(told.at(-1)).toEqual({ WATCHDOG: '1', STATUS: 'busy' });
    stop.abort();
    await done;
  });
});

it.each([
  [{}, undefined],
  [{ WATCHDOG_USEC: '60000000' }, 60_000],
  [{ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7' }, 60_000],
  [{ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '8' }, undefined],
  [{ WATCHDOG_USEC: '1000000' }, undefined],
  [{ WATCHDOG_USEC: 'soon' }, undefined],
] as const)('the watchdog that %j asks for is %s', (environment, expected) => {
  expect(watchdogOf(environment, 7)).toBe(expected);
});
