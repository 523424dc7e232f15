import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeCgroupFiles } from '../../src/host/cgroup/cgroup-files.ts';
import { CgroupV2 } from '../../src/host/cgroup/cgroup-v2.ts';
import { FakeCgroups } from '../../src/host/cgroup/fake.ts';
import { parseCgroupMounts } from '../../src/host/cgroup/mounts.ts';
import type { CgroupPort } from '../../src/host/cgroup/port.ts';
import { openCgroups } from '../../src/host/cgroup/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { weightFromShares } from '../../src/model/cpu.ts';
import { ImitatedCgroup2 } from '../harness/imitated-cgroup2.ts';

interface Harness {
  readonly port: CgroupPort;
  /** A cgroup of this test's own, which does not exist yet. */
  readonly base: string;
  /** Puts a process that sleeps into a cgroup. */
  enter(path: string): Promise<number>;
  alive(pid: number): boolean;
  /** Lets a process in a cgroup use so much memory. */
  use(path: string, bytes: number): Promise<void>;
  close(): Promise<void>;
}

const BASE = `/dhprb-${process.pid}`;
const clock = new SystemClock();

async function fakeHarness(version: 1 | 2): Promise<Harness> {
  const port = new FakeCgroups({ version });
  const where = new Map<number, string>();
  return {
    port,
    base: BASE,
    enter: async (path) => {
      const pid = port.spawn(path);
      where.set(pid, path);
      return pid;
    },
    // A process lives as long as the group that lists it.
    alive: (pid) => {
      let listed = false;
      try {
        port.spawn(where.get(pid) ?? '/none');
        listed = true;
      } catch {}
      return listed;
    },
    use: async (path, memoryBytes) => void port.spawn(path, { memoryBytes }),
    close: async () => {},
  };
}

async function realHarness(): Promise<Harness> {
  const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
  const port = await openCgroups({}, { clock });
  const children = new Map<number, ReturnType<typeof spawn>>();
  return {
    port,
    base: BASE,
    enter: async (path) => {
      const child = spawn('sleep', ['300'], { stdio: 'ignore' });
      await once(child, 'spawn');
      const pid = child.pid ?? 0;
      children.set(pid, child);
      for (const { mountPoint } of mounts) {
        const procs = join(mountPoint, path, 'cgroup.procs');
        if (existsSync(procs)) writeFileSync(procs, String(pid));
      }
      return pid;
    },
    alive: (pid) => {
      const child = children.get(pid);
      return child !== undefined && child.exitCode === null && child.signalCode === null;
    },
    use: async (path, bytes) => {
      const procs = mounts.map(({ mountPoint }) => join(mountPoint, path, 'cgroup.procs')).filter(existsSync);
      const enter = procs.map((file) => `echo $$ > ${file};`).join(' ');
      const child = spawn('sh', ['-c', `${enter} exec dd if=/dev/zero of=/dev/null bs=${bytes} count=1`], {
        stdio: 'ignore',
      });
      await once(child, 'exit');
    },
    close: async () => {
      await port.remove(BASE);
      for (const child of children.values()) child.kill('SIGKILL');
    },
  };
}

