import type { Pod, QOSClass } from './pod.ts';
import { type Amounts, hasPodLevelResources, limitsOf, podLevelRequests, requestsOf } from './pod-resources.ts';

const COMPUTE = ['cpu', 'memory'] as const;

/**
 * A pod's quality of service (kubernetes pkg/apis/core/v1/helper/qos): Guaranteed when every container limits cpu and
 * memory and requests as much, BestEffort when none names either, Burstable between. Pod-level values, where given,
 * speak for all containers.
 */
export function qosClassOf(pod: Pod): QOSClass {
  const units: readonly { requests: Amounts; limits: Amounts }[] = hasPodLevelResources(pod)
    ? [{ requests: podLevelRequests(pod), limits: limitsOf(pod.spec.resources) }]
    : [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map(({ resources }) => ({
        requests: requestsOf(resources),
        limits: limitsOf(resources),
      }));
  let named = false;
  let allLimited = true;
  let requested = { cpu: 0n, memory: 0n };
  let limited = { cpu: 0n, memory: 0n };
  for (const { requests, limits } of units) {
    for (const name of COMPUTE) {
      const request = positive(requests[name]);
      const limit = positive(limits[name]);
      if (request > 0n || limit > 0n) named = true;
      if (limit === 0n) allLimited = false;
      requested = { ...requested, [name]: requested[name] + request };
      limited = { ...limited, [name]: limited[name] + limit };
    }
  }
  if (!named) return 'BestEffort';
  return allLimited && COMPUTE.every((name) => requested[name] === limited[name]) ? 'Guaranteed' : 'Burstable';
}

function positive(amount: bigint | undefined): bigint {
  return amount !== undefined && amount > 0n ? amount : 0n;
}
