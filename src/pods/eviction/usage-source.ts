import type { ContainerStats, CriRuntime } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { StatsPort } from '../../host/stats/port.ts';
import type { StarvedResource } from '../../model/eviction.ts';
import type { Pod } from '../../model/pod.ts';
import { identityOf, label } from '../identity.ts';
import type { ContainerLogs } from '../logs/container-logs.ts';
import type { ContainerRecord } from '../observe/pod-runtime.ts';
import type { RuntimeCache } from '../observe/runtime-cache.ts';
import type { PodPaths } from '../volumes/pod-paths.ts';
import type { VolumeStatistics } from '../volumes/volume-statistics.ts';
import { type ContainerUsage, type FsUsage, nothingUsed, type PodUsage, plusUsage, type UsageOf } from './pod-usage.ts';

export interface UsageSourceDeps {
  readonly runtime: Pick<RuntimeCache, 'get'>;
  readonly cri: Pick<CriRuntime, 'listContainerStats'>;
  readonly stats: Pick<StatsPort, 'cgroup' | 'disk'>;
  readonly files: Pick<Files, 'list'>;
  readonly logs: Pick<ContainerLogs, 'directoryOf'>;
  readonly paths: PodPaths;
  readonly volumes: Pick<VolumeStatistics, 'usage' | 'freshen'>;
  /** Where a pod's cgroup is, and the names of those in it, one of each container. */
  readonly cgroupOf: (pod: Pod) => string;
  readonly cgroupsIn: (path: string) => Promise<readonly string[]>;
}

/** Up to so many pods the runtime is asked for each alone; it looks at every container of those that it is asked for. */
const FEW = 4;
/** So long the choice of a pod waits for new figures of its volumes. */
const FRESHEN_MS = 5000;

/** What pods use, read when it is asked for: memory from cgroups, disk from the runtime, the logs and the volumes. */
export class UsageSource {
  private readonly deps: UsageSourceDeps;

  constructor(deps: UsageSourceDeps) {
    this.deps = deps;
  }

  /** What is needed to rank pods for a resource. */
  async forResource(resource: StarvedResource, pods: readonly Pod[], signal: AbortSignal): Promise<UsageOf> {
    if (resource === 'ephemeral-storage' || resource === 'inodes') {
      await this.deps.volumes.freshen(FRESHEN_MS, signal);
      return this.disk(pods, signal);
    }
    const usages = new Map<string, PodUsage>();
    for (const pod of pods) {
      const usage = this.running(pod).length === 0 ? undefined : await this.memoryOf(pod);
      if (usage !== undefined) usages.set(uidOf(pod), usage);
    }
    return (pod) => usages.get(uidOf(pod));
  }

  /** The pod's usage with each container's memory, which only a message about this one pod needs. */
  async withContainerMemory(pod: Pod, usage: PodUsage): Promise<PodUsage> {
    const containers: ContainerUsage[] = [];
    const cgroup = this.deps.cgroupOf(pod);
    const names = await this.deps.cgroupsIn(cgroup);
    for (const { id, name } of this.running(pod)) {
      // The runtime's driver says how they are named: by the id alone, or as a scope of systemd's.
      const found = names.find((one) => one.includes(id));
      if (found === undefined) continue;
      const memoryBytes = (await this.deps.stats.cgroup(`${cgroup}/${found}`))?.workingSetBytes;
      containers.push({ name, ...(memoryBytes === undefined ? {} : { memoryBytes }) });
    }
    return { ...usage, containers };
  }

  /** Disk usage; `volumesOnly` spares the runtime the question. */
  async disk(pods: readonly Pod[], signal: AbortSignal, volumesOnly = false): Promise<UsageOf> {
    const layers = volumesOnly ? new Map<string, FsUsage>() : await this.writableLayers(pods);
    const usages = new Map<string, PodUsage>();
    for (const pod of pods) {
      signal.throwIfAborted();
      const running = this.running(pod);
      if (running.length === 0) continue;
      const volumes = this.deps.volumes.usage(uidOf(pod));
      if (volumesOnly) {
        usages.set(uidOf(pod), { containers: [], volumes });
        continue;
      }
      const containers: ContainerUsage[] = [];
      for (const { id, name } of running) {
        const rootfs = layers.get(id);
        containers.push({
          name,
          ...(rootfs === undefined ? {} : { rootfs }),
          logs: await this.logsOf(pod, name, signal),
        });
      }
      const own = await this.deps.stats.disk(this.deps.paths.etcHosts(uidOf(pod)), signal);
      usages.set(uidOf(pod), { containers, volumes, ...(own === undefined ? {} : { own }) });
    }
    return (pod) => usages.get(uidOf(pod));
  }

  private running(pod: Pod): readonly ContainerRecord[] {
    return this.deps.runtime.get(uidOf(pod))?.containers.filter(({ state }) => state === 'RUNNING') ?? [];
  }

  private async memoryOf(pod: Pod): Promise<PodUsage | undefined> {
    const usage = await this.deps.stats.cgroup(this.deps.cgroupOf(pod));
    if (usage === undefined) return undefined;
    const { workingSetBytes, processes } = usage;
    return {
      containers: [],
      volumes: new Map(),
      ...(workingSetBytes === undefined ? {} : { memoryBytes: workingSetBytes }),
      ...(processes === undefined ? {} : { processes }),
    };
  }

  /** By container id. */
  private async writableLayers(pods: readonly Pod[]): Promise<Map<string, FsUsage>> {
    const { cri } = this.deps;
    const lists =
      pods.length > FEW
        ? [await cri.listContainerStats()]
        : await Promise.all(pods.map((pod) => cri.listContainerStats({ labels: { [label.podUid]: uidOf(pod) } })));
    const layers = new Map<string, FsUsage>();
    for (const { id, writableLayer } of lists.flat() satisfies ContainerStats[]) {
      if (writableLayer === undefined) continue;
      layers.set(id, { usedBytes: writableLayer.usedBytes, inodes: writableLayer.inodesUsed });
    }
    return layers;
  }

  /** The files of all attempts of a container, rotated ones included. */
  private async logsOf(pod: Pod, container: string, signal: AbortSignal): Promise<FsUsage> {
    const { files, logs, stats } = this.deps;
    const directory = logs.directoryOf(identityOf(pod), container);
    let sum = nothingUsed;
    for (const name of (await files.list(directory)) ?? []) {
      sum = plusUsage(sum, await stats.disk(`${directory}/${name}`, signal));
    }
    return sum;
  }
}

function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}
