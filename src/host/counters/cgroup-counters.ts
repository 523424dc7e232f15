import { join } from 'node:path';
import type { CgroupMount } from '../cgroup/mounts.ts';
import { blkio, ioStat, keyed, number, pressure } from './kernel-text.ts';
import type { CgroupCounters } from './port.ts';

/** The text of a file, or undefined. */
export type ReadText = (path: string) => string | undefined;

/** What memory.limit_in_bytes and its like say when there is no limit: the largest page count in bytes. */
const NO_LIMIT = 2 ** 62;
/** USER_HZ, the unit of cpuacct.stat. */
const TICK_NANOSECONDS = 10_000_000;

/** Reads the counters of one cgroup from whichever hierarchies this host has. */
export class CgroupCounterReader {
  private readonly unified: string | undefined;
  private readonly byController: ReadonlyMap<string, string>;
  private readonly read: ReadText;
  /** Files that this kernel does not make: looking for them costs more than reading those that are there. */
  private readonly absent = new Set<string>();
  private readonly now: () => number;
  /** Some kernels count no reads and writes by cgroup, and tell so of the root: two files of each cgroup less to read. */
  private countsDevices = true;

  constructor(mounts: readonly CgroupMount[], deps: { readonly read: ReadText; readonly now: () => number }) {
    const legacy = mounts.filter(({ version }) => version === 1);
    this.byController = new Map(
      legacy.flatMap(({ controllers, mountPoint }) => controllers.map((name) => [name, mountPoint] as const)),
    );
    // A hybrid host's unified hierarchy has no controllers.
    const isLegacy = this.byController.has('memory') || this.byController.has('cpuacct');
    this.unified = isLegacy ? undefined : mounts.find(({ version }) => version === 2)?.mountPoint;
    this.read = deps.read;
    this.now = deps.now;
  }

  /** undefined: there is no such cgroup. */
  counters(path: string, detail: 'usage' | 'all' = 'all'): CgroupCounters | undefined {
    return this.unified === undefined
      ? this.legacy(path, detail === 'all')
      : this.modern(join(this.unified, path), path === '/', detail === 'all');
  }

  /** `proof` is a file that is there as long as the cgroup is. */
  private optional(path: string, name: string, proof: string): string | undefined {
    if (this.absent.has(name)) return undefined;
    const text = this.read(path);
    if (text === undefined && this.read(proof) !== undefined) this.absent.add(name);
    return text;
  }

