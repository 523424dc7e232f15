import type { Container, Pod } from '../../model/pod.ts';
import { containerRequests, isSidecar, podLevelRequests, requestsOf } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import type { Nano } from '../../model/quantity.ts';

const GUARANTEED = -997;
const BEST_EFFORT = 1000;
/** Burstable stays between the two: above the score of a guaranteed pod that uses all memory. */
const LOWEST_BURSTABLE = 1000 + GUARANTEED;
const HIGHEST_BURSTABLE = BEST_EFFORT - 1;

/**
 * A container's oom_score_adj (kubelet pkg/kubelet/qos/policy.go): the larger the part of the node's memory that a
 * burstable container asked for, the later it is killed. What a pod-level request leaves over is split evenly; a sidecar
 * is never killed before the smallest regular container.
 */
export function oomScoreAdj(pod: Pod, container: Container, memoryBytes: number): number {
  if (pod.spec.priorityClassName === 'system-node-critical') return GUARANTEED;
  const qos = qosClassOf(pod);
  if (qos === 'Guaranteed') return GUARANTEED;
  if (qos === 'BestEffort') return BEST_EFFORT;
  const init = pod.spec.initContainers ?? [];
  const share = remainderPerContainer(pod, pod.spec.containers.length + init.length);
  const capacity = BigInt(memoryBytes) * 1_000_000_000n;
  const scoreOf = (request: Nano): number => 1000 - Number((1000n * (request + share)) / capacity);
  let score = scoreOf(memoryOf(container));
  if (isSidecar(container) && init.some(({ name }) => name === container.name)) {
    // The smallest request has the highest score.
    score = Math.min(score, Math.max(...pod.spec.containers.map((regular) => scoreOf(memoryOf(regular)))));
  }
  return Math.min(Math.max(score, LOWEST_BURSTABLE), HIGHEST_BURSTABLE);
}

function memoryOf(container: Container): Nano {
  return requestsOf(container.resources)['memory'] ?? 0n;
}

function remainderPerContainer(pod: Pod, count: number): Nano {
  const podLevel = podLevelRequests(pod)['memory'];
  if (podLevel === undefined || count === 0) return 0n;
  const left = podLevel - (containerRequests(pod)['memory'] ?? 0n);
  return left > 0n ? left / BigInt(count) : 0n;
}
