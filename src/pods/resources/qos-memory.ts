import { isDeepStrictEqual } from 'node:util';
import type { CgroupLimits, CgroupPort } from '../../host/cgroup/port.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { CgroupPaths } from './cgroup-paths.ts';

export interface QosMemoryOptions {
  readonly paths: CgroupPaths;
  /** Undefined: memory of classes is not protected (MemoryQoS is off, or there is no cgroup v2); false: policy None. */
  readonly tiered: boolean | undefined;
  /** qosReserved: so many per cent of what pods of a class ask for is out of reach for lower classes. */
  readonly reservedPercent: number | undefined;
  /** What pods may have on this node. */
  readonly allocatableBytes: number;
}

/** Bytes that the pods of a class ask for together. */
export interface ClassRequests {
  readonly guaranteed: number;
  readonly burstable: number;
}

/** Memory of the cgroups of QoS classes (kubelet cm/qos_container_manager_linux.go). Writes what differs. */
export class QosMemory {
  private readonly options: QosMemoryOptions;
  private readonly deps: { readonly cgroups: CgroupPort; readonly log: Logger };
  private readonly written = new Map<string, CgroupLimits>();
  /** What is protected now; 0 while nothing is. */
  protected: ClassRequests = { guaranteed: 0, burstable: 0 };

  constructor(options: QosMemoryOptions, deps: { readonly cgroups: CgroupPort; readonly log: Logger }) {
    this.options = options;
    this.deps = deps;
  }

  async write(requests: ClassRequests): Promise<void> {
    const { tiered } = this.options;
    if (tiered === true) this.protected = requests;
    for (const [path, limits] of this.wanted(requests)) {
      if (isDeepStrictEqual(this.written.get(path), limits)) continue;
      try {
        await this.apply(path, limits);
        this.written.set(path, limits);
      } catch (error) {
        this.written.delete(path);
        this.deps.log.warn({ path, limits, error: messageOf(error) }, 'cannot set the memory of a QoS class');
      }
    }
  }

  /** Everything is written anew with the next write. */
  doubt(): void {
    this.written.clear();
  }

  private wanted({ guaranteed, burstable }: ClassRequests): Map<string, CgroupLimits> {
    const { paths, tiered, reservedPercent: percent, allocatableBytes } = this.options;
    const limits = new Map<string, CgroupLimits>();
    if (tiered !== undefined) {
      // A parent has to protect at least what its children do.
      limits.set(paths.root, { unified: { 'memory.min': String(tiered ? guaranteed + burstable : 0) } });
      limits.set(paths.burstable, { unified: { 'memory.low': String(tiered ? burstable : 0) } });
    }
    if (percent !== undefined) {
      const share = (bytes: number): number => Math.floor((bytes * percent) / 100);
      const forBurstable = Math.max(0, allocatableBytes - share(guaranteed));
      const forBestEffort = Math.max(0, forBurstable - share(burstable));
      limits.set(paths.burstable, { ...limits.get(paths.burstable), memoryLimit: forBurstable });
      limits.set(paths.besteffort, { memoryLimit: forBestEffort });
    }
    return limits;
  }

  /** What uses more already is kept from using yet more (retrySetMemoryReserve). */
  private async apply(path: string, limits: CgroupLimits): Promise<void> {
    const { cgroups } = this.deps;
    try {
      await cgroups.apply(path, limits);
    } catch (error) {
      const { memoryUsage } = await cgroups.read(path);
      if (!hasCode(error, 'Conflict') || memoryUsage === undefined) throw error;
      await cgroups.apply(path, { ...limits, memoryLimit: memoryUsage });
      // The limit itself is tried again.
      throw error;
    }
  }
}
