import type { MemoryQos } from './memory-qos.ts';

/** What the resource functions need to know of the node and its configuration. */
export interface NodeResourceFacts {
  readonly memoryBytes: number;
  readonly cgroupVersion: 1 | 2;
  /** cpuCFSQuota and cpuCFSQuotaPeriod. */
  readonly cfsQuota: boolean;
  readonly cfsPeriodUs: number;
  /** Huge page sizes as Kubernetes writes them ("2Mi"); empty where the hugetlb controller is missing. */
  readonly hugepageSizes: readonly string[];
  /** Swap is accounted per cgroup (memory.swap.max, memory.memsw.*). */
  readonly swapAccounting: boolean;
  /** memorySwap.swapBehavior is LimitedSwap, and the node has so much; absent: NoSwap. */
  readonly limitedSwap?: { readonly swapBytes: number };
  /** singleProcessOOMKill: only one process of a container dies, not all. Always so on cgroup v1. */
  readonly singleProcessOomKill: boolean;
  /** Who has CPUs of his own; absent: nobody. */
  readonly cpus?: {
    cpusOf(podUid: string, container: string): string;
    hasExclusive(podUid: string, container?: string): boolean;
    /** Then he has no CFS quota (DisableCPUQuotaWithExclusiveCPUs). */
    readonly withoutQuota: boolean;
  };
  /** The NUMA nodes that a container's memory has to be on (cpuset(7)); undefined: any. Absent: nobody's has to. */
  memsOf?(podUid: string, container: string): string | undefined;
  /** Absent: the feature is off, or there is no cgroup v2. */
  readonly memoryQos?: MemoryQos;
  /** podPidsLimit; -1 for none. */
  readonly podPidsLimit: number;
}

/** The kernel's name of a huge page size: "2Mi" → "2MB", "1Gi" → "1GB" (mm/hugetlb_cgroup.c). */
export function kernelPageSize(size: string): string {
  return size.replace(/i$/, 'B');
}
