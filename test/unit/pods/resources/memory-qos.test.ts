import { describe, expect, it } from 'vitest';
import { FakeCgroups } from '../../../../src/host/cgroup/fake.ts';
import { limitProperties } from '../../../../src/host/cgroup/systemd-cgroups.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod, ResourceRequirements } from '../../../../src/model/pod.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import type { MemoryQos } from '../../../../src/pods/resources/memory-qos.ts';
import type { NodeResourceFacts } from '../../../../src/pods/resources/node-facts.ts';
import { PodCgroups } from '../../../../src/pods/resources/pod-cgroups.ts';
import { podCgroupLimits } from '../../../../src/pods/resources/pod-limits.ts';
import type { QosMemoryOptions } from '../../../../src/pods/resources/qos-memory.ts';

const MI = 2 ** 20;
const tiered: MemoryQos = { tiered: true, throttlingFactor: 0.9, allocatableBytes: 4096 * MI };
const facts = (memoryQos?: MemoryQos, cgroupVersion: 1 | 2 = 2): NodeResourceFacts => ({
  memoryBytes: 8192 * MI,
  cgroupVersion,
  cfsQuota: true,
  cfsPeriodUs: 100_000,
  hugepageSizes: [],
  swapAccounting: false,
  singleProcessOomKill: true,
  podPidsLimit: -1,
  ...(memoryQos === undefined ? {} : { memoryQos }),
});
const podOf = (uid: string, resources: ResourceRequirements): Pod => ({
  metadata: { name: uid, uid },
  spec: { containers: [{ name: 'c', resources }] },
});
const guaranteed = (uid: string, mi: number): Pod =>
  podOf(uid, { limits: { cpu: '1', memory: `${mi}Mi` }, requests: { cpu: '1', memory: `${mi}Mi` } });
const burstable = (uid: string, mi: number, limit?: number): Pod =>
  podOf(uid, { requests: { memory: `${mi}Mi` }, ...(limit === undefined ? {} : { limits: { memory: `${limit}Mi` } }) });

describe('a container with MemoryQoS', () => {
  const unified = (pod: Pod, memoryQos: MemoryQos = tiered): unknown =>
    linuxResourcesOf(pod, pod.spec.containers[0] ?? { name: '' }, facts(memoryQos)).unified;

  it.each<[string, Pod, Record<string, string>]>([
    ['Guaranteed: never loses what it asked for', guaranteed('g', 100), { 'memory.min': String(100 * MI) }],
    [
      'Burstable: loses it late, and is slowed down before its limit',
      burstable('b', 100, 200),
      { 'memory.low': String(100 * MI), 'memory.high': String(190 * MI) },
    ],
    [
      'without a limit: before what the node has',
      burstable('b', 96),
      // 96 Mi + 0.9 × (4096 Mi − 96 Mi), in whole pages.
      { 'memory.low': String(96 * MI), 'memory.high': String(3696 * MI) },
    ],
    ['that may use as much as it asked for', burstable('b', 100, 100), { 'memory.low': String(100 * MI) }],
    ['that asks for nothing', podOf('e', {}), { 'memory.min': '0', 'memory.low': '0' }],
  ])('%s', (_what, pod, files) => expect(unified(pod)).toEqual(files));

  it('is only slowed down with memoryReservationPolicy None', () => {
    const slowed = unified(burstable('b', 1, 2), { ...tiered, tiered: false, throttlingFactor: 0.3333 });
    expect(slowed).toEqual({
      'memory.min': '0',
      'memory.low': '0',
      'memory.high': String(Math.floor((MI * 1.3333) / 4096) * 4096),
    });
  });

  it('has nothing of it where the feature is off', () => {
    expect(linuxResourcesOf(burstable('b', 1, 2), { name: 'c' }, facts())).not.toHaveProperty('unified');
    expect(podCgroupLimits(guaranteed('g', 1), facts())).not.toHaveProperty('unified');
  });
});

function setUp(qosMemory: Omit<QosMemoryOptions, 'paths'>, version: 1 | 2 = 2, cgroups = new FakeCgroups({ version })) {
  const clock = new ManualClock();
  const node = facts(qosMemory.tiered === undefined ? undefined : { ...tiered, tiered: qosMemory.tiered }, version);
  const pods = new PodCgroups({ cgroupRoot: '/t', node, rootLimits: {}, qosMemory }, { cgroups, clock, log: silent });
  const file = (path: string, name: string): string | undefined => cgroups.unified(`/t/kubepods${path}`, name);
  return { clock, cgroups, pods, file };
}
const settings = { tiered: true, reservedPercent: undefined, allocatableBytes: 1000 * MI };

