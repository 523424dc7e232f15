import type { Container, Pod } from '../../model/pod.ts';
import { limitsOf, podRequests, requestsOf } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { formatNano, wholeValueOf } from '../../model/quantity.ts';

/** How cgroup v2 protects and slows down memory by requests (feature gate MemoryQoS, KEP-2570). */
export interface MemoryQos {
  /** memoryReservationPolicy TieredReservation: what Guaranteed pods ask for is never taken back, of Burstable ones only late. */
  readonly tiered: boolean;
  /** memoryThrottlingFactor: how far from the request to the limit a container is slowed down, 0 to 1. */
  readonly throttlingFactor: number;
  /** Stands in for the limit of a container without one. */
  readonly allocatableBytes: number;
}

type Unified = Readonly<Record<string, string>>;

/** Pages of memory.high; kubelet's word for it, whatever the machine has. */
const PAGE = 4096;

/** A container's files (kuberuntime_container_linux.go generateLinuxContainerResources). */
export function containerMemoryQos(pod: Pod, { resources }: Container, memoryQos: MemoryQos): Unified {
  const { tiered, throttlingFactor, allocatableBytes } = memoryQos;
  const request = bytes(requestsOf(resources)['memory']);
  const limit = bytes(limitsOf(resources)['memory']);
  const most = limit === 0 ? allocatableBytes : limit;
  const high = Math.floor((request + (most - request) * throttlingFactor) / PAGE) * PAGE;
  const isGuaranteed = qosClassOf(pod) === 'Guaranteed';
  const reserved: Unified =
    tiered && request !== 0
      ? { [isGuaranteed ? 'memory.min' : 'memory.low']: String(request) }
      : { 'memory.min': '0', 'memory.low': '0' };
  // What may use as much as it asked for is never slowed down.
  return request === limit || high <= request ? reserved : { ...reserved, 'memory.high': String(high) };
}

/** A pod's own cgroup (cm/helpers_linux.go ResourceConfigForPod); both files always, so that an old value does not stay. */
export function podMemoryQos(pod: Pod, { tiered }: MemoryQos): Unified {
  const request = tiered ? String(podMemoryRequest(pod)) : '0';
  const isGuaranteed = qosClassOf(pod) === 'Guaranteed';
  return { 'memory.min': isGuaranteed ? request : '0', 'memory.low': isGuaranteed ? '0' : request };
}

/** Bytes. */
export function podMemoryRequest(pod: Pod): number {
  return bytes(podRequests(pod)['memory']);
}

function bytes(amount: bigint | undefined): number {
  return amount === undefined ? 0 : wholeValueOf(formatNano(amount));
}
