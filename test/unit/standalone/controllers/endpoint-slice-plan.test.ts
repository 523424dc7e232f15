import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../../src/model/pod.ts';
import type { EndpointSlice, Service } from '../../../../src/model/service.ts';
import { planSlices, type SlicePlan } from '../../../../src/standalone/controllers/endpoint-slice-plan.ts';
import { serviceWith } from '../admission/object-fixtures.ts';

interface PodFacts {
  readonly ready?: boolean;
  readonly ips?: readonly string[];
  readonly port?: number;
  readonly going?: boolean;
  readonly phase?: string;
  readonly labels?: Record<string, string>;
}

function pod(
  name: string,
  { ready = true, ips, port = 8080, going = false, phase = 'Running', labels }: PodFacts = {},
): Pod {
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      labels: labels ?? { app: 'web' },
      ...(going ? { deletionTimestamp: '2026-01-01T00:00:30Z' } : {}),
    },
    spec: { nodeName: 'n1', containers: [{ name: 'app', ports: [{ name: 'http', containerPort: port }] }] },
    status: {
      phase,
      podIPs: (ips ?? ['10.0.0.1']).map((ip) => ({ ip })),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2026-01-01T00:00:05Z' }],
    },
  } as Pod;
}

const service = serviceWith(
  {
    clusterIP: '10.96.0.9',
    ipFamilies: ['IPv4'],
    ports: [{ name: 'web', port: 80, protocol: 'TCP', targetPort: 'http' }],
  },
  { uid: 'uid-service', labels: { team: 'a' } },
);

/** What the API would hold after the plan was carried out. */
function carryOut(slices: readonly EndpointSlice[], plan: SlicePlan, counter: { next: number }): EndpointSlice[] {
  const named = (slice: EndpointSlice): EndpointSlice => ({
    ...slice,
    metadata: { ...slice.metadata, name: `web-${counter.next++}` },
  });
  const removed = new Set(plan.remove.map(({ metadata }) => metadata.name));
  const updated = new Map(plan.update.map((slice) => [slice.metadata.name, slice]));
  const kept = slices
    .filter(({ metadata }) => !removed.has(metadata.name))
    .map((slice) => updated.get(slice.metadata.name) ?? slice);
  return [...kept, ...plan.create.map(named)];
}

const plan = (pods: readonly Pod[], slices: readonly EndpointSlice[] = [], of: Service = service): SlicePlan =>
  planSlices({ service: of, pods, slices, zoneOf: (node) => (node === 'n1' ? 'zone-a' : undefined) });

