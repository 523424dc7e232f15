import type { LinuxResources } from '../../host/cri/port.ts';
import { quotaFromMilli, sharesFromMilli } from '../../model/cpu.ts';
import type { Pod } from '../../model/pod.ts';
import { type Amounts, amountsOf, podLimits, podRequests } from '../../model/pod-resources.ts';
import { formatNano, milliValueOf, wholeValueOf } from '../../model/quantity.ts';
import type { NodeResourceFacts } from './node-facts.ts';

/**
 * What a runtime that puts pods into virtual machines must know before it makes one: the pod's resources and, apart from
 * them, its RuntimeClass's overhead (kubelet kuberuntime_sandbox_linux.go). Overhead is request and limit in one.
 */
export function sandboxResources(
  pod: Pod,
  node: NodeResourceFacts,
): { readonly overhead: LinuxResources; readonly resources: LinuxResources } {
  const { overhead, ...spec } = pod.spec;
  const plain: Pod = { ...pod, spec };
  const fixed = amountsOf(overhead);
  return {
    overhead: overhead === undefined ? {} : resourcesOf(fixed, fixed, node),
    resources: resourcesOf(podRequests(plain), podLimits(plain), node),
  };
}

function resourcesOf(requests: Amounts, limits: Amounts, node: NodeResourceFacts): LinuxResources {
  const cpuLimit = milliValueOf(formatNano(limits['cpu'] ?? 0n));
  const memory = wholeValueOf(formatNano(limits['memory'] ?? 0n));
  return {
    cpuShares: sharesFromMilli(milliValueOf(formatNano(requests['cpu'] ?? 0n))),
    ...(memory === 0 ? {} : { memoryLimitInBytes: memory }),
    ...(node.cfsQuota
      ? { cpuQuota: quotaFromMilli(cpuLimit, node.cfsPeriodUs) ?? 0, cpuPeriod: node.cfsPeriodUs }
      : {}),
  };
}
