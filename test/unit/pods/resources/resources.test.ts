import { describe, expect, it } from 'vitest';
import type { Pod, PodSpec, ResourceRequirements } from '../../../../src/model/pod.ts';
import { cgroupPathsBelow, podCgroupPath, uidInCgroupName } from '../../../../src/pods/resources/cgroup-paths.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import {
  checkReservations,
  nodeAllocatable,
  nodeCgroupLimits,
} from '../../../../src/pods/resources/node-allocatable.ts';
import type { NodeResourceFacts } from '../../../../src/pods/resources/node-facts.ts';
import { oomScoreAdj } from '../../../../src/pods/resources/oom-score.ts';
import { burstableMilli, podCgroupLimits } from '../../../../src/pods/resources/pod-limits.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const node: NodeResourceFacts = {
  memoryBytes: 4 * GIB,
  cgroupVersion: 2,
  cfsQuota: true,
  cfsPeriodUs: 100_000,
  hugepageSizes: [],
  swapAccounting: false,
  singleProcessOomKill: false,
  podPidsLimit: -1,
};

const pod = (resources: ResourceRequirements[], more: Partial<PodSpec> = {}): Pod => ({
  metadata: { name: 'p', uid: 'u' },
  spec: { containers: resources.map((each, i) => ({ name: `c${i}`, resources: each })), ...more },
});
const guaranteed: ResourceRequirements = { limits: { cpu: '1', memory: '1Gi' } };
const burstable: ResourceRequirements = {
  requests: { cpu: '250m', memory: '512Mi' },
  limits: { cpu: '500m', memory: '1Gi' },
};

describe('linuxResourcesOf', () => {
  const of = (subject: Pod, facts: Partial<NodeResourceFacts> = {}) =>
    linuxResourcesOf(subject, subject.spec.containers[0] ?? { name: '' }, { ...node, ...facts });

  it('a burstable container', () => {
    expect(of(pod([burstable]))).toEqual({
      cpuShares: 256,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      memoryLimitInBytes: GIB,
      oomScoreAdj: 875,
      hugepageLimits: [],
      unified: { 'memory.oom.group': '1' },
    });
  });

  it('a best-effort container has the least shares and no limits', () => {
    expect(of(pod([{}]))).toEqual({
      cpuShares: 2,
      cpuQuota: -1,
      cpuPeriod: 100_000,
      oomScoreAdj: 1000,
      hugepageLimits: [],
      unified: { 'memory.oom.group': '1' },
    });
  });

  it('a cpu limit stands in for a missing request, not for a request of zero', () => {
    expect(of(pod([{ limits: { cpu: '2' } }])).cpuShares).toBe(2048);
    expect(of(pod([{ requests: { cpu: '0' }, limits: { cpu: '2' } }])).cpuShares).toBe(2);
  });

  it('takes the pod’s limits where the container has none', () => {
    const subject = pod([{ requests: { cpu: '100m' } }], { resources: { limits: { cpu: '2', memory: '1Gi' } } });
    expect(of(subject)).toMatchObject({ cpuShares: 102, cpuQuota: 200_000, memoryLimitInBytes: GIB });
  });

  it('follows the node: no quota, another period, v1, swap, huge pages, single-process OOM kills', () => {
    const noQuota = of(pod([burstable]), { cfsQuota: false });
    expect(noQuota).not.toHaveProperty('cpuQuota');
    expect(noQuota).not.toHaveProperty('cpuPeriod');
    expect(of(pod([burstable]), { cfsPeriodUs: 10_000 })).toMatchObject({ cpuQuota: 5000, cpuPeriod: 10_000 });
    const v1 = of(pod([burstable]), { cgroupVersion: 1, swapAccounting: true });
    expect(v1).toMatchObject({ memorySwapLimitInBytes: GIB });
    expect(v1).not.toHaveProperty('unified');
    expect(of(pod([burstable]), { swapAccounting: true }).unified).toEqual({
      'memory.oom.group': '1',
      'memory.swap.max': '0',
    });
    expect(of(pod([burstable]), { singleProcessOomKill: true })).not.toHaveProperty('unified');
    const huge: ResourceRequirements = { limits: { 'hugepages-2Mi': '6Mi', memory: '1Gi', cpu: 1 } };
    expect(of(pod([huge]), { hugepageSizes: ['2Mi', '1Gi'] }).hugepageLimits).toEqual([
      { pageSize: '2MB', limit: 6 * MIB },
      { pageSize: '1GB', limit: 0 },
    ]);
  });
});

