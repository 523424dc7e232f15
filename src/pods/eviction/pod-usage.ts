import type { Pod, Volume } from '../../model/pod.ts';

export interface FsUsage {
  readonly usedBytes: number;
  readonly inodes: number;
}

export interface ContainerUsage {
  readonly name: string;
  /** The working set. */
  readonly memoryBytes?: number;
  /** The writable layer. */
  readonly rootfs?: FsUsage;
  readonly logs?: FsUsage;
}

/** What a pod uses, as far as it was asked for. */
export interface PodUsage {
  /** The working set of the pod's cgroup. */
  readonly memoryBytes?: number;
  readonly processes?: number;
  /** Those that run. */
  readonly containers: readonly ContainerUsage[];
  /** By volume, as it was measured last. */
  readonly volumes: ReadonlyMap<string, FsUsage>;
  /** Files that this node makes for the pod: /etc/hosts. */
  readonly own?: FsUsage;
}

/** By pod UID; undefined: nothing of the pod is known to run. */
export type UsageOf = (pod: Pod) => PodUsage | undefined;

export const nothingUsed: FsUsage = { usedBytes: 0, inodes: 0 };

export function plusUsage(left: FsUsage, right: FsUsage | undefined): FsUsage {
  if (right === undefined) return left;
  return { usedBytes: left.usedBytes + right.usedBytes, inodes: left.inodes + right.inodes };
}

/** The volume takes room on nodefs for as long as the pod lives (volume/util IsLocalEphemeralVolume). */
export function isLocalEphemeral({ emptyDir, configMap }: Volume): boolean {
  return (emptyDir !== undefined && (emptyDir.medium ?? '') === '') || configMap !== undefined;
}

/** The pod's share of ephemeral storage (kubelet stats/helper.go calcEphemeralStorage). */
export function ephemeralStorage(pod: Pod, { containers, volumes, own }: PodUsage): FsUsage {
  let sum = nothingUsed;
  for (const { rootfs, logs } of containers) {
    if (rootfs !== undefined) sum = plusUsage(plusUsage(sum, rootfs), logs);
  }
  for (const volume of pod.spec.volumes ?? []) {
    if (isLocalEphemeral(volume)) sum = plusUsage(sum, volumes.get(volume.name));
  }
  return plusUsage(sum, own);
}
