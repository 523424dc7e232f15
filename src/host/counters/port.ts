/** What the kernel counts, read with as little work as it takes. Starts no process; what cannot be read is absent. */
export interface CountersPort {
  /**
   * The counters of many cgroups, in the order of `paths` (as in CgroupPort, "/" included); undefined for one that is not
   * there. `usage`: only CPU and memory, for a fifth of the work. They are read in short slices, between which everything
   * else goes on.
   */
  cgroups(paths: readonly string[], detail: 'usage' | 'all'): Promise<readonly (CgroupCounters | undefined)[]>;
  /** The interfaces of the network namespace that a process lives in, loopback left out; undefined when it is gone. */
  network(pid: number | 'self'): readonly InterfaceCounters[] | undefined;
  /** Bytes and number of the files directly in a directory; undefined when it is absent. */
  files(directory: string): { readonly bytes: number; readonly count: number } | undefined;
}

export interface CgroupCounters {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly cpuNanoseconds?: number | undefined;
  readonly userNanoseconds?: number | undefined;
  readonly systemNanoseconds?: number | undefined;
  /** Of the bandwidth limit (cpu.stat). */
  readonly periods?: number | undefined;
  readonly throttledPeriods?: number | undefined;
  readonly throttledNanoseconds?: number | undefined;
  readonly memoryBytes?: number | undefined;
  /** The most it ever was. */
  readonly memoryPeakBytes?: number | undefined;
  /** Without the page cache that the kernel takes back first. */
  readonly workingSetBytes?: number | undefined;
  readonly rssBytes?: number | undefined;
  readonly cacheBytes?: number | undefined;
  readonly mappedFileBytes?: number | undefined;
  readonly inactiveFileBytes?: number | undefined;
  readonly activeFileBytes?: number | undefined;
  readonly swapBytes?: number | undefined;
  readonly pageFaults?: number | undefined;
  readonly majorPageFaults?: number | undefined;
  /** What the kernel itself keeps for it; cgroup v2 only. */
  readonly kernelBytes?: number | undefined;
  /** Processes that the kernel killed for want of memory. */
  readonly oomKills?: number | undefined;
  /** How often the limit was hit. */
  readonly memoryFailures?: number | undefined;
  /** Absent: none. */
  readonly memoryLimitBytes?: number | undefined;
  /** Of swap alone. Absent: none, or not known. */
  readonly swapLimitBytes?: number | undefined;
  readonly cpuShares?: number | undefined;
  /** Microseconds. Absent: none. */
  readonly cpuQuota?: number | undefined;
  readonly cpuPeriod?: number | undefined;
  /** In this cgroup itself, not below. */
  readonly processes?: number | undefined;
  readonly threads?: number | undefined;
  /** Some process of it. */
  readonly pid?: number | undefined;
  /** Pressure stall information, cgroup v2 only. */
  readonly cpuPressure?: Pressure | undefined;
  readonly memoryPressure?: Pressure | undefined;
  readonly ioPressure?: Pressure | undefined;
  readonly devices?: readonly DeviceCounters[] | undefined;
}

/** Shares of time in per cent, and all of the time in nanoseconds, in which some tasks, or all, had to wait. */
export interface Pressure {
  readonly some: PressureShare;
  readonly full: PressureShare;
}

export interface PressureShare {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly totalNanoseconds: number;
}

/** Of one block device, "/dev/sda"; "8:0" where it has no name. */
export interface DeviceCounters {
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}
