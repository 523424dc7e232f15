import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import { FakeView } from '../support/fake-view.ts';
import { become, type State, stateArbitrary } from '../support/states.ts';
import { makeWorld, startedWorld, type World } from '../support/world.ts';
import { IpvsFakeKernel } from './ipvs-kernel.ts';

async function coldStart(state: State): Promise<string[]> {
  const kernel = new IpvsFakeKernel();
  const world = await startedWorld({
    backend: kernel.backend(),
    services: new FakeView(state.services),
    slices: new FakeView(state.slices),
  });
  expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
  await world.loop.close();
  return kernel.content();
}

const empty: State = { services: [], slices: [] };
/** Long enough for real servers without connections to be taken away. */
const looks = 31_000;

describe('whatever the road, the kernel ends as after a cold start', () => {
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
        const kernel = new IpvsFakeKernel();
        const world = await startedWorld({ backend: kernel.backend() });
        for (const state of path) {
          become(world, state);
          await world.settle(1);
        }
        await world.settle(looks);
        expect(await kernel.content()).toEqual(await coldStart(path.at(-1) ?? empty));
        expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
        await world.loop.close();
      }),
      { numRuns: 60 },
    );
  });

  it('squashed into one, with restarts, failures and foreign hands on the way', async () => {
    const mishap = fc.constantFrom(
      ...['none', 'no settling', 'restart', 'ipvsadm fails', 'ipset fails', 'iptables fails'],
      ...['ipvsadm -C', 'ipset flush', 'iptables -F', 'ip link del'],
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(stateArbitrary, mishap), { minLength: 1, maxLength: 6 }), async (steps) => {
        const kernel = new IpvsFakeKernel();
        let world: World = await startedWorld({ backend: kernel.backend() });
        const { ipvs, ipset, iptables, device } = kernel;
        for (const [state, what] of steps) {
          if (what === 'ipvsadm fails') ipvs.failNext(new CodedError('Unavailable', 'killed'));
          if (what === 'ipset fails') ipset.failNext(new CodedError('CommandFailed', 'refused'));
          if (what === 'iptables fails') iptables.failNext(new CodedError('Unavailable', 'locked'));
          if (what === 'ipvsadm -C') ipvs.flush();
          if (what === 'ipset flush') ipset.flush();
          if (what === 'iptables -F') iptables.flush();
          if (what === 'ip link del') await device.remove();
          if (what === 'restart') {
            await world.loop.close();
            world = await makeWorld({
              backend: kernel.backend(),
              services: new FakeView(state.services),
              slices: new FakeView(state.slices),
            });
            await world.loop.start();
          }
          become(world, state);
          if (what !== 'no settling') await world.settle(1);
        }
        for (const part of [ipvs, ipset, iptables]) part.failNext(undefined);
        await world.settle(3_700_000);
        await world.settle(looks);
        const last = steps.at(-1)?.[0] ?? empty;
        expect(await kernel.content()).toEqual(await coldStart(last));
        const { writes } = kernel;
        await world.settle(3_700_000);
        expect(kernel.writes).toBe(writes);
        await world.loop.cleanup();
        expect(await kernel.content()).toEqual(await new IpvsFakeKernel().content());
      }),
      { numRuns: 60 },
    );
  });
});
