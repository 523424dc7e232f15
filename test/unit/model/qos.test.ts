import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quotaFromMilli, sharesFromMilli, weightFromShares } from '../../../src/model/cpu.ts';
import type { Container, Pod, ResourceRequirements } from '../../../src/model/pod.ts';
import { type Amounts, podLimits, podRequests } from '../../../src/model/pod-resources.ts';
import { qosClassOf } from '../../../src/model/qos.ts';
import { formatNano } from '../../../src/model/quantity.ts';

const rr = (requests: string, limits: string): ResourceRequirements => {
  const list = (text: string) => {
    const [cpu = '', memory = ''] = text.split('/');
    return { ...(cpu === '' ? {} : { cpu }), ...(memory === '' ? {} : { memory }) };
  };
  return { requests: list(requests), limits: list(limits) };
};

const pod = (containers: ResourceRequirements[], more: Partial<Pod['spec']> = {}): Pod => ({
  metadata: { name: 'p', uid: 'u' },
  spec: { containers: containers.map((resources, i) => ({ name: `c${i}`, resources })), ...more },
});

const text = (amounts: Amounts): Record<string, string> =>
  Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, formatNano(amount)]));

describe('qosClassOf', () => {
  it.each<[string, Pod, string]>([
    ['nothing named', pod([{}]), 'BestEffort'],
    ['zeros count as nothing', pod([rr('0/0', '0/0')]), 'BestEffort'],
    ['only other resources', pod([{ limits: { 'example.com/gpu': 1 } }]), 'BestEffort'],
    ['limits equal requests', pod([rr('1/1Gi', '1/1Gi')]), 'Guaranteed'],
    ['equal in other words', pod([rr('1/1Gi', '1000m/1024Mi')]), 'Guaranteed'],
    ['limits alone are requests too', pod([rr('', '1/1Gi')]), 'Guaranteed'],
    ['requests below limits', pod([rr('500m/1Gi', '1/1Gi')]), 'Burstable'],
    ['only memory', pod([rr('/1Gi', '/1Gi')]), 'Burstable'],
    ['requests alone', pod([rr('1/1Gi', '')]), 'Burstable'],
    ['one of two containers names nothing', pod([rr('1/1Gi', '1/1Gi'), {}]), 'Burstable'],
    ['an init container counts', pod([rr('1/1Gi', '1/1Gi')], { initContainers: [{ name: 'i' }] }), 'Burstable'],
    ['all containers guaranteed', pod([rr('1/1Gi', '1/1Gi'), rr('2/1Gi', '2/1Gi')]), 'Guaranteed'],
    ['pod level equal', pod([{}], { resources: rr('1/1Gi', '1/1Gi') }), 'Guaranteed'],
    ['pod level limits alone', pod([{}], { resources: rr('', '1/1Gi') }), 'Guaranteed'],
    ['pod level beats containers', pod([rr('1/1Gi', '1/1Gi')], { resources: rr('2/2Gi', '4/4Gi') }), 'Burstable'],
    ['pod level requests only', pod([{}], { resources: rr('1/', '') }), 'Burstable'],
  ])('%s', (_, subject, expected) => {
    expect(qosClassOf(subject)).toBe(expected);
  });
});

