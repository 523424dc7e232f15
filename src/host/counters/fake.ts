import type { Clock } from '../../kit/clock.ts';
import type { CgroupCounters, CountersPort, InterfaceCounters } from './port.ts';

interface Group {
  cpuNanoseconds: number;
  memoryBytes: number;
  readonly pids: number[];
}

/** Cgroups, processes and folders in memory; a cgroup counts what runs in it and below. */
export class FakeCounters implements CountersPort {
  private readonly clock: Pick<Clock, 'now'>;
  private readonly groups = new Map<string, Group>([['/', { cpuNanoseconds: 0, memoryBytes: 0, pids: [] }]]);
  private readonly interfacesOf = new Map<number | 'self', InterfaceCounters[]>([['self', []]]);
  private readonly folders = new Map<string, number[]>();

  constructor(deps: { readonly clock: Pick<Clock, 'now'> }) {
    this.clock = deps.clock;
  }

  /** Makes the cgroup; its parent must be there. */
  make(path: string): void {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    if (!this.groups.has(parent)) throw new Error(`mkdir ${path}: no such file or directory`);
    this.groups.set(path, { cpuNanoseconds: 0, memoryBytes: 0, pids: [] });
  }

  /** Removes a cgroup in which nothing runs. */
  remove(path: string): void {
    if ((this.groups.get(path)?.pids.length ?? 0) > 0) throw new Error(`rmdir ${path}: device or resource busy`);
    this.groups.delete(path);
  }

  /** A process that begins in a cgroup and uses so much. */
  run(path: string, pid: number, use: { readonly cpuNanoseconds: number; readonly memoryBytes: number }): void {
    const own = this.groups.get(path);
    if (own === undefined) throw new Error(`${path}: no such file or directory`);
    own.pids.push(pid);
    this.interfacesOf.set(pid, []);
    for (const [name, group] of this.groups) {
      if (name !== '/' && name !== path && !path.startsWith(`${name}/`)) continue;
      group.cpuNanoseconds += use.cpuNanoseconds;
      group.memoryBytes += use.memoryBytes;
    }
  }

  end(pid: number): void {
    this.interfacesOf.delete(pid);
    for (const { pids } of this.groups.values()) if (pids.includes(pid)) pids.splice(pids.indexOf(pid), 1);
  }

  /** What a folder holds: the sizes of its files. */
  fill(directory: string, sizes: readonly number[]): void {
    this.folders.set(directory, [...sizes]);
  }

  cgroups(paths: readonly string[], detail: 'usage' | 'all'): Promise<readonly (CgroupCounters | undefined)[]> {
    return Promise.resolve(
      paths.map((path) => {
        const group = this.groups.get(path);
        if (group === undefined) return undefined;
        const { cpuNanoseconds, memoryBytes, pids } = group;
        const usage = { atMs: this.clock.now(), cpuNanoseconds, memoryBytes, workingSetBytes: memoryBytes };
        if (detail === 'usage') return usage;
        return { ...usage, ...(path === '/' ? {} : { processes: pids.length, pid: pids[0] }), devices: [] };
      }),
    );
  }

  network(pid: number | 'self'): readonly InterfaceCounters[] | undefined {
    return this.interfacesOf.get(pid);
  }

  files(directory: string): { readonly bytes: number; readonly count: number } | undefined {
    const sizes = this.folders.get(directory);
    return sizes === undefined ? undefined : { bytes: sizes.reduce((sum, size) => sum + size, 0), count: sizes.length };
  }
}