describe('cgroups with MemoryQoS', () => {
  it('of pods and classes protect what is asked for, the parent as much as its children', async () => {
    const { pods, file, clock } = setUp(settings);
    await pods.ensureRoot();
    await pods.ensure(guaranteed('g', 100));
    await pods.ensure(burstable('b', 30));
    await pods.ensure(burstable('c', 20, 40));
    await pods.ensure(podOf('e', {}));
    await pods.flush();
    expect([file('/podg', 'memory.min'), file('/podg', 'memory.low')]).toEqual([String(100 * MI), '0']);
    expect([file('/burstable/podb', 'memory.min'), file('/burstable/podb', 'memory.low')]).toEqual([
      '0',
      String(30 * MI),
    ]);
    expect([file('/besteffort/pode', 'memory.min'), file('/besteffort/pode', 'memory.low')]).toEqual(['0', '0']);
    expect([file('', 'memory.min'), file('/burstable', 'memory.low')]).toEqual([String(150 * MI), String(50 * MI)]);
    expect(pods.qosMemory?.protected).toEqual({ guaranteed: 100 * MI, burstable: 50 * MI });
    await pods.remove('g');
    await clock.advance(100);
    expect(file('', 'memory.min')).toBe(String(50 * MI));
    await pods.close();
  });

  it('are nought with policy None, whatever was there', async () => {
    const first = setUp(settings);
    await first.pods.ensureRoot();
    await first.pods.ensure(guaranteed('g', 100));
    await first.pods.flush();
    await first.pods.close();
    const { pods, file, clock } = setUp({ ...settings, tiered: false }, 2, first.cgroups);
    await pods.ensureRoot();
    await pods.ensure(guaranteed('g', 100));
    await clock.advance(11_000);
    expect([file('', 'memory.min'), file('/burstable', 'memory.low'), file('/podg', 'memory.min')]).toEqual([
      '0',
      '0',
      '0',
    ]);
    expect(pods.qosMemory?.protected.guaranteed).toBe(0);
    await pods.close();
  });

  it('are not lowered while a restarted agent takes up its pods', async () => {
    const first = setUp(settings);
    await first.pods.ensureRoot();
    await first.pods.ensure(guaranteed('g', 100));
    await first.pods.ensure(guaranteed('h', 100));
    await first.pods.flush();
    await first.pods.close();
    const { pods, file, clock } = setUp(settings, 2, first.cgroups);
    await pods.ensureRoot();
    await pods.ensure(guaranteed('g', 100));
    await clock.advance(1000);
    expect(file('', 'memory.min')).toBe(String(200 * MI));
    await clock.advance(10_000);
    expect(file('', 'memory.min')).toBe(String(100 * MI));
    await pods.close();
  });

  it('are set by systemd’s properties as well', () => {
    const properties = limitProperties({ unified: { 'memory.min': '1', 'memory.low': '2', 'memory.high': 'max' } }, 2);
    expect(properties.map(({ name, value }) => [name, value])).toEqual([
      ['MemoryMin', 1n],
      ['MemoryLow', 2n],
      ['MemoryHigh', 2n ** 64n - 1n],
    ]);
  });
});

describe('qosReserved', () => {
  it.each([1, 2] as const)('keeps lower classes off a share of what is asked for, on cgroup v%i', async (version) => {
    const { pods, cgroups, clock } = setUp({ ...settings, tiered: undefined, reservedPercent: 50 }, version);
    const limits = async (): Promise<readonly (number | undefined)[]> =>
      Promise.all(
        ['burstable', 'besteffort'].map(
          async (name) => ((await cgroups.read(`/t/kubepods/${name}`)).memoryLimit ?? 0) / MI,
        ),
      );
    await pods.ensureRoot();
    await pods.ensure(guaranteed('g', 400));
    await pods.ensure(burstable('b', 200));
    await pods.flush();
    expect(await limits()).toEqual([800, 700]);
    // What is used already cannot be taken away; it does not grow, and the limit comes when it can.
    await pods.ensure(podOf('e', {}));
    const pid = cgroups.spawn('/t/kubepods/besteffort/pode', { memoryBytes: 650 * MI });
    await pods.ensure(burstable('c', 200));
    await pods.flush();
    expect(pid).toBeGreaterThan(0);
    expect(await limits()).toEqual([800, 650]);
    await pods.remove('e');
    await clock.advance(100);
    expect(await limits()).toEqual([800, 600]);
    await pods.close();
  });

  it('leaves no limit behind when it is no longer set', async () => {
    const first = setUp({ ...settings, tiered: undefined, reservedPercent: 50 });
    await first.pods.ensureRoot();
    await first.pods.ensure(guaranteed('g', 400));
    await first.pods.flush();
    await first.pods.close();
    const { pods } = setUp({ ...settings, tiered: undefined }, 2, first.cgroups);
    await pods.ensureRoot();
    expect(await first.cgroups.read('/t/kubepods/burstable')).toMatchObject({ memoryLimit: -1 });
    await pods.close();
  });
});
