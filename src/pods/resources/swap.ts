import type { Container, Pod } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { isCriticalPod } from '../admit/critical-pod.ts';
import type { NodeResourceFacts } from './node-facts.ts';

const NANO = 1_000_000_000n;

/**
 * How many bytes a container may swap (KEP-2400; kuberuntime_container_linux.go GetContainerSwapBehavior): with
 * LimitedSwap, a container of a Burstable pod that is not critical and asks for less memory than it may have gets the
 * share of the node's swap that its request is of the node's memory. Everybody else gets none.
 */
export function swapBytesOf(pod: Pod, container: Container, node: NodeResourceFacts): number {
  if (!maySwap(pod, container, node)) return 0;
  const request = parseQuantity(container.resources?.requests?.['memory'] ?? 0);
  const bytes = Number(request / NANO) + (request % NANO === 0n ? 0 : 1);
  if (node.memoryBytes <= 0 || bytes > node.memoryBytes) return 0;
  return Math.trunc((bytes / node.memoryBytes) * (node.limitedSwap?.swapBytes ?? 0));
}

export function maySwap(pod: Pod, container: Container, node: NodeResourceFacts): boolean {
  if (node.limitedSwap === undefined || !node.swapAccounting || node.cgroupVersion !== 2) return false;
  if (isCriticalPod(pod) || qosClassOf(pod) !== 'Burstable') return false;
  const { requests, limits } = container.resources ?? {};
  const [request, limit] = [requests, limits].map((list) => parseQuantity(list?.['memory'] ?? 0));
  return request !== limit;
}
