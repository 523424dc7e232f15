/** What cgroups and directories of this host use now. Starts no process. Throws CodedError. */
export interface StatsPort {
  /**
   * What a cgroup uses together with all below it; undefined when it is not there. Paths as in CgroupPort; the root "/"
   * can be read as well (cgroup v2's root counts little itself). Fields that this kernel does not count are absent.
   */
  cgroup(path: string): Promise<CgroupUsage | undefined>;
  /**
   * What a directory takes on its own file system, as du(1) counts: blocks, a file with several links once, no other file
   * system entered, no symlink followed. Undefined when it is absent; what vanishes meanwhile is left out. Costs one
   * lstat(2) per file, one after the other, so that it may be long: `signal` ends it. Remembers what has several links.
   * Nothing that is mounted in the directory is touched, and Conflict is thrown for a directory that a server is mounted on.
   */
  disk(path: string, signal?: AbortSignal): Promise<DiskUsage | undefined>;
  /**
   * The room of the file system that a path, whose parents are no symlinks of others' making, lies on. One that depends on a
   * server is asked by a process of its own, so that a server that hangs costs no thread of this one: DeadlineExceeded
   * after 5 s, and at once for as long as an earlier question has not ended. NotFound when the path is absent.
   */
  space(path: string): Promise<FilesystemSpace>;
  /** The size of a block device, which is not opened. */
  deviceBytes(path: string): Promise<number>;
}

export interface CgroupUsage {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Since the cgroup was made. */
  readonly cpuNanoseconds?: number;
  /** Page cache included. */
  readonly memoryBytes?: number;
  /** memoryBytes without the page cache that the kernel takes back first: what kubelet calls the working set. */
  readonly workingSetBytes?: number;
  readonly rssBytes?: number;
  /** -1: none. */
  readonly memoryLimitBytes?: number;
  readonly pageFaults?: number;
  readonly majorPageFaults?: number;
  readonly swapBytes?: number;
  /** Processes, not threads; those of the cgroups below included. */
  readonly processes?: number;
  /** Pressure stall information, cgroup v2 only: the texts of cpu.pressure, memory.pressure and io.pressure. */
  readonly pressure?: { readonly cpu?: string; readonly memory?: string; readonly io?: string };
}

export interface DiskUsage {
  readonly atMs: number;
  readonly usedBytes: number;
  readonly inodes: number;
}

/** statfs(2) as kubelet reads it: `availableBytes` is what is left for others than root. */
export interface FilesystemSpace {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly usedBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
  readonly inodesUsed: number;
}
