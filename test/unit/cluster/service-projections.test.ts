import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CompactEndpointSlice } from '../../../src/cluster/compact-endpoint-slice.ts';
import { slimService } from '../../../src/cluster/slim-service.ts';
import type { EndpointSlice, Service } from '../../../src/model/service.ts';
import { serviceEnvironment } from '../../../src/pods/environment/service-environment.ts';
import { isProxied, serviceRules } from '../../../src/services/policy/service-rules.ts';
import { facts, nodeName } from '../services/support/objects.ts';

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Without the keys that are undefined, as JSON has it. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const names = fc.array(fc.record({ name: fc.constantFrom('zone-a', 'zone-b', nodeName, 'node-b', 'ž , x') }), {
  maxLength: 2,
});
const endpoint = fc.record({
  addresses: optional(
    fc.array(fc.constantFrom('10.1.0.1', '10.1.0.2', '10.1.1.3', 'fd00:10::1', 'not an\naddress', '', '%41'), {
      maxLength: 2,
    }),
  ),
  conditions: optional(
    fc.record({ ready: optional(fc.boolean()), serving: optional(fc.boolean()), terminating: optional(fc.boolean()) }),
  ),
  nodeName: optional(fc.constantFrom(nodeName, 'node-b')),
  hints: optional(fc.record({ forZones: optional(names), forNodes: optional(names) })),
  zone: optional(fc.constant('zone-a')),
  targetRef: optional(fc.constant({ kind: 'Pod', name: 'p', namespace: 'ns', uid: 'u' })),
});
const slices = fc
  .record({
    addressType: fc.constantFrom('IPv4' as const, 'IPv6' as const, 'FQDN' as const),
    ports: optional(
      fc.array(
        fc.record({
          name: optional(fc.constantFrom('', 'p80', 'dns')),
          protocol: optional(fc.constantFrom('TCP', 'UDP')),
          port: optional(fc.constantFrom(80, 8080, 70_000)),
        }),
        { maxLength: 3 },
      ),
    ),
    endpoints: optional(fc.array(endpoint, { maxLength: 6 })),
    triggered: optional(fc.constant('2026-01-02T03:04:05Z')),
  })
  .map(
    ({ triggered, ...rest }) =>
      plain({
        ...rest,
        metadata: {
          namespace: 'ns',
          name: 'a-x',
          uid: 'u',
          labels: { 'kubernetes.io/service-name': 'a', other: 'x' },
          annotations: { ...(triggered && { 'endpoints.kubernetes.io/last-change-trigger-time': triggered }), o: 'x' },
        },
      }) as unknown as EndpointSlice,
  );
const services = fc
  .record({
    type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName', undefined),
    clusterIP: fc.constantFrom('172.30.0.1', 'None', '', 'fd00::1', undefined),
    clusterIPs: optional(fc.constantFrom(['172.30.0.1'], ['172.30.0.1', 'fd00::1'], ['bad'], [])),
    ports: optional(
      fc.array(
        fc.record({
          name: optional(fc.constantFrom('p80', 'dns')),
          protocol: optional(fc.constantFrom('TCP', 'UDP')),
          port: fc.constantFrom(80, 53),
          targetPort: fc.constant('http'),
          nodePort: optional(fc.constantFrom(0, 30_080)),
        }),
        { maxLength: 3 },
      ),
    ),
    externalIPs: optional(fc.constantFrom([], ['203.0.113.1', 'bad'])),
    loadBalancerSourceRanges: optional(fc.constantFrom([], ['10.0.0.0/8'], ['bad'])),
    sessionAffinity: fc.constantFrom('None', 'ClientIP', undefined),
    sessionAffinityConfig: optional(fc.constantFrom({ clientIP: { timeoutSeconds: 5 } }, { clientIP: {} })),
    externalTrafficPolicy: fc.constantFrom('Cluster', 'Local', undefined),
    internalTrafficPolicy: fc.constantFrom('Cluster', 'Local', undefined),
    healthCheckNodePort: optional(fc.constant(30_001)),
    publishNotReadyAddresses: optional(fc.boolean()),
    selector: fc.constant({ app: 'a' }),
  })
  .chain((spec) =>
    fc
      .constantFrom(undefined, [], [{ ip: '198.51.100.1' }, { ip: '198.51.100.2', ipMode: 'Proxy', hostname: 'h' }])
      .map(
        (ingress) =>
          plain({
            metadata: { namespace: 'ns', name: 'a', uid: 'u', labels: { app: 'a' }, annotations: { big: 'x' } },
            spec,
            status: ingress === undefined ? undefined : { loadBalancer: { ingress } },
          }) as unknown as Service,
      ),
  );

describe('what is kept of Services and EndpointSlices', () => {
  test('leads to the same rules as the whole objects', () => {
    fc.assert(
      fc.property(services, fc.array(slices, { maxLength: 3 }), (service, whole) => {
        const kept = whole.flatMap((slice) => CompactEndpointSlice.of(slice, nodeName) ?? []);
        expect(kept).toHaveLength(whole.length);
        for (const family of ['IPv4', 'IPv6'] as const) {
          const input = { family, facts, local: () => undefined };
          const expected = serviceRules({ ...input, service, slices: whole });
          const actual = serviceRules({ ...input, service: slimService(service), slices: kept });
          // An endpoint without an address is reported as one whose address is empty: neither can be used.
          const text = (value: unknown): string => JSON.stringify(value).replaceAll('not undefined', 'not \\"\\"');
          expect(text(actual)).toBe(text(expected));
        }
        expect(isProxied(slimService(service))).toBe(isProxied(service));
      }),
      { numRuns: 500 },
    );
  });

  test('leads to the same environment', () => {
    fc.assert(
      fc.property(services, (service) => {
        const whole = serviceEnvironment([service], 'ns', true);
        expect([...serviceEnvironment([slimService(service)], 'ns', true)]).toEqual([...whole]);
      }),
    );
  });

  test('tells which Service a slice belongs to and when it changed', () => {
    fc.assert(
      fc.property(slices, (slice) => {
        const kept = CompactEndpointSlice.of(slice, nodeName)?.metadata;
        const trigger = 'endpoints.kubernetes.io/last-change-trigger-time';
        expect(kept?.namespace).toBe('ns');
        expect(kept?.name).toBe('a-x');
        expect(kept?.labels).toEqual({ 'kubernetes.io/service-name': 'a' });
        expect(kept?.annotations?.[trigger]).toBe(slice.metadata.annotations?.[trigger]);
      }),
    );
  });

  test('leaves out slices that no proxy has to do with', () => {
    const slice = (labels: Record<string, string>): EndpointSlice => ({
      metadata: { namespace: 'ns', name: 'x', labels },
      addressType: 'IPv4',
    });
    expect(CompactEndpointSlice.of(slice({}), nodeName)).toBeUndefined();
    const headless = { 'kubernetes.io/service-name': 'a', 'service.kubernetes.io/headless': '' };
    expect(CompactEndpointSlice.of(slice(headless), nodeName)).toBeUndefined();
    expect(CompactEndpointSlice.of(slice({ 'kubernetes.io/service-name': 'a' }), nodeName)?.endpoints).toEqual([]);
  });
});
