import { binaryQuantity, canonicalQuantity, decimalQuantity } from '../../model/canonical-quantity.ts';
import type { Pod } from '../../model/pod.ts';
import { podLimits } from '../../model/pod-resources.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { ephemeralStorage, nothingUsed, type PodUsage, plusUsage } from './pod-usage.ts';

const RESOURCE = 'ephemeral-storage';
const NANO = 1_000_000_000n;

/** Kubelet's names for what was exceeded: the label of its metric. */
export type StorageSignal = 'emptydirfs.limit' | 'ephemeralpodfs.limit' | 'ephemeralcontainerfs.limit';

export interface Excess {
  readonly signal: StorageSignal;
  readonly message: string;
}

/** What has to be measured to know whether the pod keeps its limits of local storage. */
export function storageNeeds(pod: Pod): { readonly volumes: boolean; readonly containers: boolean } {
  const limited = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].some(
    ({ resources }) => resources?.limits?.[RESOURCE] !== undefined,
  );
  const sized = (pod.spec.volumes ?? []).some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined);
  return { volumes: sized || limited, containers: limited };
}

/**
 * The first limit of local storage that a pod exceeds: an emptyDir's size, the pod's ephemeral storage, one container's
 * (eviction_manager.go localStorageEviction). A container's writable layer counts where it is on nodefs.
 */
export function storageExcess(pod: Pod, usage: PodUsage, dedicatedImageFs: boolean): Excess | undefined {
  return emptyDirExcess(pod, usage) ?? podExcess(pod, usage) ?? containerExcess(pod, usage, dedicatedImageFs);
}

function emptyDirExcess(pod: Pod, usage: PodUsage): Excess | undefined {
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    const used = usage.volumes.get(name);
    if (emptyDir?.sizeLimit === undefined || used === undefined) continue;
    const limit = parseQuantity(emptyDir.sizeLimit);
    if (limit <= 0n || BigInt(used.usedBytes) * NANO <= limit) continue;
    const message = `Usage of EmptyDir volume "${name}" exceeds the limit "${canonicalQuantity(emptyDir.sizeLimit)}". `;
    return { signal: 'emptydirfs.limit', message };
  }
  return undefined;
}

function podExcess(pod: Pod, usage: PodUsage): Excess | undefined {
  const limit = podLimits(pod)[RESOURCE];
  if (limit === undefined) return undefined;
  if (BigInt(ephemeralStorage(pod, usage).usedBytes) * NANO <= limit) return undefined;
  const message = `Pod ephemeral local storage usage exceeds the total limit of containers ${sumText(pod, limit)}. `;
  return { signal: 'ephemeralpodfs.limit', message };
}

function containerExcess(pod: Pod, usage: PodUsage, dedicatedImageFs: boolean): Excess | undefined {
  for (const { name, rootfs, logs } of usage.containers) {
    const limit = pod.spec.containers.find((container) => container.name === name)?.resources?.limits?.[RESOURCE];
    if (limit === undefined || parseQuantity(limit) === 0n) continue;
    const used = plusUsage(plusUsage(nothingUsed, logs), dedicatedImageFs ? undefined : rootfs);
    if (BigInt(used.usedBytes) * NANO <= parseQuantity(limit)) continue;
    const message = `Container ${name} exceeded its local ephemeral storage limit "${canonicalQuantity(limit)}". `;
    return { signal: 'ephemeralcontainerfs.limit', message };
  }
  return undefined;
}

/** Sums have the format of what they began with. */
function sumText(pod: Pod, limit: bigint): string {
  const first = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]
    .map(({ resources }) => resources?.limits?.[RESOURCE])
    .find((text) => text !== undefined);
  const units = (limit + NANO - 1n) / NANO;
  return String(first).endsWith('i') ? binaryQuantity(units) : decimalQuantity(units);
}
