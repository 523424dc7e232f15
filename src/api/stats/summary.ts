import type { InterfaceCounters, Pressure } from '../../host/counters/port.ts';
import { rfc3339 } from '../../model/time.ts';
import type { FilesystemSize, FilesystemUse } from './filesystem-use.ts';
import type { NodeUsage, PodUsage, Usage } from './node-usage.ts';

/** What a summary is made of beside what is measured. */
export interface SummaryFacts {
  readonly nodeName: string;
  /** Milliseconds since the epoch. */
  readonly bootedAt: number;
  readonly maxPids: number;
  readonly tasks: number | undefined;
  readonly network: readonly InterfaceCounters[] | undefined;
  /** The interface of the default route. */
  readonly mainInterface: string | undefined;
  readonly logsOf: (pod: PodUsage, container: string) => { readonly bytes: number; readonly count: number } | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/** /stats/summary (k8s.io/kubelet stats/v1alpha1). Without `filesystems` it is that of only_cpu_and_memory. */
export function statsSummary(usage: NodeUsage, filesystems: FilesystemUse | undefined, facts: SummaryFacts): Json {
  const full = filesystems !== undefined;
  const fs = (
    size: Omit<FilesystemSize, 'device'> | undefined,
    used?: { readonly usedBytes: number; readonly inodesUsed: number },
  ) =>
    size === undefined
      ? undefined
      : {
          time: rfc3339(size.atMs),
          availableBytes: size.availableBytes,
          capacityBytes: size.capacityBytes,
          usedBytes: used?.usedBytes ?? size.capacityBytes - size.availableBytes,
          inodesFree: size.inodesFree,
          inodes: size.inodes,
          inodesUsed: used?.inodesUsed ?? size.inodes - size.inodesFree,
        };
  const time = rfc3339(usage.atMs);
  const node = {
    nodeName: facts.nodeName,
    systemContainers: [{ name: 'pods', startTime: rfc3339(facts.bootedAt), ...measured(usage.allPods, full) }],
    startTime: rfc3339(facts.bootedAt),
    ...measured(usage.node, full),
    ...(full
      ? {
          network: network(facts.network, facts.mainInterface, time),
          fs: fs(filesystems.node),
          runtime: {
            imageFs: fs(filesystems.image, filesystems.image),
            containerFs: fs(filesystems.container, filesystems.container),
          },
          rlimit: { time, maxpid: facts.maxPids, curproc: facts.tasks },
        }
      : {}),
  };
  const pods = usage.pods.map((pod) => {
    let bytes = 0;
    let inodes = 0;
    const layer = filesystems?.container ?? filesystems?.node;
    const containers = pod.containers.map((container) => {
      const rootfs = filesystems?.containers.get(container.id);
      const logs = full ? facts.logsOf(pod, container.name) : undefined;
      bytes += (rootfs?.usedBytes ?? 0) + (logs?.bytes ?? 0);
      inodes += (rootfs?.inodesUsed ?? 0) + (logs?.count ?? 0);
      return {
        name: container.name,
        startTime: rfc3339(container.startedAt),
        ...measured(container.usage, full),
        ...(rootfs === undefined || layer === undefined ? {} : { rootfs: fs({ ...layer, atMs: rootfs.atMs }, rootfs) }),
        ...(logs === undefined || filesystems?.node === undefined
          ? {}
          : { logs: fs(filesystems.node, { usedBytes: logs.bytes, inodesUsed: logs.count }) }),
      };
    });
    const volumes = [...(filesystems?.volumesOf(pod.uid) ?? [])].map(([name, use]) => {
      if (use.ephemeral) {
        bytes += use.usedBytes;
        inodes += use.inodesUsed;
      }
      const { claim, condition } = use;
      return {
        ...fs(use, use),
        name,
        ...(claim === undefined ? {} : { pvcRef: { name: claim.name, namespace: claim.namespace } }),
        ...(condition === undefined ? {} : { volumeHealthStats: { abnormal: condition.abnormal } }),
      };
    });
    const processes = pod.containers.map((one) => one.usage);
    return {
      podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
      startTime: rfc3339(pod.startedAt),
      containers,
      ...measured(pod.usage, full),
      ...(full
        ? {
            network: network(pod.network, pod.network?.[0]?.name, time),
            ...(volumes.length === 0 ? {} : { volume: volumes }),
            'ephemeral-storage': fs(filesystems.node, { usedBytes: bytes, inodesUsed: inodes }),
            process_stats: { process_count: processes.reduce((sum, one) => sum + (one?.processes ?? 0), 0) },
          }
        : {}),
    };
  });
  return { node, pods };
}

function measured(usage: Usage | undefined, full: boolean): Json {
  if (usage === undefined) return {};
  const time = rfc3339(usage.atMs);
  const { memoryLimitBytes: limit, workingSetBytes, swapBytes, swapLimitBytes } = usage;
  return {
    cpu: {
      time,
      usageNanoCores: usage.rate?.nanoCores,
      usageCoreNanoSeconds: usage.cpuNanoseconds,
      psi: psi(usage.cpuPressure),
    },
    memory: {
      time,
      ...(limit === undefined || workingSetBytes === undefined
        ? {}
        : { availableBytes: Math.max(0, limit - workingSetBytes) }),
      usageBytes: usage.memoryBytes,
      workingSetBytes,
      rssBytes: usage.rssBytes,
      pageFaults: usage.pageFaults,
      majorPageFaults: usage.majorPageFaults,
      psi: psi(usage.memoryPressure),
    },
    ...(full && usage.ioPressure !== undefined ? { io: { time, psi: psi(usage.ioPressure) } } : {}),
    ...(swapBytes === undefined
      ? {}
      : {
          swap: {
            time,
            swapUsageBytes: swapBytes,
            ...(swapLimitBytes === undefined ? {} : { swapAvailableBytes: Math.max(0, swapLimitBytes - swapBytes) }),
          },
        }),
  };
}

function psi(pressure: Pressure | undefined): Json | undefined {
  if (pressure === undefined) return undefined;
  const share = ({ totalNanoseconds, avg10, avg60, avg300 }: Pressure['some']) => ({
    total: totalNanoseconds,
    avg10,
    avg60,
    avg300,
  });
  return { full: share(pressure.full), some: share(pressure.some) };
}

function network(
  interfaces: readonly InterfaceCounters[] | undefined,
  main: string | undefined,
  time: string,
): Json | undefined {
  if (interfaces === undefined) return undefined;
  const shown = ({ name, rxBytes, rxErrors, txBytes, txErrors }: InterfaceCounters) => ({
    name,
    rxBytes,
    rxErrors,
    txBytes,
    txErrors,
  });
  const first = interfaces.find(({ name }) => name === main) ?? interfaces[0];
  return { time, ...(first === undefined ? { name: '' } : shown(first)), interfaces: interfaces.map(shown) };
}
