import { join } from 'node:path';
import { type CgroupFiles, directoriesIfThere, readIfThere, statValue } from '../cgroup/cgroup-files.ts';
import { readableParts } from '../cgroup/cgroup-path.ts';
import type { CgroupMount } from '../cgroup/mounts.ts';
import type { CgroupUsage } from './port.ts';

// What memory.limit_in_bytes reads when nothing limits: the largest page count in bytes (PAGE_COUNTER_MAX).
const NO_LIMIT_BYTES = 2 ** 62;
/** Cgroups below a pod's that are looked into for processes: containers may make cgroups of their own, without end. */
const MOST_CGROUPS = 1000;

/** Reads what a cgroup uses, on v1 from each controller's own hierarchy. */
export class CgroupUsageReader {
  private readonly mounts: readonly CgroupMount[];
  private readonly files: CgroupFiles;
  private readonly now: () => number;
  private readonly version: 1 | 2;

  constructor(mounts: readonly CgroupMount[], files: CgroupFiles, now: () => number) {
    this.mounts = mounts;
    this.files = files;
    this.now = now;
    // A hybrid host has a v2 hierarchy without controllers beside v1's.
    this.version = mounts.some(({ version, controllers }) => version === 1 && controllers.includes('memory')) ? 1 : 2;
  }

  async read(path: string): Promise<CgroupUsage | undefined> {
    const parts = readableParts(path);
    const usage = this.version === 1 ? await this.readV1(parts) : await this.readV2(parts);
    if (usage === undefined) return undefined;
    const known = Object.entries(usage).filter(([, value]) => value !== undefined && !Number.isNaN(value));
    return { atMs: this.now(), ...Object.fromEntries(known) };
  }

  private async readV1(parts: readonly string[]): Promise<Partials | undefined> {
    const directory = (controller: string): string | undefined => {
      const mount = this.mounts.find(({ version, controllers }) => version === 1 && controllers.includes(controller));
      return mount === undefined ? undefined : join(mount.mountPoint, ...parts);
    };
    const text = async (controller: string, file: string): Promise<string | undefined> => {
      const at = directory(controller);
      return at === undefined ? undefined : readIfThere(this.files, join(at, file));
    };
    const [cpu, used, stat, limit] = await Promise.all([
      text('cpuacct', 'cpuacct.usage'),
      text('memory', 'memory.usage_in_bytes'),
      text('memory', 'memory.stat'),
      text('memory', 'memory.limit_in_bytes'),
    ]);
    if (cpu === undefined && used === undefined) return undefined;
    return {
      cpuNanoseconds: numberOf(cpu),
      ...memoryOf(numberOf(used), statValue(stat, 'total_inactive_file')),
      rssBytes: statValue(stat, 'total_rss'),
      memoryLimitBytes: limitOf(limit),
      pageFaults: statValue(stat, 'total_pgfault'),
      majorPageFaults: statValue(stat, 'total_pgmajfault'),
      // Counted only where swap accounting is on.
      swapBytes: statValue(stat, 'total_swap'),
      processes: await this.processes(directory('memory') ?? directory('pids') ?? directory('cpuacct')),
    };
  }

  private async readV2(parts: readonly string[]): Promise<Partials | undefined> {
    const mount = this.mounts.find(({ version }) => version === 2)?.mountPoint;
    if (mount === undefined) return undefined;
    const directory = join(mount, ...parts);
    const text = (file: string): Promise<string | undefined> => readIfThere(this.files, join(directory, file));
    const cpuStat = await text('cpu.stat');
    if (cpuStat === undefined) return undefined;
    const [used, stat, limit, swap, cpu, memory, io] = await Promise.all(
      [
        'memory.current',
        'memory.stat',
        'memory.max',
        'memory.swap.current',
        'cpu.pressure',
        'memory.pressure',
        'io.pressure',
      ].map(text),
    );
    const microseconds = statValue(cpuStat, 'usage_usec');
    const pressure = Object.fromEntries(
      Object.entries({ cpu, memory, io }).filter(([, value]) => value !== undefined && value !== ''),
    );
    return {
      cpuNanoseconds: microseconds === undefined ? undefined : microseconds * 1000,
      ...memoryOf(numberOf(used), statValue(stat, 'inactive_file')),
      rssBytes: statValue(stat, 'anon'),
      memoryLimitBytes: limitOf(limit),
      pageFaults: statValue(stat, 'pgfault'),
      majorPageFaults: statValue(stat, 'pgmajfault'),
      swapBytes: numberOf(swap),
      processes: await this.processes(directory),
      pressure: Object.keys(pressure).length === 0 ? undefined : pressure,
    };
  }

  private async processes(directory: string | undefined): Promise<number | undefined> {
    if (directory === undefined) return undefined;
    let count = 0;
    let left = MOST_CGROUPS;
    const open = [directory];
    for (let next = open.pop(); next !== undefined && left > 0; next = open.pop(), left--) {
      // The file of a threaded cgroup cannot be read; its processes are those of the cgroup above it.
      const procs = await readIfThere(this.files, join(next, 'cgroup.procs'));
      count += procs === undefined ? 0 : new Set(procs.split('\n').filter(Boolean)).size;
      for (const name of (await directoriesIfThere(this.files, next)) ?? []) open.push(join(next, name));
    }
    return count;
  }
}

type Partials = { readonly [K in keyof Omit<CgroupUsage, 'atMs'>]: CgroupUsage[K] | undefined };

function numberOf(text: string | undefined): number | undefined {
  return text === undefined || text === '' ? undefined : Number(text);
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return text === 'max' || Number(text) >= NO_LIMIT_BYTES ? -1 : Number(text);
}

function memoryOf(used: number | undefined, inactiveFile: number | undefined): Partials {
  if (used === undefined) return {};
  return { memoryBytes: used, workingSetBytes: Math.max(0, used - (inactiveFile ?? 0)) };
}
