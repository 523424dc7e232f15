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

type Counted = { -readonly [K in keyof CgroupCounters]-?: CgroupCounters[K] };

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
    const micro = (name: string): number | undefined => times(keyed(cpu, name), 1000);
    const stat = text('memory.stat');
    const used = isRoot ? undefined : number(text('memory.current'));
    const counters = unread(this.now());
    counters.cpuNanoseconds = micro('usage_usec');
    noteMemory(counters, used, keyed(stat, 'inactive_file'));
    counters.rssBytes = keyed(stat, 'anon');
    counters.pageFaults = keyed(stat, 'pgfault');
    counters.majorPageFaults = keyed(stat, 'pgmajfault');
    counters.memoryLimitBytes = isRoot ? undefined : number(text('memory.max'));
    counters.swapBytes = isRoot ? undefined : number(text('memory.swap.current'));
    counters.swapLimitBytes = isRoot ? undefined : number(text('memory.swap.max'));
    if (!all) return counters;
    const [quota, period] = isRoot ? [] : (text('cpu.max') ?? '').trim().split(' ');
    const weight = isRoot ? undefined : number(text('cpu.weight'));
    counters.userNanoseconds = micro('user_usec');
    counters.systemNanoseconds = micro('system_usec');
    counters.periods = keyed(cpu, 'nr_periods');
    counters.throttledPeriods = keyed(cpu, 'nr_throttled');
    counters.throttledNanoseconds = micro('throttled_usec');
    counters.cacheBytes = keyed(stat, 'file');
    counters.mappedFileBytes = keyed(stat, 'file_mapped');
    counters.activeFileBytes = keyed(stat, 'active_file');
    counters.kernelBytes = keyed(stat, 'kernel');
    counters.oomKills = isRoot ? undefined : keyed(text('memory.events'), 'oom_kill');
    counters.memoryPeakBytes = isRoot ? undefined : number(text('memory.peak'));
    // KEP-2254, backwards.
    counters.cpuShares = weight === undefined ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9999);
    counters.cpuQuota = number(quota);
    counters.cpuPeriod = number(period);
    counters.threads = isRoot ? undefined : number(text('pids.current'));
    noteProcesses(counters, isRoot ? undefined : text('cgroup.procs'));
    counters.cpuPressure = pressure(text('cpu.pressure'));
    counters.memoryPressure = pressure(text('memory.pressure'));
    counters.ioPressure = pressure(text('io.pressure'));
    counters.devices = ioStat(text('io.stat'));
    return counters;
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
    const stat = memoryAt === undefined ? undefined : this.read(`${memoryAt}/memory.stat`);
    if (cpu === undefined && stat === undefined) return undefined;
    const limited = (value: number | undefined): number | undefined =>
      value === undefined || value >= NO_LIMIT || value < 0 ? undefined : value;
    const memoryLimitBytes = limited(number(text('memory', 'memory.limit_in_bytes')));
    // It counts memory and swap together.
    const bothLimit = limited(number(text('memory', 'memory.memsw.limit_in_bytes')));
    const counters = unread(this.now());
    counters.cpuNanoseconds = cpu;
    noteMemory(counters, number(text('memory', 'memory.usage_in_bytes')), keyed(stat, 'total_inactive_file'));
    counters.rssBytes = keyed(stat, 'total_rss');
    counters.pageFaults = keyed(stat, 'total_pgfault');
    counters.majorPageFaults = keyed(stat, 'total_pgmajfault');
    counters.memoryLimitBytes = memoryLimitBytes;
    counters.swapBytes = keyed(stat, 'total_swap');
    counters.swapLimitBytes =
      bothLimit === undefined || memoryLimitBytes === undefined ? undefined : Math.max(0, bothLimit - memoryLimitBytes);
    if (!all) return counters;
    const cpuStat = text('cpu', 'cpu.stat');
    const devices =
      path === '/' || this.countsDevices
        ? blkio(
            text('blkio', 'blkio.throttle.io_service_bytes_recursive'),
            text('blkio', 'blkio.throttle.io_serviced_recursive'),
          )
        : [];
    if (path === '/') this.countsDevices = devices === undefined || devices.length > 0;
    const ticks = text('cpuacct', 'cpuacct.stat');
    counters.userNanoseconds = times(keyed(ticks, 'user'), TICK_NANOSECONDS);
    counters.systemNanoseconds = times(keyed(ticks, 'system'), TICK_NANOSECONDS);
    counters.periods = keyed(cpuStat, 'nr_periods');
    counters.throttledPeriods = keyed(cpuStat, 'nr_throttled');
    counters.throttledNanoseconds = keyed(cpuStat, 'throttled_time');
    counters.cacheBytes = keyed(stat, 'total_cache');
    counters.mappedFileBytes = keyed(stat, 'total_mapped_file');
    counters.activeFileBytes = keyed(stat, 'total_active_file');
    counters.oomKills = keyed(text('memory', 'memory.oom_control'), 'oom_kill');
    counters.memoryPeakBytes = number(text('memory', 'memory.max_usage_in_bytes'));
    counters.memoryFailures = number(text('memory', 'memory.failcnt'));
    counters.cpuShares = number(text('cpu', 'cpu.shares'));
    counters.cpuQuota = limited(number(text('cpu', 'cpu.cfs_quota_us')));
    counters.cpuPeriod = number(text('cpu', 'cpu.cfs_period_us'));
    counters.threads = number(text('pids', 'pids.current'));
    noteProcesses(
      counters,
      path === '/' ? undefined : (text('cpuacct', 'cgroup.procs') ?? text('memory', 'cgroup.procs')),
    );
    counters.devices = devices;
    return counters;
  }
}

function times(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

/** Nothing known yet, in one shape: V8 keeps objects that grow by name, or by spreading, in several times the memory. */
function unread(atMs: number): Counted {
  return {
    atMs,
    cpuNanoseconds: undefined,
    userNanoseconds: undefined,
    systemNanoseconds: undefined,
    periods: undefined,
    throttledPeriods: undefined,
    throttledNanoseconds: undefined,
    memoryBytes: undefined,
    memoryPeakBytes: undefined,
    workingSetBytes: undefined,
    rssBytes: undefined,
    cacheBytes: undefined,
    mappedFileBytes: undefined,
    inactiveFileBytes: undefined,
    activeFileBytes: undefined,
    swapBytes: undefined,
    pageFaults: undefined,
    majorPageFaults: undefined,
    kernelBytes: undefined,
    oomKills: undefined,
    memoryFailures: undefined,
    memoryLimitBytes: undefined,
    swapLimitBytes: undefined,
    cpuShares: undefined,
    cpuQuota: undefined,
    cpuPeriod: undefined,
    processes: undefined,
    threads: undefined,
    pid: undefined,
    cpuPressure: undefined,
    memoryPressure: undefined,
    ioPressure: undefined,
    devices: undefined,
  };
}

function noteMemory(counters: Counted, used: number | undefined, inactive: number | undefined): void {
  counters.memoryBytes = used;
  counters.inactiveFileBytes = inactive;
  if (used !== undefined) counters.workingSetBytes = Math.max(0, used - (inactive ?? 0));
}

function noteProcesses(counters: Counted, procs: string | undefined): void {
  if (procs === undefined) return;
  const pids = procs.split('\n').filter(Boolean);
  counters.processes = pids.length;
  if (pids[0] !== undefined) counters.pid = Number(pids[0]);
}
