import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type CgroupMount, parseCgroupMounts } from '../../src/host/cgroup/mounts.ts';
import type { CgroupPort } from '../../src/host/cgroup/port.ts';
import { openCgroups } from '../../src/host/cgroup/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import { weightFromShares } from '../../src/model/cpu.ts';
import type { Pod } from '../../src/model/pod.ts';
import { PodCgroups } from '../../src/pods/resources/pod-cgroups.ts';
import { waitFor } from '../harness/wait-for.ts';

const MIB = 2 ** 20;
const ROOT = `/dhprb-pods-${process.pid}`;
const clock = new SystemClock();
const mounts: CgroupMount[] = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));

const pod = (uid: string, memory: string): Pod => ({
  metadata: { name: uid, uid },
  spec: { containers: [{ name: 'c', resources: { limits: { cpu: '200m', memory } } }] },
});

/** Runs a program inside a cgroup: in every hierarchy that has it. */
function runIn(path: string, program: string): ReturnType<typeof spawn> {
  const enter = mounts.map(({ mountPoint }) => {
    const procs = join(mountPoint, path, 'cgroup.procs');
    return `if [ -e ${procs} ]; then echo $$ > ${procs}; fi`;
  });
  return spawn('sh', ['-c', [...enter, program].join('\n')], { stdio: 'ignore' });
}

describe.runIf(process.getuid?.() === 0 && mounts.length > 0)('PodCgroups on this kernel', () => {
  let cgroups: CgroupPort | undefined;
  let pods: PodCgroups | undefined;
  afterEach(async () => {
    await pods?.close();
    await cgroups?.remove(ROOT);
  });
  const start = async (reservedPercent?: number): Promise<{ pods: PodCgroups; cgroups: CgroupPort }> => {
    cgroups = await openCgroups({}, { clock });
    const node = {
      memoryBytes: 4096 * MIB,
      cgroupVersion: cgroups.version,
      cfsQuota: true,
      cfsPeriodUs: 100_000,
      hugepageSizes: [],
      swapAccounting: false,
      singleProcessOomKill: false,
      podPidsLimit: 8,
    };
    const rootLimits = { cpuShares: 2048, memoryLimit: 2048 * MIB, pidsLimit: 5000 };
    const qosMemory = { tiered: undefined, reservedPercent, allocatableBytes: 1024 * MIB };
    pods = new PodCgroups({ cgroupRoot: ROOT, node, rootLimits, qosMemory }, { cgroups, clock, log: silent });
    await pods.ensureRoot();
    return { pods, cgroups };
  };

  it('the kernel holds what pods, classes and root were given', async () => {
    const { pods, cgroups } = await start();
    const shares = (value: number) =>
      cgroups.version === 1 ? { cpuShares: value } : { cpuWeight: weightFromShares(value) };
    const path = await pods.ensure(pod('g1', '64Mi'));
    expect(path).toBe(`${ROOT}/kubepods/podg1`);
    expect(await cgroups.read(path)).toMatchObject({
      ...shares(204),
      cpuQuota: 20_000,
      cpuPeriod: 100_000,
      memoryLimit: 64 * MIB,
      pidsLimit: 8,
    });
    expect(await cgroups.read(`${ROOT}/kubepods`)).toMatchObject({
      ...shares(2048),
      memoryLimit: 2048 * MIB,
      pidsLimit: 5000,
    });
    expect(await cgroups.read(`${ROOT}/kubepods/besteffort`)).toMatchObject(shares(2));
    const burstable = {
      ...pod('b1', '64Mi'),
      spec: { containers: [{ name: 'c', resources: { requests: { cpu: '500m' } } }] },
    };
    await pods.ensure(burstable);
    await pods.flush();
    expect(await cgroups.read(`${ROOT}/kubepods/burstable`)).toMatchObject(shares(512));
    await pods.ensure(pod('g1', '96Mi'));
    expect(await cgroups.read(path)).toMatchObject({ memoryLimit: 96 * MIB });
  });

  it('keeps lower classes off memory that higher ones ask for (qosReserved), but kills for it nobody', async () => {
    const { pods, cgroups } = await start(50);
    const limitOf = async (name: string) => (await cgroups.read(`${ROOT}/kubepods/${name}`)).memoryLimit;
    await pods.ensure(pod('g1', '1000Mi'));
    await pods.flush();
    expect([await limitOf('burstable'), await limitOf('besteffort')]).toEqual([524 * MIB, 524 * MIB]);
    const path = await pods.ensure({ metadata: { name: 'e', uid: 'e' }, spec: { containers: [{ name: 'c' }] } });
    const holds = 'const held = Buffer.alloc(24 << 20, 1); setInterval(() => held, 1e6)';
    const user = runIn(path, `exec ${process.execPath} -e '${holds}'`);
    await waitFor('memory to be in use', async () => ((await cgroups.read(path)).memoryUsage ?? 0) > 16 * MIB);
    await pods.ensure(pod('g1', '2040Mi'));
    await pods.flush();
    expect(await limitOf('burstable')).toBe(4 * MIB);
    // No lower than what is in use, and no higher than that was.
    const kept = (await limitOf('besteffort')) ?? 0;
    expect(kept).toBeGreaterThan(4 * MIB);
    expect(kept).toBeLessThan(64 * MIB);
    expect(user.exitCode ?? user.signalCode).toBeNull();
    await pods.remove('e');
    await pods.flush();
    expect(await limitOf('besteffort')).toBe(4 * MIB);
  });

  it.runIf(mounts.some(({ controllers }) => controllers.includes('cpuset')))(
    'new cpusets inherit, so that processes may enter',
    async () => {
      const { pods } = await start();
      const path = await pods.ensure(pod('g2', '64Mi'));
      const cpuset = mounts.find(({ controllers }) => controllers.includes('cpuset'))?.mountPoint ?? '';
      const read = (directory: string): string => readFileSync(join(cpuset, directory, 'cpuset.cpus'), 'utf8');
      expect(read(path)).toBe(read('/'));
      const child = runIn(path, 'exit 3');
      expect(await once(child, 'exit')).toEqual([3, null]);
    },
  );

  it('a pod over its memory limit is killed by the kernel, and remove clears what else runs', async () => {
    const { pods, cgroups } = await start();
    const path = await pods.ensure(pod('g3', '24Mi'));
    const other = runIn(path, 'exec sleep 300');
    const greedy = runIn(path, 'exec tail /dev/zero');
    expect(await once(greedy, 'exit')).toEqual([null, 'SIGKILL']);
    const gone = other.exitCode === null && other.signalCode === null ? once(other, 'exit') : undefined;
    await pods.remove('g3');
    if (gone !== undefined) expect(await gone).toEqual([null, 'SIGKILL']);
    expect(await cgroups.exists(path)).toBe(false);
    expect(await pods.orphans(new Set())).toEqual([]);
  });
});
