import { expect, test } from 'vitest';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Lease } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { claimNodeName } from '../../../src/node/name-claim.ts';
import { failure, MemoryApi } from '../cluster/memory-api.ts';

const mine = { machineID: 'm1', systemUUID: 'A-1', bootID: 'b1' };

function setUp(other: Partial<typeof mine>, ready: 'True' | 'False' | 'Unknown' = 'True') {
  const api = new MemoryApi();
  const clock = new ManualClock();
  const events: string[] = [];
  const beat = (): void => {
    api.put<Lease>(resources.leases, {
      metadata: { name: 'n', namespace: 'kube-node-lease' },
      spec: { renewTime: new Date(clock.now()).toISOString() },
    });
  };
  api.put<Node>(resources.nodes, {
    metadata: { name: 'n' },
    status: { nodeInfo: { ...mine, ...other } as never, conditions: [{ type: 'Ready', status: ready }] },
  });
  beat();
  let done = false;
  const stop = new AbortController();
  const claim = claimNodeName(
    { nodeName: 'n', identity: mine, leaseSeconds: 40 },
    { api, clock, logger: silent, event: ({ reason }) => void events.push(reason) },
    stop.signal,
  ).then(() => {
    done = true;
  });
  const run = async (ms: number, beats: boolean): Promise<void> => {
    for (let at = 0; at < ms; at += 10_000) {
      await clock.advance(Math.min(10_000, ms - at));
      if (beats) beat();
    }
  };
  return { api, clock, claim, events, run, stop, done: () => done };
}

test.each([
  ['the same boot', { systemUUID: 'other' }, 'True'],
  ['the same machine after a reboot', { bootID: 'b0', systemUUID: 'a-1' }, 'True'],
  ['one that the node controller has found gone', { bootID: 'b0', systemUUID: 'B-2' }, 'Unknown'],
] as const)('goes on at once: %s', async (_, other, ready) => {
  const { run, done, events } = setUp(other, ready);
  await run(10, false);
  expect(done()).toBe(true);
  expect(events).toEqual([]);
});

test('waits while another machine lives, says so once, and goes on when its lease has run out', async () => {
  const { run, done, events } = setUp({ bootID: 'b0', systemUUID: 'B-2' });
  await run(200_000, true);
  expect(done()).toBe(false);
  expect(events).toEqual(['NodeNameConflict']);
  await run(45_000, false);
  expect(done()).toBe(true);
});

test('a machine that was replaced without a word: one lease duration, and no alarm', async () => {
  const { run, done, events } = setUp({ bootID: 'b0', systemUUID: 'B-2' });
  await run(30_000, false);
  expect(done()).toBe(false);
  await run(15_000, false);
  expect(done()).toBe(true);
  expect(events).toEqual([]);
});

test('an API that fails keeps nothing waiting', async () => {
  const { api, run, done } = setUp({ bootID: 'b0', systemUUID: 'B-2' });
  api.onRequest = () => Promise.reject(failure('Unavailable', 503, 'x', 'away'));
  await run(10, false);
  expect(done()).toBe(true);
});

test('nor does one that hangs', async () => {
  const { api, clock, done } = setUp({ bootID: 'b0', systemUUID: 'B-2' });
  // As the client does: a request ends with its signal.
  api.get = (_type, _target, signal?: AbortSignal) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  await clock.advance(2900);
  expect(done()).toBe(false);
  await clock.advance(200);
  expect(done()).toBe(true);
});
