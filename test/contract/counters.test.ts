import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeCounters } from '../../src/host/counters/fake.ts';
import type { CgroupCounters, CountersPort } from '../../src/host/counters/port.ts';
import { RealCounters } from '../../src/host/counters/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { cgroupDirectories, cgroupHierarchies, removeDirectories } from '../harness/cgroup-hierarchies.ts';
import { waitFor } from '../harness/wait-for.ts';

const ROOT = '/deckhand-test-counters';
const clock = new SystemClock();

/** What the counters count, and how it comes about. */
interface Subject {
  readonly port: CountersPort;
  make(path: string): void;
  /** Starts a process in the cgroup that has used some CPU and memory when this resolves; returns its id. */
  run(path: string): Promise<number>;
  end(pid: number): Promise<void>;
  remove(path: string): void;
  /** A folder with files of these sizes. */
  folder(sizes: readonly number[]): string;
  close(): void;
}

function fake(): Subject {
  const port = new FakeCounters({ clock });
  let serial = 0;
  return {
    port,
    make: (path) => port.make(path),
    run: (path) => {
      const pid = ++serial;
      port.run(path, pid, { cpuNanoseconds: 5_000_000, memoryBytes: 300_000 });
      return Promise.resolve(pid);
    },
    end: (pid) => Promise.resolve(port.end(pid)),
    remove: (path) => port.remove(path),
    folder: (sizes) => {
      const path = `/folder-${++serial}`;
      port.fill(path, sizes);
      return path;
    },
    close: () => {},
  };
}

function real(): Subject {
  const base = mkdtempSync(join(tmpdir(), 'deckhand-test-counters-'));
  const children = new Map<number, ChildProcess>();
  removeDirectories(cgroupDirectories(ROOT));
  return {
    port: new RealCounters({ clock }),
    make: (path) => {
      for (const mount of cgroupHierarchies()) mkdirSync(`${mount}${path}`);
    },
    run: async (path) => {
      const join = cgroupHierarchies().map((mount) => `echo $$ > ${mount}${path}/cgroup.procs`);
      // v1's cpuset takes no process before it has processors and memory.
      const script = `${join.map((one) => `${one} 2>/dev/null || true`).join('\n')}
i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; exec sleep 60`;
      const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      const pid = child.pid ?? 0;
      children.set(pid, child);
      return pid;
    },
    end: async (pid) => {
      const child = children.get(pid);
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    remove: (path) => {
      removeDirectories(cgroupDirectories(path));
    },
    folder: (sizes) => {
      const path = mkdtempSync(join(base, 'folder-'));
      for (const [index, size] of sizes.entries()) writeFileSync(join(path, String(index)), Buffer.alloc(size));
      return path;
    },
    close: () => {
      for (const child of children.values()) child.kill('SIGKILL');
      rmSync(base, { recursive: true, force: true });
    },
  };
}

describe.each([
  ['fake', fake],
  ['real', real],
])('counters: %s', (_name, open) => {
  let subject: Subject;
  let pid: number;
  beforeAll(async () => {
    subject = open();
    subject.make(ROOT);
    subject.make(`${ROOT}/busy`);
    subject.make(`${ROOT}/idle`);
    pid = await subject.run(`${ROOT}/busy`);
  });
  afterAll(async () => {
    await subject.end(pid);
    for (const path of [`${ROOT}/busy`, `${ROOT}/idle`, ROOT]) {
      await waitFor(`${path} to be empty`, async () => {
        subject.remove(path);
        return (await subject.port.cgroups([path], 'usage'))[0] === undefined;
      });
    }
    subject.close();
  });

  const all = async (path: string): Promise<CgroupCounters | undefined> =>
    (await subject.port.cgroups([path], 'all'))[0];

  it('count what runs in a cgroup and below, and nothing where nothing does', async () => {
    const busy = await waitFor('memory to be charged', async () => {
      const found = await all(`${ROOT}/busy`);
      return (found?.memoryBytes ?? 0) > 0 ? found : undefined;
    });
    expect(busy).toMatchObject({ processes: 1, pid });
    expect(busy.cpuNanoseconds).toBeGreaterThan(1_000_000);
    expect(busy.workingSetBytes).toBeLessThanOrEqual(busy.memoryBytes ?? 0);
    expect(Math.abs(busy.atMs - Date.now())).toBeLessThan(5000);
    const above = await all(ROOT);
    expect(above?.processes).toBe(0);
    expect(above?.cpuNanoseconds).toBeGreaterThanOrEqual(busy.cpuNanoseconds ?? 0);
    expect(await all(`${ROOT}/idle`)).toMatchObject({ cpuNanoseconds: 0, processes: 0 });
  });

  it('answer in the order of the question, undefined for what is not there', async () => {
    const paths = [`${ROOT}/idle`, `${ROOT}/none`, '/', `${ROOT}/busy`];
    const found = await subject.port.cgroups(paths, 'usage');
    expect(found.map((one) => one !== undefined)).toEqual([true, false, true, true]);
    expect(found[0]?.cpuNanoseconds).toBe(0);
    expect(found[2]?.cpuNanoseconds).toBeGreaterThanOrEqual(found[3]?.cpuNanoseconds ?? 0);
    // CPU and memory alone, for less work.
    expect([found[3]?.processes, found[3]?.devices]).toEqual([undefined, undefined]);
  });

  it('know the interfaces of processes that live, loopback left out', async () => {
    const own = subject.port.network('self');
    expect(own).toBeDefined();
    expect(subject.port.network(pid)).toBeDefined();
    expect(own?.some(({ name }) => name === 'lo')).toBe(false);
    const other = await subject.run(`${ROOT}/idle`);
    await subject.end(other);
    await waitFor('it to be gone', () => subject.port.network(other) === undefined);
  });

  it('measure the files of a folder', () => {
    expect(subject.port.files(subject.folder([10, 0, 500]))).toEqual({ bytes: 510, count: 3 });
    expect(subject.port.files(subject.folder([]))).toEqual({ bytes: 0, count: 0 });
    expect(subject.port.files('/none/at/all')).toBeUndefined();
  });
});
