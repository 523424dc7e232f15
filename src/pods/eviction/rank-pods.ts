import { type DiskLayout, resourceOf, type Signal, type StarvedResource } from '../../model/eviction.ts';
import type { Pod } from '../../model/pod.ts';
import { amountsOf, containerRequests, hasPodLevelResources, podLevelRequests } from '../../model/pod-resources.ts';
import { isLocalEphemeral, nothingUsed, type PodUsage, plusUsage, type UsageOf } from './pod-usage.ts';

/** Negative: the first pod is evicted before the second. */
type Order = (a: Pod, b: Pod) => number;
type Measured = 'rootfs' | 'logs' | 'volumes';

const NANO = 1_000_000_000n;

/**
 * The pods in the order in which they are evicted for a signal (kubelet eviction/helpers.go): those above their requests
 * first, then by priority, then by how much they are above them. A pod of which nothing is known goes before all others.
 */
export function rankPods(signal: Signal, layout: DiskLayout, pods: readonly Pod[], usageOf: UsageOf): Pod[] {
  const resource = resourceOf(signal);
  switch (resource) {
    case 'memory': {
      const memory = (usage: PodUsage): bigint => BigInt(usage.memoryBytes ?? 0) * NANO;
      return sorted(pods, [
        trueFirst(usageOf, (pod, usage) => memory(usage) > requestOf(pod, 'memory')),
        byPriority,
        largestFirst(usageOf, (pod, usage) => memory(usage) - requestOf(pod, 'memory')),
      ]);
    }
    case 'pids':
      return sorted(pods, [byPriority, largestFirst(usageOf, (_pod, usage) => BigInt(usage.processes ?? 0))]);
    case 'ephemeral-storage':
    case 'inodes': {
      const measured = measuredFor(signal, layout);
      const used = (pod: Pod, usage: PodUsage): bigint => diskUse(pod, usage, measured, resource);
      return sorted(pods, [
        // Nobody can request inodes; but what kubelet takes off inodes in use below is the request of bytes.
        trueFirst(usageOf, (pod, usage) => used(pod, usage) > requestOf(pod, resource)),
        byPriority,
        largestFirst(usageOf, (pod, usage) => used(pod, usage) - requestOf(pod, 'ephemeral-storage')),
      ]);
    }
  }
}

/** What pods have on the file system of a signal (buildSignalToRankFunc). */
function measuredFor(signal: Signal, layout: DiskLayout): readonly Measured[] {
  const filesystem = signal.split('.')[0];
  switch (layout) {
    case 'single':
      return ['rootfs', 'logs', 'volumes'];
    case 'imagefs':
      return filesystem === 'nodefs' ? ['logs', 'volumes'] : ['rootfs'];
    case 'split':
      return filesystem === 'imagefs' ? [] : ['logs', 'volumes', 'rootfs'];
  }
}

function diskUse(pod: Pod, usage: PodUsage, measured: readonly Measured[], resource: StarvedResource): bigint {
  let sum = nothingUsed;
  for (const { rootfs, logs } of usage.containers) {
    if (measured.includes('rootfs')) sum = plusUsage(sum, rootfs);
    if (measured.includes('logs')) sum = plusUsage(sum, logs);
  }
  if (measured.includes('volumes')) {
    for (const volume of pod.spec.volumes ?? []) {
      const local = volume.hostPath !== undefined || isLocalEphemeral(volume);
      if (local) sum = plusUsage(sum, usage.volumes.get(volume.name));
    }
  }
  return BigInt(resource === 'inodes' ? sum.inodes : sum.usedBytes) * NANO;
}

/** api/v1/resource GetResourceRequestQuantity: overhead only where anything is requested. */
function requestOf(pod: Pod, resource: string): bigint {
  const requests = hasPodLevelResources(pod) ? podLevelRequests(pod) : containerRequests(pod);
  const request = requests[resource] ?? 0n;
  return request === 0n ? 0n : request + (amountsOf(pod.spec.overhead)[resource] ?? 0n);
}

function byPriority(a: Pod, b: Pod): number {
  return (a.spec.priority ?? 0) - (b.spec.priority ?? 0);
}

function trueFirst(usageOf: UsageOf, is: (pod: Pod, usage: PodUsage) => boolean): Order {
  return (a, b) => {
    const [first, second] = [usageOf(a), usageOf(b)];
    if (first === undefined || second === undefined) return unknownFirst(first, second);
    return Number(is(b, second)) - Number(is(a, first));
  };
}

function largestFirst(usageOf: UsageOf, amount: (pod: Pod, usage: PodUsage) => bigint): Order {
  return (a, b) => {
    const [first, second] = [usageOf(a), usageOf(b)];
    if (first === undefined || second === undefined) return unknownFirst(first, second);
    const [left, right] = [amount(a, first), amount(b, second)];
    return left === right ? 0 : left > right ? -1 : 1;
  };
}

function unknownFirst(a: PodUsage | undefined, b: PodUsage | undefined): number {
  return Number(b === undefined) - Number(a === undefined);
}

function sorted(pods: readonly Pod[], orders: readonly Order[]): Pod[] {
  return [...pods].sort((a, b) => {
    for (const order of orders) {
      const result = order(a, b);
      if (result !== 0) return result;
    }
    return 0;
  });
}
