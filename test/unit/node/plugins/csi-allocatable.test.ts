import { expect, test } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { CSIDriver } from '../../../../src/model/storage.ts';
import { CsiAllocatable } from '../../../../src/node/plugins/csi-allocatable.ts';
import { FakeView } from '../../services/support/fake-view.ts';

const driver = (name: string, seconds?: number): CSIDriver => ({
  metadata: { name },
  spec: seconds === undefined ? {} : { nodeAllocatableUpdatePeriodSeconds: seconds },
});

test('drivers are asked for their counts as often as their CSIDriver objects say, and others never', async () => {
  const clock = new ManualClock();
  const objects = new FakeView([driver('often', 20), driver('never'), driver('absent', 10)]);
  const asked: string[] = [];
  const stop = new AbortController();
  const run = new CsiAllocatable({
    drivers: {
      names: () => ['often', 'never'],
      update: async (name) => {
        asked.push(name);
        if (asked.length === 1) throw new Error('no answer');
      },
    },
    objects: () => objects,
    clock,
    log: silent,
  }).run(stop.signal);
  await clock.advance(65_000);
  expect(asked).toEqual(['often', 'often']);
  objects.put(driver('often'));
  await clock.advance(60_000);
  expect(asked).toHaveLength(2);
  stop.abort();
  await run;
});
