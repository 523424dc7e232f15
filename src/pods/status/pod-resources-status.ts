import type { CgroupLimits } from '../../host/cgroup/port.ts';
import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import { MIN_SHARES } from '../../model/cpu.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { Pod, PodPhase, PodStatus, ResourceRequirements } from '../../model/pod.ts';
import { type Amounts, podLimits, podRequests } from '../../model/pod-resources.ts';
import { formatNano, milliValueOf, type Nano } from '../../model/quantity.ts';

const ONE = 1_000_000_000n;
/** The kernel gives no less than 1 ms of each 100 ms: a quota of so much says nothing of what was asked. */
export const MIN_LIMIT_MILLI = 10;

/**
 * What the pod as a whole has (KEP-5419; kubelet kubelet_pods.go convertToAPIPodLevelResourcesStatus): of a running pod
 * what its cgroup is set to, of others what it asks for. A cgroup without a limit has none here; kubelet tells of the
 * largest number that cgroup v1 knows instead.
 */
export function podResourcesStatus(
  pod: Pod,
  phase: PodPhase | undefined,
  cgroup: CgroupLimits,
): Pick<PodStatus, 'allocatedResources' | 'resources'> {
  const requests = listOf(pod, podRequests(pod), 'requests');
  const resources =
    phase === 'Running'
      ? inForce(pod, requests, cgroup)
      : { ...pod.spec.resources, ...named({ requests, limits: listOf(pod, podLimits(pod), 'limits') }) };
  return { ...(Object.keys(requests).length === 0 ? {} : { allocatedResources: requests }), resources };
}

function inForce(pod: Pod, asked: ResourceList, cgroup: CgroupLimits): ResourceRequirements {
  const { cpuShares = 0, cpuQuota = -1, cpuPeriod = 0, memoryLimit = -1 } = cgroup;
  const requests: ResourceList = { ...pod.spec.resources?.requests };
  const limits: ResourceList = { ...pod.spec.resources?.limits };
  const isMore = (milli: number, least: number, given: string | number | undefined): boolean =>
    milli > least || (given !== undefined && milliValueOf(given) > least);
  const requested = Math.ceil((cpuShares * 1000) / 1024);
  if (isMore(requested, MIN_SHARES, requests['cpu'])) requests['cpu'] = canonicalQuantity(`${requested}m`);
  const memory = requests['memory'] ?? asked['memory'];
  if (memory !== undefined) requests['memory'] = memory;
  if (cpuQuota > 0 && cpuPeriod > 0) {
    const limited = Math.floor((cpuQuota * 1000) / cpuPeriod);
    if (isMore(limited, MIN_LIMIT_MILLI, limits['cpu'])) limits['cpu'] = canonicalQuantity(`${limited}m`);
  }
  if (memoryLimit > 0) limits['memory'] = binaryText(BigInt(memoryLimit) * ONE);
  return { ...pod.spec.resources, ...named({ requests, limits }) };
}

function named(lists: { requests: ResourceList; limits: ResourceList }): ResourceRequirements {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => Object.keys(list).length > 0));
}

function listOf(pod: Pod, amounts: Amounts, side: 'requests' | 'limits'): ResourceList {
  return Object.fromEntries(
    Object.entries(amounts).map(([name, amount]) => [
      name,
      isBinary(pod, name, side) ? binaryText(amount) : canonicalQuantity(formatNano(amount)),
    ]),
  );
}

/** A sum is written as its first part is ("64Mi" or "64M"). */
function isBinary(pod: Pod, name: string, side: 'requests' | 'limits'): boolean {
  const { containers, initContainers = [], resources, overhead } = pod.spec;
  const parts = [resources, ...[...containers, ...initContainers].map((container) => container.resources)];
  const texts = parts.map((part) => part?.[side]?.[name] ?? part?.limits?.[name]);
  const first = [...texts, overhead?.[name]].find((text) => text !== undefined && String(text) !== '0');
  return String(first).endsWith('i');
}

function binaryText(amount: Nano): string {
  const bytes = amount / ONE + (amount % ONE === 0n ? 0n : 1n);
  return bytes !== 0n && bytes % 1024n === 0n ? canonicalQuantity(`${bytes / 1024n}Ki`) : String(bytes);
}