describe('podRequests and podLimits', () => {
  const init = (name: string, request: string, sidecar = false): Container => ({
    name,
    resources: { requests: { cpu: request }, limits: { cpu: request } },
    ...(sidecar ? { restartPolicy: 'Always' as const } : {}),
  });
  const main = [rr('300m/100Mi', '500m/200Mi'), rr('200m/50Mi', '500m/')];

  it('sums containers and takes a larger init container instead', () => {
    expect(text(podRequests(pod(main)))).toEqual({ cpu: '500m', memory: String(150 * 2 ** 20) });
    expect(text(podRequests(pod(main, { initContainers: [init('small', '400m'), init('big', '2')] })))).toMatchObject({
      cpu: '2',
    });
  });

  it('adds sidecars to the containers and to the init containers after them', () => {
    const sidecar = init('s', '100m', true);
    expect(text(podRequests(pod(main, { initContainers: [sidecar] })))).toMatchObject({ cpu: '600m' });
    expect(text(podRequests(pod(main, { initContainers: [sidecar, init('i', '600m')] })))).toMatchObject({
      cpu: '700m',
    });
    expect(text(podRequests(pod(main, { initContainers: [init('i', '600m'), sidecar] })))).toMatchObject({
      cpu: '600m',
    });
  });

  it('adds overhead to requests, and to limits only where there is one', () => {
    const subject = pod(main, { overhead: { cpu: '10m', memory: '1Mi', 'hugepages-2Mi': '2Mi' } });
    expect(text(podRequests(subject))).toMatchObject({ cpu: '510m', memory: String(151 * 2 ** 20) });
    expect(text(podLimits(subject))).toEqual({ cpu: '1010m', memory: String(201 * 2 ** 20) });
  });

  it('lets pod-level values speak, defaulted from containers and then from the pod’s limits', () => {
    expect(text(podRequests(pod(main, { resources: { requests: { cpu: '3' } } })))).toMatchObject({
      cpu: '3',
      memory: String(150 * 2 ** 20),
    });
    expect(text(podRequests(pod([{}], { resources: { limits: { cpu: '3', memory: '1Gi' } } })))).toEqual({
      cpu: '3',
      memory: String(2 ** 30),
    });
    expect(text(podRequests(pod(main, { resources: { limits: { cpu: '3' } } })))).toMatchObject({ cpu: '500m' });
    expect(text(podLimits(pod(main, { resources: { limits: { cpu: '3' } } })))).toMatchObject({ cpu: '3' });
  });

  it('never asks for less than any container of the pod', () => {
    const amount = fc.integer({ min: 0, max: 5000 });
    fc.assert(
      fc.property(fc.array(amount, { minLength: 1 }), fc.array(fc.tuple(amount, fc.boolean())), (running, starting) => {
        const subject = pod(
          running.map((milli) => ({ requests: { cpu: `${milli}m` } })),
          { initContainers: starting.map(([milli, sidecar], i) => init(`i${i}`, `${milli}m`, sidecar)) },
        );
        const total = Number((podRequests(subject)['cpu'] ?? 0n) / 1_000_000n);
        const sidecars = starting.filter(([, sidecar]) => sidecar).reduce((sum, [milli]) => sum + milli, 0);
        const sum = running.reduce((a, b) => a + b, 0) + sidecars;
        expect(total).toBeGreaterThanOrEqual(sum);
        for (const [milli] of starting) expect(total).toBeGreaterThanOrEqual(milli);
        expect(total).toBeLessThanOrEqual(sum + Math.max(0, ...starting.map(([milli]) => milli)));
      }),
    );
  });
});

describe('cpu conversions', () => {
  it.each([
    [0, 2],
    [1, 2],
    [2, 2],
    [3, 3],
    [100, 102],
    [1000, 1024],
    [256_000, 262_144],
    [300_000, 262_144],
  ])('%i millicores are %i shares', (milli, shares) => {
    expect(sharesFromMilli(milli)).toBe(shares);
  });

  it.each([
    [0, 100_000, undefined],
    [1, 100_000, 1000],
    [10, 100_000, 1000],
    [100, 100_000, 10_000],
    [1500, 100_000, 150_000],
    [500, 10_000, 5000],
  ])('%i millicores per %i µs are a quota of %s', (milli, period, quota) => {
    expect(quotaFromMilli(milli, period)).toBe(quota);
  });

  it.each([
    [2, 1],
    [102, 4],
    [1024, 39],
    [2048, 79],
    [262_144, 10_000],
    [0, 1],
    [999_999, 10_000],
  ])('%i shares weigh %i', (shares, weight) => {
    expect(weightFromShares(shares)).toBe(weight);
  });
});