describe('oomScoreAdj', () => {
  const first = (subject: Pod): number => oomScoreAdj(subject, subject.spec.containers[0] ?? { name: '' }, 4 * GIB);
  const memory = (request: string): ResourceRequirements => ({ requests: { memory: request } });

  it.each<[string, Pod, number]>([
    ['guaranteed', pod([guaranteed]), -997],
    ['best effort', pod([{}]), 1000],
    ['node critical', pod([{}], { priorityClassName: 'system-node-critical' }), -997],
    ['cluster critical is like any other', pod([{}], { priorityClassName: 'system-cluster-critical' }), 1000],
    ['a quarter of the memory', pod([memory('1Gi')]), 750],
    ['almost nothing stays below best effort', pod([memory('1')]), 999],
    ['burstable by cpu alone', pod([{ requests: { cpu: '1' } }]), 999],
    ['all of the memory stays above guaranteed', pod([memory('4Gi')]), 3],
    ['more than there is', pod([memory('9Gi')]), 3],
    ['what the pod asks beyond its containers is shared', pod([memory('1Gi'), {}], { resources: memory('3Gi') }), 500],
  ])('%s', (_, subject, expected) => {
    expect(first(subject)).toBe(expected);
  });

  it('a sidecar is killed no sooner than the smallest container', () => {
    const sidecar = { name: 's', restartPolicy: 'Always' as const, resources: memory('100Mi') };
    const subject = pod([memory('2Gi'), memory('1Gi')], { initContainers: [sidecar] });
    expect(oomScoreAdj(subject, sidecar, 4 * GIB)).toBe(750);
    const big = { ...sidecar, resources: memory('3Gi') };
    expect(oomScoreAdj({ ...subject, spec: { ...subject.spec, initContainers: [big] } }, big, 4 * GIB)).toBe(250);
    const plain = { name: 'i', resources: memory('100Mi') };
    expect(oomScoreAdj({ ...subject, spec: { ...subject.spec, initContainers: [plain] } }, plain, 4 * GIB)).toBe(976);
  });
});

describe('podCgroupLimits', () => {
  it.each<[string, Pod, Record<string, number>]>([
    ['guaranteed', pod([guaranteed]), { cpuShares: 1024, cpuQuota: 100_000, memoryLimit: GIB }],
    [
      'burstable, all limited',
      pod([burstable, burstable]),
      { cpuShares: 512, cpuQuota: 100_000, memoryLimit: 2 * GIB },
    ],
    ['burstable, one without limits', pod([burstable, {}]), { cpuShares: 256, cpuQuota: -1, memoryLimit: -1 }],
    [
      'burstable, only memory limited',
      pod([{ limits: { memory: '1Gi' } }]),
      { cpuShares: 2, cpuQuota: -1, memoryLimit: GIB },
    ],
    [
      'burstable, limited by the pod',
      pod([burstable, {}], { resources: { limits: { memory: '3Gi' } } }),
      { cpuQuota: -1, memoryLimit: 3 * GIB },
    ],
    ['best effort', pod([{}]), { cpuShares: 2, cpuQuota: -1, memoryLimit: -1 }],
  ])('%s', (_, subject, expected) => {
    expect(podCgroupLimits(subject, node)).toMatchObject({ ...expected, cpuPeriod: 100_000, pidsLimit: -1 });
  });

  it('follows the node', () => {
    expect(podCgroupLimits(pod([guaranteed]), { ...node, podPidsLimit: 500, cfsQuota: false })).toMatchObject({
      pidsLimit: 500,
      cpuQuota: -1,
    });
    const huge = pod([{ limits: { cpu: 1, memory: '1Gi', 'hugepages-2Mi': '4Mi' } }]);
    expect(podCgroupLimits(huge, { ...node, hugepageSizes: ['2Mi', '1Gi'] }).hugepages).toEqual({
      '2MB': 4 * MIB,
      '1GB': 0,
    });
    expect(podCgroupLimits(huge, node)).not.toHaveProperty('hugepages');
  });

  it('only burstable pods add to their class', () => {
    expect([guaranteed, burstable, {}].map((resources) => burstableMilli(pod([resources])))).toEqual([0, 250, 0]);
  });
});

