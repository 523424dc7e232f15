import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeNftables } from '../../../../src/host/nftables/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { NftablesBackend } from '../../../../src/services/act/nftables-backend.ts';
import { contentOf } from '../../../harness/nft-content.ts';
import { FakeView } from '../support/fake-view.ts';
import { become, type State, stateArbitrary } from '../support/states.ts';
import { makeWorld, startedWorld, type World } from '../support/world.ts';

const backendOn = (kernel: FakeNftables): NftablesBackend => new NftablesBackend({ nftables: kernel, log: silent });

async function listing(kernel: FakeNftables): Promise<string[]> {
  return contentOf((await kernel.table('deckhand')) ?? '');
}

async function coldStart(state: State): Promise<string[]> {
  const kernel = new FakeNftables();
  const world = await startedWorld({
    backend: backendOn(kernel),
    services: new FakeView(state.services),
    slices: new FakeView(state.slices),
  });
  expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
  await world.loop.close();
  return listing(kernel);
}

const empty: State = { services: [], slices: [] };

describe('whatever the road, the tables end as after a cold start', () => {
  const roads: Record<string, (states: readonly State[]) => readonly State[]> = {
    forwards: (states) => states,
    reversed: (states) => [...states].reverse(),
    duplicated: (states) => states.flatMap((state) => [state, state]),
    'emptied in between': (states) => states.flatMap((state) => [empty, state]),
    'split in two': (states) => states.flatMap((state) => [{ ...state, slices: [] }, state]),
  };

  it.each(Object.keys(roads))('%s', async (road) => {
    await fc.assert(
      fc.asyncProperty(fc.array(stateArbitrary, { minLength: 1, maxLength: 4 }), async (states) => {
        const path = roads[road]?.(states) ?? [];
        const kernel = new FakeNftables();
        const world = await startedWorld({ backend: backendOn(kernel) });
        for (const state of path) {
          become(world, state);
          await world.settle(1);
        }
        expect(await listing(kernel)).toEqual(await coldStart(path.at(-1) ?? empty));
        expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
        await world.loop.close();
      }),
      { numRuns: 60 },
    );
  });

  it('squashed into one, with restarts, failures and foreign flushes on the way', async () => {
    const mishap = fc.constantFrom('none', 'no settling', 'restart', 'locked', 'refused', 'flush', 'lost element');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(stateArbitrary, mishap), { minLength: 1, maxLength: 6 }), async (steps) => {
        const kernel = new FakeNftables();
        let world: World = await startedWorld({ backend: backendOn(kernel) });
        for (const [state, what] of steps) {
          if (what === 'locked') kernel.failNext(new CodedError('Unavailable', 'locked'));
          if (what === 'refused') kernel.failNext(new CodedError('CommandFailed', 'refused'));
          if (what === 'flush') kernel.flush();
          if (what === 'lost element') {
            kernel.failNext(undefined);
            const [, element] =
              /map service-ips [^}]*elements = \{ (\S+ \. 6 \. \d+) :/.exec((await kernel.table('deckhand')) ?? '') ??
              [];
            if (element !== undefined) await kernel.apply(`delete element ip deckhand service-ips { ${element} }\n`);
          }
          if (what === 'restart') {
            await world.loop.close();
            world = await makeWorld({
              backend: backendOn(kernel),
              services: new FakeView(state.services),
              slices: new FakeView(state.slices),
            });
            await world.loop.start();
          }
          become(world, state);
          if (what !== 'no settling') await world.settle(1);
        }
        kernel.failNext(undefined);
        await world.settle(3_700_000);
        const last = steps.at(-1)?.[0] ?? empty;
        expect(await listing(kernel)).toEqual(await coldStart(last));
        const { applied } = kernel;
        await world.settle(3_700_000);
        expect(kernel.applied).toBe(applied);
        await world.loop.cleanup();
        expect(await kernel.table('deckhand')).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });
});
