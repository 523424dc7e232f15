import type { CgroupLimits } from '../../host/cgroup/port.ts';
import type { LinuxResources } from '../../host/cri/port.ts';
import { quotaFromMilli, sharesFromMilli } from '../../model/cpu.ts';
import type { Pod } from '../../model/pod.ts';
import { milliValueOf, wholeValueOf } from '../../model/quantity.ts';

/**
 * What a runtime is told of a pod's cgroup that is about to change (UpdatePodSandboxResources): the pod's resources, and
 * apart from them its overhead, by which they are smaller than the cgroup (kuberuntime helpers_linux.go).
 */
export function podSandboxUpdate(
  pod: Pod,
  limits: CgroupLimits,
  cfsQuota: boolean,
): { readonly overhead: LinuxResources; readonly resources: LinuxResources } {
  const { overhead } = pod.spec;
  const cpu = milliValueOf(overhead?.['cpu'] ?? 0);
  const memory = wholeValueOf(overhead?.['memory'] ?? 0);
  const { cpuQuota, cpuPeriod = 0, cpuShares, memoryLimit } = limits;
  const fixed = (quota: number): number => (quota < 0 ? quota : quota - (quotaFromMilli(cpu, cpuPeriod) ?? 0));
  return {
    overhead:
      overhead === undefined
        ? {}
        : {
            cpuShares: sharesFromMilli(cpu),
            ...(memory === 0 ? {} : { memoryLimitInBytes: memory }),
            ...(cfsQuota ? { cpuQuota: quotaFromMilli(cpu, cpuPeriod) ?? 0, cpuPeriod } : {}),
          },
    resources: {
      ...(cpuPeriod === 0 ? {} : { cpuPeriod }),
      ...(cpuQuota === undefined ? {} : { cpuQuota: fixed(cpuQuota) }),
      ...(cpuShares === undefined
        ? {}
        : { cpuShares: cpu === 0 ? cpuShares : sharesFromMilli(Math.ceil((cpuShares * 1000) / 1024) - cpu) }),
      ...(memoryLimit === undefined || memoryLimit < 0 ? {} : { memoryLimitInBytes: memoryLimit - memory }),
    },
  };
}
