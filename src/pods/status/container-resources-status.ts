import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import { MIN_SHARES } from '../../model/cpu.ts';
import type { QuantityText, ResourceList } from '../../model/meta.ts';
import type { ResourceRequirements } from '../../model/pod.ts';
import { formatBytes, milliValueOf } from '../../model/quantity.ts';
import type { ContainerRecord } from '../observe/pod-runtime.ts';
import { MIN_LIMIT_MILLI } from './pod-resources-status.ts';

/**
 * status.containerStatuses[].resources: what is in force of a running container, which the runtime tells, and else what
 * it was granted (kubelet kubelet_pods.go convertContainerStatusResources). Amounts below what the kernel can tell apart
 * are shown as they were granted. Runtimes that tell nothing are taken to have done what they accepted last.
 */
export function containerResourcesStatus({
  granted,
  running,
  actuated,
}: {
  readonly granted: ResourceRequirements | undefined;
  readonly running: ContainerRecord | undefined;
  readonly actuated: ResourceRequirements | undefined;
}): ResourceRequirements {
  const { limits, requests } = granted ?? {};
  const told = running?.resources;
  const known = running === undefined ? undefined : actuated;
  const inForce = (list: ResourceList, values: Readonly<Record<string, QuantityText | undefined>>): ResourceList => {
    const result: Record<string, QuantityText> = { ...list };
    for (const [name, value] of Object.entries(values)) if (value !== undefined) result[name] = value;
    return result;
  };
  return {
    ...(limits === undefined
      ? {}
      : {
          limits: inForce(limits, {
            cpu: told === undefined ? known?.limits?.['cpu'] : cpuLimit(told, limits['cpu']),
            memory: told === undefined ? known?.limits?.['memory'] : memoryLimit(told.memoryLimitInBytes),
          }),
        }),
    ...(requests === undefined
      ? {}
      : {
          requests: inForce(requests, {
            cpu: told === undefined ? known?.requests?.['cpu'] : cpuRequest(told.cpuShares, requests['cpu']),
            // No cgroup holds it.
            memory: known?.requests?.['memory'],
          }),
        }),
  };
}

type Told = NonNullable<ContainerRecord['resources']>;

function cpuLimit({ cpuQuota = 0, cpuPeriod = 0 }: Told, granted: QuantityText | undefined): QuantityText | undefined {
  if (cpuPeriod <= 0 || cpuQuota <= 0) return undefined;
  const milli = Math.floor((cpuQuota * 1000) / cpuPeriod);
  return shown(milli, MIN_LIMIT_MILLI, granted);
}

function cpuRequest(shares: number | undefined, granted: QuantityText | undefined): QuantityText | undefined {
  if (shares === undefined || shares < MIN_SHARES) return undefined;
  return shown(Math.ceil((shares * 1000) / 1024), MIN_SHARES, granted);
}

function shown(milli: number, least: number, granted: QuantityText | undefined): QuantityText | undefined {
  const more = milli > least || (granted !== undefined && milliValueOf(granted) > least);
  return more ? canonicalQuantity(`${milli}m`) : undefined;
}

function memoryLimit(bytes: number | undefined): QuantityText | undefined {
  if (bytes === undefined || bytes <= 0) return undefined;
  return formatBytes(bytes);
}
