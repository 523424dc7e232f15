import fc from 'fast-check';
import { keyOf } from '../../../../src/model/meta.ts';
import type { EndpointSlice, Service } from '../../../../src/model/service.ts';
import type { FakeView } from './fake-view.ts';
import { here, service, slice, there } from './objects.ts';

export interface State {
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

export const stateArbitrary: fc.Arbitrary<State> = fc
  .tuple(...names.map((name, index) => serviceArbitrary(name, index)))
  .map((draws) => ({
    // A slice may be there before its Service, and after it.
    services: draws.flatMap((draw) => (draw.present & 1 ? [draw.service] : [])),
    slices: draws.flatMap((draw) => (draw.present & 2 ? draw.slices : [])),
  }));

export function become(world: { services: FakeView<Service>; slices: FakeView<EndpointSlice> }, state: State): void {
  replace(world.services, state.services);
  replace(world.slices, state.slices);
}

function replace<T extends Service | EndpointSlice>(view: FakeView<T>, wanted: readonly T[]): void {
  const keys = new Set(wanted.map(keyOf));
  for (const object of [...view.values()]) if (!keys.has(keyOf(object))) view.delete(keyOf(object));
  view.put(...wanted);
}
