import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeIptables } from '../../../src/host/iptables/fake.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { keyOf } from '../../../src/model/meta.ts';
import type { EndpointSlice, Service } from '../../../src/model/service.ts';
import { FakeView } from './support/fake-view.ts';
import { here, nodeIP, service, slice, there } from './support/objects.ts';
import { makeWorld, startedWorld, type World } from './support/world.ts';

interface State {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
}

const endpointArbitrary = fc
  .record({
    last: fc.integer({ min: 1, max: 6 }),
    isHere: fc.boolean(),
    conditions: fc.constantFrom(
      { ready: true },
      { ready: false },
      { ready: false, serving: true, terminating: true },
      { ready: false, serving: false, terminating: true },
    ),
  })
  .map(({ last, isHere, conditions }) =>
    isHere ? here(`10.1.0.${last}`, conditions) : there(`10.1.1.${last}`, conditions),
  );

const names = ['ns/a', 'ns/b', 'ns/c', 'other/a'];

const serviceArbitrary = (key: string, index: number) =>
  fc.record({
    service: fc
      .record({
        protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
        type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'),
        external: fc.constantFrom('Cluster', 'Local'),
        internal: fc.constantFrom('Cluster', 'Local'),
        affinity: fc.constantFrom('None', 'ClientIP'),
        ranges: fc.constantFrom([], ['10.0.0.0/8'], ['192.168.0.0/24', '203.0.113.0/24']),
        second: fc.boolean(),
        headless: fc.boolean(),
      })
      .map((draw) => {
        const port = (name: string, number: number) => ({
          name,
          protocol: draw.protocol as 'TCP',
          port: number,
          ...(draw.type === 'ClusterIP' ? {} : { nodePort: 30_000 + index * 10 + (number % 10) }),
        });
        return service(
          key,
          {
            clusterIP: draw.headless && draw.second ? 'None' : `172.30.0.${index + 1}`,
            type: draw.type as 'ClusterIP',
            ports: draw.second ? [port('p80', 80), port('p81', 81)] : [port('p80', 80)],
            sessionAffinity: draw.affinity as 'None',
            internalTrafficPolicy: draw.internal as 'Local',
            externalTrafficPolicy: draw.external as 'Local',
            loadBalancerSourceRanges: [...draw.ranges],
          },
          draw.type === 'LoadBalancer' ? { loadBalancer: { ingress: [{ ip: `192.0.2.${index + 1}` }] } } : undefined,
        );
      }),
    slices: fc
      .array(
        fc.record({
          endpoints: fc.array(endpointArbitrary, { maxLength: 4 }),
          protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
        }),
        {
          maxLength: 2,
        },
      )
      .map((draws) =>
        draws.map(({ endpoints, protocol }, number) =>
          slice(key, endpoints, {
            suffix: String(number),
            ports: ['p80', 'p81'].map((name, offset) => ({ name, protocol: protocol as 'TCP', port: 8080 + offset })),
          }),
        ),
      ),
    present: fc.integer({ min: 0, max: 3 }),
  });

const stateArbitrary: fc.Arbitrary<State> = fc
  .tuple(...names.map((name, index) => serviceArbitrary(name, index)))
  .map((draws) => ({
    // A slice may be there before its Service, and after it.
    services: draws.flatMap((draw) => (draw.present & 1 ? [draw.service] : [])),
    slices: draws.flatMap((draw) => (draw.present & 2 ? draw.slices : [])),
  }));

function become(world: World, state: State): void {
  replace(world.services, state.services);
  replace(world.slices, state.slices);
}

function replace<T extends Service | EndpointSlice>(view: FakeView<T>, wanted: readonly T[]): void {
  const keys = new Set(wanted.map(keyOf));
  for (const object of [...view.values()]) if (!keys.has(keyOf(object))) view.delete(keyOf(object));
  view.put(...wanted);
}

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