  private modern(directory: string, isRoot: boolean, all: boolean): CgroupCounters | undefined {
    // The root has fewer files than the others.
    const text = (file: string): string | undefined =>
      isRoot ? this.read(`${directory}/${file}`) : this.optional(`${directory}/${file}`, file, `${directory}/cpu.stat`);
    const cpu = this.read(`${directory}/cpu.stat`);
    if (cpu === undefined) return undefined;
    const cpuStat = keyed(cpu);
    const micro = (name: string): number | undefined => times(cpuStat.get(name), 1000);
    const stat = keyed(text('memory.stat'));
    const used = isRoot ? undefined : number(text('memory.current'));
    const usage: CgroupCounters = {
      atMs: this.now(),
      cpuNanoseconds: micro('usage_usec'),
      ...memory(used, stat.get('inactive_file')),
      rssBytes: stat.get('anon'),
      pageFaults: stat.get('pgfault'),
      majorPageFaults: stat.get('pgmajfault'),
      memoryLimitBytes: isRoot ? undefined : number(text('memory.max')),
      swapBytes: isRoot ? undefined : number(text('memory.swap.current')),
      swapLimitBytes: isRoot ? undefined : number(text('memory.swap.max')),
    };
    if (!all) return usage;
    const [quota, period] = isRoot ? [] : (text('cpu.max') ?? '').trim().split(' ');
    const weight = isRoot ? undefined : number(text('cpu.weight'));
    return {
      ...usage,
      userNanoseconds: micro('user_usec'),
      systemNanoseconds: micro('system_usec'),
      periods: cpuStat.get('nr_periods'),
      throttledPeriods: cpuStat.get('nr_throttled'),
      throttledNanoseconds: micro('throttled_usec'),
      cacheBytes: stat.get('file'),
      mappedFileBytes: stat.get('file_mapped'),
      activeFileBytes: stat.get('active_file'),
      kernelBytes: stat.get('kernel'),
      oomKills: isRoot ? undefined : keyed(text('memory.events')).get('oom_kill'),
      memoryPeakBytes: isRoot ? undefined : number(text('memory.peak')),
      // KEP-2254, backwards.
      cpuShares: weight === undefined ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9999),
      cpuQuota: number(quota),
      cpuPeriod: number(period),
      threads: isRoot ? undefined : number(text('pids.current')),
      ...processes(isRoot ? undefined : text('cgroup.procs')),
      cpuPressure: pressure(text('cpu.pressure')),
      memoryPressure: pressure(text('memory.pressure')),
      ioPressure: pressure(text('io.pressure')),
      devices: ioStat(text('io.stat')),
    };
  }

  private legacy(path: string, all: boolean): CgroupCounters | undefined {
    const directory = (controller: string): string | undefined => {
      const mount = this.byController.get(controller);
      return mount === undefined ? undefined : `${mount}${path === '/' ? '' : path}`;
    };
    const text = (controller: string, file: string): string | undefined => {
      const at = directory(controller);
      if (at === undefined) return undefined;
      return path === '/'
        ? this.read(`${at}/${file}`)
        : this.optional(`${at}/${file}`, `${controller} ${file}`, `${at}/cgroup.procs`);
    };
    const [cpuacct, memoryAt] = [directory('cpuacct'), directory('memory')];
    const cpu = cpuacct === undefined ? undefined : number(this.read(`${cpuacct}/cpuacct.usage`));
    const stat = keyed(memoryAt === undefined ? undefined : this.read(`${memoryAt}/memory.stat`));
    if (cpu === undefined && stat.size === 0) return undefined;
    const limited = (value: number | undefined): number | undefined =>
      value === undefined || value >= NO_LIMIT || value < 0 ? undefined : value;
    const memoryLimitBytes = limited(number(text('memory', 'memory.limit_in_bytes')));
    // It counts memory and swap together.
    const bothLimit = limited(number(text('memory', 'memory.memsw.limit_in_bytes')));
    const usage: CgroupCounters = {
      atMs: this.now(),
      cpuNanoseconds: cpu,
      ...memory(number(text('memory', 'memory.usage_in_bytes')), stat.get('total_inactive_file')),
      rssBytes: stat.get('total_rss'),
      pageFaults: stat.get('total_pgfault'),
      majorPageFaults: stat.get('total_pgmajfault'),
      memoryLimitBytes,
      swapBytes: stat.get('total_swap'),
      swapLimitBytes:
        bothLimit === undefined || memoryLimitBytes === undefined
          ? undefined
          : Math.max(0, bothLimit - memoryLimitBytes),
    };
    if (!all) return usage;
    const cpuStat = keyed(text('cpu', 'cpu.stat'));
    const devices =
      path === '/' || this.countsDevices
        ? blkio(
            text('blkio', 'blkio.throttle.io_service_bytes_recursive'),
            text('blkio', 'blkio.throttle.io_serviced_recursive'),
          )
        : [];
    if (path === '/') this.countsDevices = devices === undefined || devices.length > 0;
    const ticks = keyed(text('cpuacct', 'cpuacct.stat'));
    return {
      ...usage,
      userNanoseconds: times(ticks.get('user'), TICK_NANOSECONDS),
      systemNanoseconds: times(ticks.get('system'), TICK_NANOSECONDS),
      periods: cpuStat.get('nr_periods'),
      throttledPeriods: cpuStat.get('nr_throttled'),
      throttledNanoseconds: cpuStat.get('throttled_time'),
      cacheBytes: stat.get('total_cache'),
      mappedFileBytes: stat.get('total_mapped_file'),
      activeFileBytes: stat.get('total_active_file'),
      oomKills: keyed(text('memory', 'memory.oom_control')).get('oom_kill'),
      memoryPeakBytes: number(text('memory', 'memory.max_usage_in_bytes')),
      memoryFailures: number(text('memory', 'memory.failcnt')),
      cpuShares: number(text('cpu', 'cpu.shares')),
      cpuQuota: limited(number(text('cpu', 'cpu.cfs_quota_us'))),
      cpuPeriod: number(text('cpu', 'cpu.cfs_period_us')),
      threads: number(text('pids', 'pids.current')),
      ...processes(path === '/' ? undefined : (text('cpuacct', 'cgroup.procs') ?? text('memory', 'cgroup.procs'))),
      devices,
    };
  }
}

function times(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

function memory(used: number | undefined, inactive: number | undefined): Partial<CgroupCounters> {
  if (used === undefined) return { inactiveFileBytes: inactive };
  return { memoryBytes: used, workingSetBytes: Math.max(0, used - (inactive ?? 0)), inactiveFileBytes: inactive };
}

function processes(procs: string | undefined): Partial<CgroupCounters> {
  if (procs === undefined) return {};
  const pids = procs.split('\n').filter(Boolean);
  return { processes: pids.length, pid: pids[0] === undefined ? undefined : Number(pids[0]) };
}
