import { expect, test } from 'vitest';
import { endOnContention } from '../../../src/daemon/lock-file.ts';
import { FakeLocks } from '../../../src/host/lock/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

test('with --exit-on-lock-contention another process that waits ends this one, within a second', async () => {
  const locks = new FakeLocks();
  const stop = new AbortController();
  const clock = new ManualClock();
  const lock = await locks.acquire('/run/lock', stop.signal);
  let ended: unknown;
  const watching = endOnContention('/run/lock', lock, { clock, log: silent }, stop.signal).catch((error: unknown) => {
    ended = error;
  });
  await clock.advance(5000);
  expect(ended).toBeUndefined();
  const other = locks.acquire('/run/lock', stop.signal);
  await clock.advance(1000);
  await watching;
  expect(ended).toMatchObject({ code: 'Aborted', message: expect.stringContaining('/run/lock is wanted by another') });
  await lock.release();
  await (await other).release();
});