describe('node allocatable', () => {
  const capacity = { cpu: '4', memory: '8Gi', 'ephemeral-storage': '100Gi', pods: '110', 'hugepages-2Mi': '1Gi' };
  const reservations = {
    kubeReserved: { cpu: '100m', memory: '256Mi' },
    systemReserved: { cpu: '200m', memory: '256Mi', 'ephemeral-storage': '1Gi' },
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '10%', 'imagefs.available': '15%' },
  };

  it('is capacity less reservations, eviction and huge pages', () => {
    expect(nodeAllocatable(capacity, reservations)).toEqual({
      cpu: '3700m',
      memory: `${8192 - 512 - 100 - 1024}Mi`,
      // 10 % is 0.1 as a 32-bit float, as in kubelet, and so 160 bytes more than a tenth of 100 Gi.
      'ephemeral-storage': String(89 * GIB - 160),
      pods: '110',
      'hugepages-2Mi': '1Gi',
    });
  });

  it('is never negative', () => {
    const all = nodeAllocatable({ cpu: '1', memory: '64Mi' }, { ...reservations, kubeReserved: { cpu: '2' } });
    expect(all).toEqual({ cpu: '0', memory: '0' });
  });

  it('limits the cgroup of all pods without the eviction reserve, or by capacity when not enforced', () => {
    const whole = { ...capacity, pids: '30000' };
    expect(nodeCgroupLimits(whole, reservations, true)).toEqual({
      cpuShares: 3788,
      memoryLimit: (8192 - 512 - 1024) * MIB,
      pidsLimit: 30_000,
    });
    expect(nodeCgroupLimits({ cpu: '4', memory: '8Gi' }, reservations, false)).toEqual({
      cpuShares: 4096,
      memoryLimit: 8 * GIB,
    });
  });

  it('refuses to reserve more than there is, with names and numbers', () => {
    expect(() => checkReservations(capacity, reservations)).not.toThrow();
    expect(() => checkReservations({ memory: '400Mi' }, reservations)).toThrow(
      /reserved memory is 641728512 .*the node has 419430400/,
    );
  });
});

describe('cgroup paths', () => {
  it('stand below the root as kubelet names them', () => {
    const paths = cgroupPathsBelow('/');
    expect(paths).toEqual({ root: '/kubepods', burstable: '/kubepods/burstable', besteffort: '/kubepods/besteffort' });
    expect(podCgroupPath(paths, 'Guaranteed', 'ab-1')).toBe('/kubepods/podab-1');
    expect(podCgroupPath(paths, 'Burstable', 'ab-1')).toBe('/kubepods/burstable/podab-1');
    expect(podCgroupPath(cgroupPathsBelow('/lab/one/'), 'BestEffort', 'x')).toBe('/lab/one/kubepods/besteffort/podx');
  });

  it('refuse what could lead elsewhere', () => {
    for (const root of ['kubepods', '', '/a/../..']) expect(() => cgroupPathsBelow(root)).toThrow(/absolute path/);
    for (const uid of ['', '../x', 'a/b', 'a.b'])
      expect(() => podCgroupPath(cgroupPathsBelow('/'), 'Burstable', uid)).toThrow(/UID/);
  });

  it('tell pods from others by name', () => {
    expect(['podabc', 'burstable', 'pod'].map(uidInCgroupName)).toEqual(['abc', undefined, undefined]);
  });
});
