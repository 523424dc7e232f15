/**
 * Control groups of one host. A path is absolute below the hierarchy's root, such as "/kubepods/burstable/pod1234"; on
 * cgroup v1 it stands for the same path in every controller's hierarchy. Throws CodedError.
 */
export interface CgroupPort {
  readonly version: 1 | 2;
  /** Controllers that this host can limit by, such as cpu, memory, pids, hugetlb, cpuset. */
  readonly controllers: ReadonlySet<string>;
  /** The path below the hierarchy's root where others find it (the driver systemd names it otherwise); absent: the same. */
  hostPath?(path: string): string;
  exists(path: string): Promise<boolean>;
  /** Makes the cgroup (and its parents) where absent and writes the values that are given; others stay as they are. */
  apply(path: string, limits: CgroupLimits): Promise<void>;
  /** Removes the cgroup and all below it, killing what still runs in it. Absent is fine. */
  remove(path: string): Promise<void>;
  /** Names of the cgroups directly below `path`; empty when absent. */
  children(path: string): Promise<string[]>;
  /** What the kernel holds now; fields of absent controllers are undefined. The root "/" can be read as well. */
  read(path: string): Promise<CgroupReading>;
  /** Whether the kernel accounts and limits swap by cgroup (v1 memory.memsw.*, v2 memory.swap.max). */
  accountsSwap(): Promise<boolean>;
  /**
   * The most memory (bytes) that was ever in use at once in the cgroup and all below it, of processes long dead too;
   * undefined where the cgroup is absent or the kernel does not tell (v1 memory.max_usage_in_bytes, v2 memory.peak,
   * Linux 5.19).
   */
  memoryPeak(path: string): Promise<number | undefined>;
}

export interface CgroupLimits {
  /** cpu.shares (v1), 2..262144; on v2 written as cpu.weight by the linear formula (KEP-2254). */
  readonly cpuShares?: number;
  /** Microseconds per period; -1 for none. */
  readonly cpuQuota?: number;
  readonly cpuPeriod?: number;
  /** Bytes; -1 for none. */
  readonly memoryLimit?: number;
  /** -1 for none. */
  readonly pidsLimit?: number;
  /** Bytes by page size as the kernel spells it, such as "2MB". */
  readonly hugepages?: Readonly<Record<string, number>>;
  /** v2 only: file name → text. */
  readonly unified?: Readonly<Record<string, string>>;
}

export interface CgroupReading {
  readonly cpuShares?: number;
  readonly cpuWeight?: number;
  readonly cpuQuota?: number;
  readonly cpuPeriod?: number;
  readonly memoryLimit?: number;
  readonly memoryUsage?: number;
  /** Bytes of page cache that the kernel takes back first (memory.stat), children included. */
  readonly memoryInactiveFile?: number;
  readonly pidsLimit?: number;
  readonly pids?: readonly number[];
}
