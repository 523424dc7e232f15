import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeIptables } from '../../../src/host/iptables/fake.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { FakeView } from './support/fake-view.ts';
import { nodeIP } from './support/objects.ts';
import { become, type State, stateArbitrary } from './support/states.ts';
import { makeWorld, startedWorld } from './support/world.ts';

async function coldStart(state: State): Promise<string> {
  const world = await startedWorld({ services: new FakeView(state.services), slices: new FakeView(state.slices) });
  expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
  const text = await world.kernel.save();
  await world.loop.close();
  return text;
}

describe('whatever the road, the kernel ends as after a cold start', () => {
  const roads: Record<string, (states: readonly State[]) => readonly State[]> = {
    forwards: (states) => states,
    reversed: (states) => [...states].reverse(),
    duplicated: (states) => states.flatMap((state) => [state, state]),
    'emptied in between': (states) => states.flatMap((state) => [{ services: [], slices: [] }, state]),
    'split in two': (states) => states.flatMap((state) => [{ ...state, slices: [] }, state]),
  };

  it.each(Object.keys(roads))('%s', async (road) => {
    await fc.assert(
      fc.asyncProperty(fc.array(stateArbitrary, { minLength: 1, maxLength: 4 }), async (states) => {
        const path = roads[road]?.(states) ?? [];
        const world = await startedWorld();
        for (const state of path) {
          become(world, state);
          await world.settle(1);
        }
        expect(await world.kernel.save()).toBe(await coldStart(path.at(-1) ?? { services: [], slices: [] }));
        await world.loop.close();
      }),
      { numRuns: 60 },
    );
  });

  it('squashed into one, with restarts, failures and foreign flushes on the way', async () => {
    const mishap = fc.constantFrom('none', 'no settling', 'restart', 'locked', 'refused', 'flush', 'lost rule');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(stateArbitrary, mishap), { minLength: 1, maxLength: 6 }), async (steps) => {
        const kernel = new FakeIptables({ localAddresses: [nodeIP] });
        let world = await startedWorld({ kernel });
        for (const [state, what] of steps) {
          if (what === 'locked') kernel.failNext(new CodedError('Unavailable', 'locked'));
          if (what === 'refused') kernel.failNext(new CodedError('CommandFailed', 'refused'));
          if (what === 'flush') kernel.flush();
          if (what === 'lost rule') kernel.failNext(undefined);
          if (what === 'lost rule') await kernel.restore('*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n');
          if (what === 'restart') {
            await world.loop.close();
            world = await makeWorld({
              kernel,
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
        const last = steps.at(-1)?.[0] ?? { services: [], slices: [] };
        expect(await kernel.save()).toBe(await coldStart(last));
        const { restores } = kernel;
        await world.settle(3_700_000);
        expect(kernel.restores).toBe(restores);
        await world.loop.cleanup();
        expect(await kernel.save()).toBe(await new FakeIptables().save());
      }),
      { numRuns: 60 },
    );
  });
});
