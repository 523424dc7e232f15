import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeCgroups } from '../../../../src/host/cgroup/fake.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { sharesFromMilli, weightFromShares } from '../../../../src/model/cpu.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import type { NodeResourceFacts } from '../../../../src/pods/resources/node-facts.ts';
import { PodCgroups } from '../../../../src/pods/resources/pod-cgroups.ts';

const MIB = 2 ** 20;
const pod = (uid: string, milli: number, limits = false): Pod => ({
  metadata: { name: uid, uid },
  spec: {
    containers: [
      {
        name: 'c',
        resources: {
          ...(milli === 0 ? {} : { requests: { cpu: `${milli}m` } }),
          ...(limits ? { limits: { cpu: `${milli}m`, memory: '64Mi' } } : {}),
        },
      },
    ],
  },
});

function setUp(cgroups = new FakeCgroups({ version: 1 })) {
  const clock = new ManualClock();
  const node: NodeResourceFacts = {
    memoryBytes: 4 * 2 ** 30,
    cgroupVersion: cgroups.version,
    cfsQuota: true,
    cfsPeriodUs: 100_000,
    hugepageSizes: ['2Mi'],
    swapAccounting: false,
    singleProcessOomKill: false,
    podPidsLimit: 64,
  };
  const rootLimits = { cpuShares: 2048, memoryLimit: 1024 * MIB, pidsLimit: 1000 };
  const operations: string[] = [];
  const record = (operation: string, seconds: number): void => {
    operations.push(`${operation} ${seconds}`);
  };
  const pods = new PodCgroups({ cgroupRoot: '/t', node, rootLimits }, { cgroups, clock, log: silent, record });
  return { clock, cgroups, pods, operations };
}

