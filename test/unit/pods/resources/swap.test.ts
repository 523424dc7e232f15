import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CgroupV2 } from '../../../../src/host/cgroup/cgroup-v2.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod, PodSpec, ResourceRequirements } from '../../../../src/model/pod.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import type { NodeResourceFacts } from '../../../../src/pods/resources/node-facts.ts';
import { maySwap } from '../../../../src/pods/resources/swap.ts';
import { ImitatedCgroup2 } from '../../../harness/imitated-cgroup2.ts';

const GIB = 2 ** 30;
const node: NodeResourceFacts = {
  memoryBytes: 4 * GIB,
  cgroupVersion: 2,
  cfsQuota: true,
  cfsPeriodUs: 100_000,
  hugepageSizes: [],
  swapAccounting: true,
  limitedSwap: { swapBytes: GIB },
  singleProcessOomKill: true,
  podPidsLimit: -1,
};
const pod = (resources: ResourceRequirements, more: Partial<PodSpec> = {}): Pod => ({
  metadata: { name: 'p', uid: 'u' },
  spec: { containers: [{ name: 'c', resources }], ...more },
});
const burstable: ResourceRequirements = { requests: { memory: '512Mi' }, limits: { memory: '1Gi' } };
const swapOf = (subject: Pod, facts: Partial<NodeResourceFacts> = {}): string | undefined =>
  linuxResourcesOf(subject, subject.spec.containers[0] ?? { name: '' }, { ...node, ...facts }).unified?.[
    'memory.swap.max'
  ];

describe('LimitedSwap', () => {
  it('gives the share of the swap that the request is of the memory', () => {
    expect(swapOf(pod(burstable))).toBe(String(GIB / 8));
    expect(swapOf(pod({ requests: { memory: '512Mi' } }))).toBe(String(GIB / 8));
  });

  it.each<[string, Pod, Partial<NodeResourceFacts>]>([
    ['a Guaranteed pod', pod({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } }), {}],
    ['a BestEffort pod', pod({}), {}],
    ['a container that asks for no memory', pod({ requests: { cpu: '1' } }), {}],
    ['one that asks for all that it may have', pod({ requests: { memory: '1Gi' }, limits: { memory: '1Gi' } }), {}],
    ['a critical pod', pod(burstable, { priority: 2_000_000_000 }), {}],
    ['one that asks for more than there is', pod({ requests: { memory: '5Gi' } }), {}],
    ['anybody without it', pod(burstable), { limitedSwap: undefined } as never],
  ])('gives none to %s', (_what, subject, facts) => {
    expect(swapOf(subject, facts)).toBe('0');
  });

  it('is nothing on cgroup v1, nor where the kernel does not count swap', () => {
    const [container = { name: '' }] = pod(burstable).spec.containers;
    expect(maySwap(pod(burstable), container, node)).toBe(true);
    expect(maySwap(pod(burstable), container, { ...node, cgroupVersion: 1 })).toBe(false);
    expect(swapOf(pod(burstable), { swapAccounting: false })).toBeUndefined();
    const v1 = linuxResourcesOf(pod(burstable), container, { ...node, cgroupVersion: 1 });
    expect(v1).toMatchObject({ memoryLimitInBytes: GIB, memorySwapLimitInBytes: GIB });
  });
});

describe('whether cgroup v2 accounts swap', () => {
  const root = mkdtempSync(join(tmpdir(), 'deckhand-test-swap-'));
  afterAll(() => rmSync(root, { recursive: true }));

  it('is found at the cgroups below the root', async () => {
    const files = new ImitatedCgroup2(root, ['cpu', 'memory', 'pids']);
    const cgroups = await CgroupV2.open(root, { files, clock: new ManualClock(), kill: () => {} });
    expect(await cgroups.accountsSwap()).toBe(false);
    await cgroups.apply('/any', {});
    expect(await cgroups.accountsSwap()).toBe(true);
  });
});