describe('planSlices', () => {
  it('describes a pod', () => {
    const { create, update, remove } = plan([pod('a')]);
    expect([update, remove]).toEqual([[], []]);
    expect(create).toEqual([
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          generateName: 'web-',
          namespace: 'default',
          labels: {
            team: 'a',
            'kubernetes.io/service-name': 'web',
            'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
          },
          annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': '2026-01-01T00:00:05Z' },
          ownerReferences: [
            {
              apiVersion: 'v1',
              kind: 'Service',
              name: 'web',
              uid: 'uid-service',
              controller: true,
              blockOwnerDeletion: true,
            },
          ],
        },
        addressType: 'IPv4',
        endpoints: [
          {
            addresses: ['10.0.0.1'],
            conditions: { ready: true, serving: true, terminating: false },
            targetRef: { kind: 'Pod', namespace: 'default', name: 'a', uid: 'uid-a' },
            nodeName: 'n1',
            zone: 'zone-a',
          },
        ],
        ports: [{ name: 'web', protocol: 'TCP', port: 8080 }],
      },
    ]);
  });

  it.each([
    [{ ready: false }, { ready: false, serving: false, terminating: false }],
    [{ going: true }, { ready: false, serving: true, terminating: true }],
    [
      { going: true, ready: false },
      { ready: false, serving: false, terminating: true },
    ],
  ])('%j is %j', (facts, conditions) => {
    expect(plan([pod('a', facts)]).create[0]?.endpoints?.[0]?.conditions).toEqual(conditions);
  });

  it('publishes pods that are not ready where asked to', () => {
    const eager = serviceWith({ ...service.spec, publishNotReadyAddresses: true });
    expect(plan([pod('a', { ready: false, going: true })], [], eager).create[0]?.endpoints?.[0]?.conditions).toEqual({
      ready: true,
      serving: false,
      terminating: true,
    });
  });

  it.each([
    [{ phase: 'Succeeded' }],
    [{ phase: 'Failed' }],
    [{ ips: [] }],
    [{ labels: { app: 'db' } }],
    [{ ips: ['fd00::1'] }],
  ])('leaves out a pod with %j', (facts) => {
    const [slice, ...more] = plan([pod('a', facts)]).create;
    expect(more).toEqual([]);
    expect(slice?.endpoints).toEqual([]);
  });

  it('parts pods whose named port differs', () => {
    const { create } = plan([pod('a'), pod('b', { port: 9090 }), pod('c')]);
    expect(create.map(({ ports, endpoints }) => [ports?.[0]?.port, endpoints?.length])).toEqual([
      [8080, 2],
      [9090, 1],
    ]);
  });

  it('has slices of both families, and the headless label', () => {
    const dual = serviceWith({ ...service.spec, clusterIP: 'None', ipFamilies: ['IPv4', 'IPv6'] });
    const { create } = plan([pod('a', { ips: ['10.0.0.1', 'fd00::1'] })], [], dual);
    expect(create.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses])).toEqual([
      ['IPv4', ['10.0.0.1']],
      ['IPv6', ['fd00::1']],
    ]);
    expect(create[0]?.metadata.labels).toHaveProperty('service.kubernetes.io/headless', '');
  });

  it('gives hostnames to pods of its subdomain', () => {
    const named = pod('a');
    named.spec.hostname = 'db-0';
    named.spec.subdomain = 'web';
    expect(plan([named]).create[0]?.endpoints?.[0]?.hostname).toBe('db-0');
    named.spec.subdomain = 'other';
    expect(plan([named]).create[0]?.endpoints?.[0]).not.toHaveProperty('hostname');
  });

  it('keeps one empty slice for a service without pods', () => {
    const [slice] = carryOut([], plan([]), { next: 0 });
    if (slice === undefined) throw new Error('no slice');
    expect(plan([], [slice])).toEqual({ create: [], update: [], remove: [] });
    const filled = carryOut([slice], plan([pod('a')], [slice]), { next: 1 });
    expect(filled.map(({ endpoints }) => endpoints?.length)).toEqual([1]);
  });

  it('writes one slice for one changed pod of 250', () => {
    const pods = Array.from({ length: 250 }, (_, index) =>
      pod(`p${index}`, { ips: [`10.0.${Math.floor(index / 250)}.${index % 250}`] }),
    );
    const slices = carryOut([], plan(pods), { next: 0 });
    expect(slices.map(({ endpoints }) => endpoints?.length)).toEqual([100, 100, 50]);
    const changed = pods.map((one, index) =>
      index === 120 ? pod('p120', { ips: ['10.0.0.120'], ready: false }) : one,
    );
    const next = plan(changed, slices);
    expect([next.create.length, next.remove.length]).toEqual([0, 0]);
    expect(next.update.map(({ metadata }) => metadata.name)).toEqual(['web-1']);
    const fewer = plan(
      pods.filter((_, index) => index !== 7),
      slices,
    );
    expect(fewer.update.map(({ metadata, endpoints }) => [metadata.name, endpoints?.length])).toEqual([['web-0', 99]]);
  });

  it('always ends with each pod in exactly one slice, and then has nothing to do', () => {
    const ready = fc.boolean();
    const world = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 240 }), ready, fc.constantFrom(8080, 9090)), {
      selector: ([index]) => index,
      maxLength: 230,
    });
    fc.assert(
      fc.property(fc.array(world, { minLength: 1, maxLength: 5 }), (worlds) => {
        const counter = { next: 0 };
        let slices: EndpointSlice[] = [];
        for (const one of worlds) {
          const pods = one.map(([index, isReady, port]) =>
            pod(`p${index}`, { ips: [`10.0.0.${index}`], ready: isReady, port }),
          );
          slices = carryOut(slices, plan(pods, slices), counter);
          expect(plan(pods, slices)).toEqual({ create: [], update: [], remove: [] });
          const addresses = slices
            .flatMap(({ endpoints }) => endpoints ?? [])
            .map(({ addresses: [address] }) => address);
          expect([...addresses].sort()).toEqual(one.map(([index]) => `10.0.0.${index}`).sort());
          for (const slice of slices) expect(slice.endpoints?.length).toBeLessThanOrEqual(100);
        }
      }),
      { numRuns: 30 },
    );
  });
});