describe('PodCgroups', () => {
  it('tells how long it made, changed and removed them', async () => {
    const { pods, operations } = setUp();
    await pods.ensureRoot();
    await pods.ensure(pod('g', 500, true));
    await pods.ensure(pod('g', 500, true));
    await pods.ensure(pod('g', 600, true));
    await pods.set(pod('g', 600, true), { cpuShares: 700 });
    await pods.remove('g');
    expect(operations).toEqual(['create 0', 'create 0', 'update 0', 'update 0', 'destroy 0']);
  });

  it('makes the tree with its limits', async () => {
    const { pods, cgroups } = setUp();
    await pods.ensureRoot();
    expect(await cgroups.read('/t/kubepods')).toMatchObject({
      cpuShares: 2048,
      memoryLimit: 1024 * MIB,
      pidsLimit: 1000,
    });
    expect(await cgroups.read('/t/kubepods/besteffort')).toMatchObject({ cpuShares: 2, memoryLimit: -1 });
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuShares: 2, memoryLimit: -1 });
    expect(await pods.ensure(pod('g', 500, true))).toBe('/t/kubepods/podg');
    expect(await pods.ensure(pod('b', 300))).toBe('/t/kubepods/burstable/podb');
    expect(await pods.ensure(pod('e', 0))).toBe('/t/kubepods/besteffort/pode');
    expect(await cgroups.read('/t/kubepods/podg')).toMatchObject({
      cpuShares: 512,
      cpuQuota: 50_000,
      memoryLimit: 64 * MIB,
      pidsLimit: 64,
    });
    expect(await cgroups.read('/t/kubepods/burstable/podb')).toMatchObject({
      cpuShares: 307,
      cpuQuota: -1,
      memoryLimit: -1,
      pidsLimit: 64,
    });
    expect(cgroups.hugepages('/t/kubepods/podg', '2MB')).toBe(0);
    await pods.close();
  });

  it('writes nothing for a pod that has not changed, and only what changed otherwise', async () => {
    const { pods, cgroups } = setUp();
    await pods.ensureRoot();
    await pods.ensure(pod('g', 500, true));
    await pods.flush();
    const before = cgroups.writes;
    for (let i = 0; i < 10; i++) await pods.ensure(pod('g', 500, true));
    expect(cgroups.writes).toBe(before);
    await pods.ensure(pod('g', 600, true));
    // Shares, quota and period; memory, pids and huge pages stay.
    expect(cgroups.writes).toBe(before + 3);
    await pods.close();
  });

  it('sums up burstable pods in one write per burst', async () => {
    const { pods, cgroups, clock } = setUp();
    await pods.ensureRoot();
    for (let i = 0; i < 20; i++) await pods.ensure(pod(`b${i}`, 100));
    const before = cgroups.writes;
    await clock.advance(100);
    expect(cgroups.writes).toBe(before + 1);
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuShares: 2048 });
    for (let i = 0; i < 15; i++) await pods.remove(`b${i}`);
    await clock.advance(100);
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuShares: 512 });
    await pods.close();
    expect(clock.untilNext()).toBeUndefined();
  });

  it('the burstable sum is right after any road of additions and removals', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 2000 })), { maxLength: 25 }),
        async (steps) => {
          const { pods, cgroups } = setUp(new FakeCgroups({ version: 2 }));
          await pods.ensureRoot();
          const there = new Map<number, number>();
          for (const [index, milli] of steps) {
            if (there.has(index)) {
              await pods.remove(`p${index}`);
              there.delete(index);
            } else {
              await pods.ensure(pod(`p${index}`, milli));
              there.set(index, milli);
            }
          }
          await pods.flush();
          const sum = [...there.values()].reduce((a, b) => a + b, 0);
          expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({
            cpuWeight: weightFromShares(sharesFromMilli(sum)),
          });
          const classes = ['/t/kubepods/burstable', '/t/kubepods/besteffort'];
          const found = (await Promise.all(classes.map((path) => cgroups.children(path)))).flat();
          expect(found.sort()).toEqual([...there.keys()].map((index) => `podp${index}`).sort());
          await pods.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('finds orphans of an earlier life in every class, and removes them with what runs there', async () => {
    const { pods, cgroups } = setUp();
    await pods.ensureRoot();
    for (const path of ['podg', 'burstable/podb', 'besteffort/pode', 'burstable/podkept', 'other']) {
      await cgroups.apply(`/t/kubepods/${path}/inner`, {});
      cgroups.spawn(`/t/kubepods/${path}/inner`);
    }
    expect(await pods.orphans(new Set(['kept']))).toEqual(['b', 'e', 'g']);
    for (const uid of await pods.orphans(new Set(['kept']))) await pods.remove(uid);
    expect(await pods.orphans(new Set())).toEqual(['kept']);
    expect(await cgroups.exists('/t/kubepods/podg')).toBe(false);
    expect(await cgroups.exists('/t/kubepods/other/inner')).toBe(true);
    await pods.close();
  });

  it('says so when a process cannot be killed, and goes on with the rest', async () => {
    const { pods, cgroups } = setUp();
    await pods.ensureRoot();
    const path = await pods.ensure(pod('b', 100));
    cgroups.spawn(path, { stuck: true });
    await expect(pods.remove('b')).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    expect(await pods.orphans(new Set())).toEqual(['b']);
    await pods.close();
  });

  it('adopts: does not lower the burstable shares while pods are still being found again', async () => {
    const cgroups = new FakeCgroups({ version: 2 });
    await cgroups.apply('/t/kubepods/burstable', { cpuShares: 4096 });
    const { pods, clock } = setUp(cgroups);
    await pods.ensureRoot();
    await pods.ensure(pod('b1', 1000));
    await clock.advance(5000);
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuWeight: weightFromShares(4096) });
    await pods.ensure(pod('b2', 1000));
    await clock.advance(5100);
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuWeight: weightFromShares(2048) });
    await pods.close();
    expect(clock.untilNext()).toBeUndefined();
  });

  it('sets right within a minute what somebody else changed or removed', async () => {
    const { pods, cgroups, clock } = setUp();
    await pods.ensureRoot();
    await pods.ensure(pod('b', 1000));
    await clock.advance(100);
    await cgroups.apply('/t/kubepods/burstable', { cpuShares: 77 });
    await cgroups.apply('/t/kubepods/besteffort', { cpuShares: 5000 });
    await cgroups.remove('/t/kubepods/burstable/podb');
    await clock.advance(60_000);
    expect(await cgroups.read('/t/kubepods/burstable')).toMatchObject({ cpuShares: 1024 });
    expect(await cgroups.read('/t/kubepods/besteffort')).toMatchObject({ cpuShares: 2 });
    await pods.ensure(pod('b', 1000));
    expect(await cgroups.read('/t/kubepods/burstable/podb')).toMatchObject({ cpuShares: 1024, pidsLimit: 64 });
    await pods.close();
  });

  it('a node limit below what pods use now is a matter of time, not an error', async () => {
    const cgroups = new FakeCgroups({ version: 1 });
    await cgroups.apply('/t/kubepods/podbig', {});
    cgroups.spawn('/t/kubepods/podbig', { memoryBytes: 2048 * MIB });
    const { pods, clock } = setUp(cgroups);
    await pods.ensureRoot();
    expect(await cgroups.read('/t/kubepods')).toMatchObject({ cpuShares: 2048, memoryLimit: -1 });
    await cgroups.remove('/t/kubepods/podbig');
    await clock.advance(60_000);
    expect(await cgroups.read('/t/kubepods')).toMatchObject({ memoryLimit: 1024 * MIB, pidsLimit: 1000 });
    await pods.close();
  });

  it('after a refused write everything of that pod is written again', async () => {
    const { pods, cgroups } = setUp();
    await pods.ensureRoot();
    const path = await pods.ensure(pod('g', 500, true));
    cgroups.spawn(path, { memoryBytes: 60 * MIB });
    const smaller = pod('g', 400, true);
    const [container] = smaller.spec.containers;
    if (container !== undefined) container.resources = { limits: { cpu: '400m', memory: '32Mi' } };
    await expect(pods.ensure(smaller)).rejects.toMatchObject({ code: 'Conflict' });
    expect(await cgroups.read(path)).toMatchObject({ memoryLimit: 64 * MIB });
    await pods.ensure(pod('g', 500, true));
    expect(await cgroups.read(path)).toMatchObject({ cpuShares: 512, cpuQuota: 50_000, memoryLimit: 64 * MIB });
    await pods.close();
  });
});
