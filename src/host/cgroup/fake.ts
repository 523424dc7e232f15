import { CodedError } from '../../kit/errors.ts';
import { weightFromShares } from '../../model/cpu.ts';
import { cgroupParts } from './cgroup-path.ts';
import type { CgroupLimits, CgroupPort, CgroupReading } from './port.ts';

export interface FakeCgroupsOptions {
  readonly version?: 1 | 2;
  /** Default: cpu, cpuset, memory, pids, hugetlb. */
  readonly controllers?: readonly string[];
}

interface FakeProcess {
  readonly pid: number;
  readonly memoryBytes: number;
  /** Stuck in the kernel (state D): no signal ends it. */
  readonly stuck: boolean;
}

interface Group {
  readonly children: Map<string, Group>;
  readonly processes: Map<number, FakeProcess>;
  /** Bytes: the most that was in use at once. */
  peak: number;
  shares: number;
  quota: number;
  period: number;
  memory: number;
  pids: number;
  readonly hugepages: Map<string, number>;
  readonly unified: Map<string, string>;
}

const UNIFIED_FILES: ReadonlySet<string> = new Set([
  'memory.oom.group',
  'memory.swap.max',
  'memory.min',
  'memory.low',
  'memory.high',
  'cpu.idle',
]);

/** The cgroup tree of a small kernel: hierarchical limits, processes that hold memory, refusals as the real one's. */
export class FakeCgroups implements CgroupPort {
  readonly version: 1 | 2;
  readonly controllers: ReadonlySet<string>;
  private readonly root: Group = emptyGroup();
  private nextPid = 100;
  /** Values written so far, for tests of what is left alone. */
  writes = 0;

  constructor(options: FakeCgroupsOptions = {}) {
    this.version = options.version ?? 2;
    this.controllers = new Set(options.controllers ?? ['cpu', 'cpuset', 'memory', 'pids', 'hugetlb']);
  }

  /** Starts a process in a cgroup that is there; fork fails at the pids limit of any level. */
  spawn(path: string, options: { readonly memoryBytes?: number; readonly stuck?: boolean } = {}): number {
    const lineage = this.lineage(path);
    const group = lineage?.at(-1);
    if (lineage === undefined || group === undefined) throw new CodedError('NotFound', `no cgroup ${path}`);
    for (const level of lineage) {
      if (level.pids >= 0 && countProcesses(level) >= level.pids) {
        throw new CodedError('ResourceExhausted', `fork in ${path}: pids.max is ${level.pids} (EAGAIN)`);
      }
    }
    const pid = this.nextPid++;
    group.processes.set(pid, { pid, memoryBytes: options.memoryBytes ?? 0, stuck: options.stuck ?? false });
    for (const level of lineage) level.peak = Math.max(level.peak, memoryOf(level));
    return pid;
  }

  async exists(path: string): Promise<boolean> {
    return this.find(path) !== undefined;
  }

  async apply(path: string, limits: CgroupLimits): Promise<void> {
    const parts = cgroupParts(path);
    if (this.version === 1 && Object.keys(limits.unified ?? {}).length > 0) {
      throw new CodedError('InvalidArgument', `set ${path}: unified values need cgroup v2, this host has v1`);
    }
    let parent = this.root;
    let group = this.root;
    for (const part of parts) {
      parent = group;
      let child = group.children.get(part);
      if (child === undefined) {
        child = emptyGroup();
        group.children.set(part, child);
      }
      group = child;
    }
    if (this.controllers.has('cpu')) this.applyCpu(path, group, parent, limits);
    if (limits.memoryLimit !== undefined && this.controllers.has('memory')) {
      const used = memoryOf(group);
      if (limits.memoryLimit >= 0 && used > limits.memoryLimit) {
        throw new CodedError(
          'Conflict',
          `set ${path}: memory limit ${limits.memoryLimit} is below the ${used} bytes in use`,
          { errno: 'EBUSY' },
        );
      }
      group.memory = this.written(limits.memoryLimit < 0 ? -1 : limits.memoryLimit - (limits.memoryLimit % 4096));
    }
    if (limits.pidsLimit !== undefined && this.controllers.has('pids'))
      group.pids = this.written(Math.max(limits.pidsLimit, -1));
    if (this.controllers.has('hugetlb')) {
      for (const [size, bytes] of Object.entries(limits.hugepages ?? {})) {
        if (!/^\d+[KMG]B$/.test(size)) throw new CodedError('NotFound', `set ${path}: no hugetlb.${size} here`);
        group.hugepages.set(size, this.written(bytes));
      }
    }
    for (const [file, text] of Object.entries(limits.unified ?? {})) {
      if (!UNIFIED_FILES.has(file)) throw new CodedError('NotFound', `set ${path}: no file ${file} here`);
      group.unified.set(file, text);
      this.writes++;
    }
  }

  async accountsSwap(): Promise<boolean> {
    return this.controllers.has('memory');
  }