async function imitatedHarness(): Promise<Harness> {
  const directory = mkdtempSync(join(tmpdir(), 'dhprb-cgroup2-'));
  const files = new ImitatedCgroup2(join(directory, 'cgroup'), ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids']);
  const mountinfoPath = join(directory, 'mountinfo');
  writeFileSync(mountinfoPath, `30 23 0:26 / ${files.root} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n`);
  const killed = new Set<number>();
  const port = await openCgroups(
    { mountinfoPath },
    {
      clock,
      files,
      kill: (pid) => {
        killed.add(pid);
        files.kill(pid);
      },
    },
  );
  let next = 4_000_000;
  const home = new Map<number, string>();
  return {
    port,
    base: BASE,
    enter: async (path) => {
      files.addProcess(join(files.root, path), ++next);
      home.set(next, path);
      return next;
    },
    alive: (pid) => {
      const procs = join(files.root, home.get(pid) ?? '', 'cgroup.procs');
      return !killed.has(pid) && existsSync(procs) && readFileSync(procs, 'utf8').includes(String(pid));
    },
    use: async (path, bytes) => files.use(join(files.root, path), bytes),
    close: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

const canUseHost =
  process.getuid?.() === 0 && parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')).length > 0;

describe.each<[string, () => Promise<Harness>]>([
  ['fake v1', () => fakeHarness(1)],
  ['fake v2', () => fakeHarness(2)],
  ['real v2 on a directory that imitates it', imitatedHarness],
  ...(canUseHost ? ([['real, this host', realHarness]] as [string, () => Promise<Harness>][]) : []),
])('CgroupPort (%s)', (_name, make) => {
  let harness: Harness | undefined;
  const start = async (): Promise<Harness> => {
    harness = await make();
    return harness;
  };
  afterEach(async () => {
    await harness?.close();
    harness = undefined;
  });

  it('makes a cgroup with its parents, holds what is written, leaves alone what is not given', async () => {
    const { port, base } = await start();
    const path = `${base}/burstable/pod1`;
    expect(await port.exists(path)).toBe(false);
    await port.apply(path, {
      cpuShares: 512,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      memoryLimit: 67_108_864,
      pidsLimit: 100,
    });
    expect(await port.exists(path)).toBe(true);
    expect(await port.exists(`${base}/burstable`)).toBe(true);
    const cpu = port.version === 1 ? { cpuShares: 512 } : { cpuWeight: weightFromShares(512) };
    const expected = {
      ...cpu,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      memoryLimit: 67_108_864,
      pidsLimit: 100,
      pids: [],
    };
    expect(await port.read(path)).toMatchObject(expected);
    await port.apply(path, { memoryLimit: 33_554_432 });
    expect(await port.read(path)).toMatchObject({ ...expected, memoryLimit: 33_554_432 });
    await port.apply(path, {});
    expect(await port.read(path)).toMatchObject({ ...expected, memoryLimit: 33_554_432 });
  });

  it('takes limits off again', async () => {
    const { port, base } = await start();
    await port.apply(base, { cpuQuota: 20_000, cpuPeriod: 100_000, memoryLimit: 67_108_864, pidsLimit: 9 });
    await port.apply(base, { cpuQuota: -1, memoryLimit: -1, pidsLimit: -1 });
    expect(await port.read(base)).toMatchObject({ cpuQuota: -1, cpuPeriod: 100_000, memoryLimit: -1, pidsLimit: -1 });
  });

  it('changes quota and period together, up and down', async () => {
    const { port, base } = await start();
    for (const [cpuQuota, cpuPeriod] of [
      [100_000, 100_000],
      [10_000, 10_000],
      [1000, 1000],
      [2_000_000, 1_000_000],
      [5000, 50_000],
    ] as const) {
      await port.apply(`${base}/a`, { cpuQuota, cpuPeriod });
      expect(await port.read(`${base}/a`)).toMatchObject({ cpuQuota, cpuPeriod });
    }
  });

  it('sets only the quota and keeps the period', async () => {
    const { port, base } = await start();
    await port.apply(base, { cpuQuota: 10_000, cpuPeriod: 20_000 });
    await port.apply(base, { cpuQuota: 15_000 });
    expect(await port.read(base)).toMatchObject({ cpuQuota: 15_000, cpuPeriod: 20_000 });
  });

  it('refuses what the kernel refuses, with file, value and reason', async () => {
    const { port, base } = await start();
    await expect(port.apply(base, { cpuQuota: 10, cpuPeriod: 100_000 })).rejects.toMatchObject({
      code: 'InvalidArgument',
    });
    await expect(port.apply(base, { cpuPeriod: 5 })).rejects.toMatchObject({ code: 'InvalidArgument' });
  });

  it('refuses paths that lead elsewhere', async () => {
    const { port } = await start();
    for (const path of ['', '/', 'kubepods', '/../etc', '/a//b', '/a/./b', '/a/']) {
      await expect(port.remove(path), path).rejects.toMatchObject({ code: 'InvalidArgument' });
      await expect(port.apply(path, {}), path).rejects.toMatchObject({ code: 'InvalidArgument' });
    }
  });

  it('lists children, and none of what is not there', async () => {
    const { port, base } = await start();
    expect(await port.children(base)).toEqual([]);
    await port.apply(`${base}/podb`, {});
    await port.apply(`${base}/poda/inner`, {});
    expect(await port.children(base)).toEqual(['poda', 'podb']);
    expect(await port.read(`${base}/none`)).toEqual({});
  });

  it('reads the root, which cannot be changed, and how much cache a cgroup holds', async () => {
    const { port, base } = await start();
    const root = await port.read('/');
    // The imitated root of v2 is a bare directory.
    if (port.version === 1) expect(root.memoryInactiveFile).toBeGreaterThanOrEqual(0);
    if (port.version === 1) expect(root.memoryUsage).toBeGreaterThanOrEqual(root.memoryInactiveFile ?? 0);
    await expect(port.apply('/', { cpuShares: 2 })).rejects.toMatchObject({ code: 'InvalidArgument' });
    await port.apply(`${base}/cache`, {});
    expect((await port.read(`${base}/cache`)).memoryInactiveFile).toBe(0);
  });

  it('remembers the most memory that was in use below a cgroup', async () => {
    const { port, base, use } = await start();
    await port.apply(`${base}/pod1/c1`, {});
    expect(await port.memoryPeak(`${base}/pod1`)).toBeLessThan(2 ** 20);
    await use(`${base}/pod1/c1`, 32 * 2 ** 20);
    expect(await port.memoryPeak(`${base}/pod1`)).toBeGreaterThanOrEqual(32 * 2 ** 20);
    expect(await port.memoryPeak(`${base}/pod1`)).toBeLessThan(64 * 2 ** 20);
    expect(await port.memoryPeak(`${base}/none`)).toBeUndefined();
  });

  it('removes a tree and kills what runs in it, and in nothing else', async () => {
    const { port, base, enter, alive } = await start();
    await port.apply(`${base}/pod1/c1`, {});
    await port.apply(`${base}/pod1/c2`, {});
    await port.apply(`${base}/pod2`, {});
    const pids = [await enter(`${base}/pod1/c1`), await enter(`${base}/pod1/c2`), await enter(`${base}/pod1/c2`)];
    const other = await enter(`${base}/pod2`);
    expect((await port.read(`${base}/pod1/c2`)).pids).toEqual(pids.slice(1));
    await port.remove(`${base}/pod1`);
    expect(await port.exists(`${base}/pod1`)).toBe(false);
    // The exit of a killed child is heard a moment later.
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const pid of pids) expect(alive(pid)).toBe(false);
    expect(alive(other)).toBe(true);
    expect(await port.children(base)).toEqual(['pod2']);
    await port.remove(`${base}/pod1`);
  });

  it('v2 files by name on v2, refused on v1', async () => {
    const { port, base } = await start();
    const write = port.apply(base, { unified: { 'memory.oom.group': '1' } });
    if (port.version === 2) {
      await write;
      await expect(port.apply(base, { unified: { 'memory.nonsense': '1' } })).rejects.toMatchObject({
        code: 'NotFound',
      });
    } else {
      await expect(write).rejects.toMatchObject({ code: 'InvalidArgument' });
    }
  });
});

describe('cgroup v2 on the kernel’s own unified hierarchy (only hugetlb is free there on a v1 host)', () => {
  const unified = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')).find(({ version }) => version === 2);

  it.runIf(canUseHost && unified !== undefined)('hands controllers down, reads, kills and removes', async () => {
    const mountPoint = unified?.mountPoint ?? '';
    const port = await CgroupV2.open(mountPoint, {
      clock,
      files: nodeCgroupFiles,
      kill: (pid) => {
        throw new Error(`cgroup.kill should have ended ${pid}`);
      },
    });
    const path = `${BASE}-v2/pod1`;
    const child = spawn('sleep', ['300'], { stdio: 'ignore' });
    await once(child, 'spawn');
    try {
      await port.apply(path, { hugepages: port.controllers.has('hugetlb') ? { '2MB': 4_194_304 } : {} });
      if (port.controllers.has('hugetlb')) {
        expect(readFileSync(join(mountPoint, path, 'hugetlb.2MB.max'), 'utf8').trim()).toBe('4194304');
      }
      writeFileSync(join(mountPoint, path, 'cgroup.procs'), String(child.pid));
      expect((await port.read(path)).pids).toEqual([child.pid]);
      const exited = once(child, 'exit');
      await port.remove(`${BASE}-v2`);
      expect(await exited).toEqual([null, 'SIGKILL']);
      expect(await port.exists(path)).toBe(false);
    } finally {
      child.kill('SIGKILL');
      await port.remove(`${BASE}-v2`);
    }
  });
});
