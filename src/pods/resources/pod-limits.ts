import type { CgroupLimits } from '../../host/cgroup/port.ts';
import { MIN_SHARES, quotaFromMilli, sharesFromMilli } from '../../model/cpu.ts';
import type { Pod } from '../../model/pod.ts';
import { type Amounts, amountsOf, limitsOf, podLimits, podRequests } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { formatNano, milliValueOf, wholeValueOf } from '../../model/quantity.ts';
import { podMemoryQos } from './memory-qos.ts';
import { kernelPageSize, type NodeResourceFacts } from './node-facts.ts';

/**
 * The pod's own cgroup (kubelet cm/helpers_linux.go ResourceConfigForPod). Every value is given, -1 where there is no
 * limit, so that a cgroup found from an earlier life ends up the same as a new one.
 */
export function podCgroupLimits(pod: Pod, node: NodeResourceFacts): CgroupLimits {
  const qos = qosClassOf(pod);
  const requests = podRequests(pod);
  const limits = podLimits(pod);
  // A container without a limit may use whatever is free, so the pod as a whole must be able to.
  const limited = (name: 'cpu' | 'memory'): boolean =>
    qos !== 'BestEffort' && (qos === 'Guaranteed' || everyContainerLimits(pod, name));
  const exclusive = node.cpus?.withoutQuota === true && node.cpus.hasExclusive(pod.metadata.uid ?? '');
  const quota =
    limited('cpu') && node.cfsQuota && !exclusive ? quotaFromMilli(milli(limits, 'cpu'), node.cfsPeriodUs) : undefined;
  const memory = limited('memory') ? whole(limits, 'memory') : 0;
  const hugepages = node.hugepageSizes.map(
    (size) => [kernelPageSize(size), whole(requests, `hugepages-${size}`)] as const,
  );
  return {
    cpuShares: qos === 'BestEffort' ? MIN_SHARES : sharesFromMilli(milli(requests, 'cpu')),
    cpuQuota: quota ?? -1,
    cpuPeriod: node.cfsPeriodUs,
    memoryLimit: memory === 0 ? -1 : memory,
    pidsLimit: node.podPidsLimit,
    ...(hugepages.length === 0 ? {} : { hugepages: Object.fromEntries(hugepages) }),
    ...(node.memoryQos === undefined ? {} : { unified: podMemoryQos(pod, node.memoryQos) }),
  };
}

/** How much CPU a pod adds to the cgroup of its class: only burstable ones are summed up. Millicores. */
export function burstableMilli(pod: Pod): number {
  return qosClassOf(pod) === 'Burstable' ? milli(podRequests(pod), 'cpu') : 0;
}

function everyContainerLimits(pod: Pod, name: 'cpu' | 'memory'): boolean {
  if ((amountsOf(pod.spec.resources?.limits)[name] ?? 0n) > 0n) return true;
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return containers.every(({ resources }) => (limitsOf(resources)[name] ?? 0n) > 0n);
}

function milli(amounts: Amounts, name: string): number {
  return milliValueOf(formatNano(amounts[name] ?? 0n));
}

function whole(amounts: Amounts, name: string): number {
  return wholeValueOf(formatNano(amounts[name] ?? 0n));
}