  async remove(path: string): Promise<void> {
    const parts = cgroupParts(path);
    const lineage = this.lineage(path);
    const group = lineage?.at(-1);
    if (lineage === undefined || group === undefined) return;
    kill(group);
    const left = processesOf(group);
    if (left.length > 0) {
      throw new CodedError('DeadlineExceeded', `remove cgroup ${path}: still in use by processes ${left.join(', ')}`);
    }
    (lineage.at(-2) ?? this.root).children.delete(parts.at(-1) ?? '');
  }

  async children(path: string): Promise<string[]> {
    return [...(this.find(path)?.children.keys() ?? [])].sort();
  }

  async read(path: string): Promise<CgroupReading> {
    const group = path === '/' ? this.root : this.find(path);
    if (group === undefined) return {};
    // The root of cgroup v2 has statistics and no limits, and does not say how much is in use.
    if (path === '/' && this.version === 2) return { memoryInactiveFile: 0, pids: [...group.processes.keys()] };
    const cpu = this.controllers.has('cpu')
      ? {
          ...(this.version === 1 ? { cpuShares: group.shares } : { cpuWeight: weightFromShares(group.shares) }),
          cpuQuota: group.quota,
          cpuPeriod: group.period,
        }
      : {};
    return {
      ...cpu,
      ...(this.controllers.has('memory')
        ? { memoryLimit: group.memory, memoryUsage: memoryOf(group), memoryInactiveFile: 0 }
        : {}),
      ...(this.controllers.has('pids') ? { pidsLimit: group.pids } : {}),
      pids: [...group.processes.keys()],
    };
  }

  async memoryPeak(path: string): Promise<number | undefined> {
    return this.controllers.has('memory') ? this.find(path)?.peak : undefined;
  }

  /** A v2 file's text as it was written, for tests. */
  unified(path: string, file: string): string | undefined {
    return this.find(path)?.unified.get(file);
  }

  hugepages(path: string, size: string): number | undefined {
    return this.find(path)?.hugepages.get(size);
  }

  private applyCpu(path: string, group: Group, parent: Group, { cpuShares, cpuQuota, cpuPeriod }: CgroupLimits): void {
    if (cpuShares !== undefined) {
      if (this.version === 2 && (cpuShares < 2 || cpuShares > 262_144)) {
        throw new CodedError('InvalidArgument', `set ${path}: cpu shares are ${cpuShares}, need 2 to 262144`);
      }
      group.shares = this.written(Math.min(Math.max(cpuShares, 2), 262_144));
    }
    const quota = cpuQuota ?? group.quota;
    const period = cpuPeriod ?? group.period;
    if ((quota >= 0 && quota < 1000) || period < 1000 || period > 1_000_000) {
      throw new CodedError(
        'InvalidArgument',
        `set ${path}: cpu quota ${quota} per ${period} µs, needs 1000 or more per 1000 to 1000000`,
      );
    }
    // v1 keeps children within their parent; v2 lets the parent's limit bite instead.
    if (this.version === 1 && quota >= 0 && parent.quota >= 0 && quota / period > parent.quota / parent.period) {
      throw new CodedError(
        'InvalidArgument',
        `set ${path}: cpu quota ${quota}/${period} is above the parent's ${parent.quota}/${parent.period}`,
      );
    }
    if (this.version === 1 && quota >= 0) {
      for (const child of group.children.values()) {
        if (child.quota >= 0 && child.quota / child.period > quota / period) {
          throw new CodedError(
            'InvalidArgument',
            `set ${path}: cpu quota ${quota}/${period} is below a child's ${child.quota}/${child.period}`,
          );
        }
      }
    }
    if (cpuQuota !== undefined) group.quota = this.written(cpuQuota < 0 ? -1 : cpuQuota);
    if (cpuPeriod !== undefined) group.period = this.written(cpuPeriod);
  }

  private written(value: number): number {
    this.writes++;
    return value;
  }

  private find(path: string): Group | undefined {
    return this.lineage(path)?.at(-1);
  }

  /** The groups from the first below the root down to this one. */
  private lineage(path: string): Group[] | undefined {
    const groups: Group[] = [];
    let group = this.root;
    for (const part of cgroupParts(path)) {
      const child = group.children.get(part);
      if (child === undefined) return undefined;
      groups.push(child);
      group = child;
    }
    return groups;
  }
}

function emptyGroup(): Group {
  return {
    children: new Map(),
    processes: new Map(),
    peak: 0,
    shares: 1024,
    quota: -1,
    period: 100_000,
    memory: -1,
    pids: -1,
    hugepages: new Map(),
    unified: new Map(),
  };
}

function processesOf(group: Group): number[] {
  return [...group.processes.keys(), ...[...group.children.values()].flatMap(processesOf)];
}

function countProcesses(group: Group): number {
  return processesOf(group).length;
}

function memoryOf(group: Group): number {
  let sum = 0;
  for (const { memoryBytes } of group.processes.values()) sum += memoryBytes;
  for (const child of group.children.values()) sum += memoryOf(child);
  return sum;
}

function kill(group: Group): void {
  for (const { pid, stuck } of [...group.processes.values()]) if (!stuck) group.processes.delete(pid);
  for (const child of group.children.values()) kill(child);
}
