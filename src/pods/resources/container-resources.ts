import type { LinuxResources } from '../../host/cri/port.ts';
import { quotaFromMilli, sharesFromMilli } from '../../model/cpu.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { milliValueOf, wholeValueOf } from '../../model/quantity.ts';
import { containerMemoryQos } from './memory-qos.ts';
import { kernelPageSize, type NodeResourceFacts } from './node-facts.ts';
import { oomScoreAdj } from './oom-score.ts';
import { swapBytesOf } from './swap.ts';

/** What the runtime is told of one container's resources (kubelet kuberuntime_container_linux.go). */
export function linuxResourcesOf(pod: Pod, container: Container, node: NodeResourceFacts): LinuxResources {
  const requests = container.resources?.requests;
  // Where the container sets no limit of its own, the pod's is the one that programs in it should see.
  const limits = { ...podLevelLimits(pod), ...nonZero(container.resources?.limits) };
  const cpuLimit = milliOf(limits, 'cpu');
  const cpuRequest = requests?.['cpu'] === undefined ? cpuLimit : milliOf(requests, 'cpu');
  const memoryLimit = wholeOf(limits, 'memory');
  const unified: Record<string, string> = {};
  if (node.cgroupVersion === 2 && !node.singleProcessOomKill) unified['memory.oom.group'] = '1';
  if (node.cgroupVersion === 2 && node.swapAccounting) {
    unified['memory.swap.max'] = String(swapBytesOf(pod, container, node));
  }
  if (node.memoryQos !== undefined) Object.assign(unified, containerMemoryQos(pod, container, node.memoryQos));
  const uid = pod.metadata.uid ?? '';
  const unlimited = node.cpus?.withoutQuota === true && node.cpus.hasExclusive(uid, container.name);
  const limited = unlimited ? -1 : (quotaFromMilli(cpuLimit, node.cfsPeriodUs) ?? -1);
  const quota = node.cfsQuota ? limited : undefined;
  return {
    cpuShares: sharesFromMilli(cpuRequest),
    ...(quota === undefined ? {} : { cpuQuota: quota, cpuPeriod: node.cfsPeriodUs }),
    ...(node.cpus === undefined ? {} : { cpusetCpus: node.cpus.cpusOf(uid, container.name) }),
    ...cpusetMems(node.memsOf?.(uid, container.name)),
    ...(memoryLimit === 0 ? {} : { memoryLimitInBytes: memoryLimit }),
    ...(memoryLimit !== 0 && node.cgroupVersion === 1 && node.swapAccounting
      ? { memorySwapLimitInBytes: memoryLimit }
      : {}),
    oomScoreAdj: oomScoreAdj(pod, container, node.memoryBytes),
    hugepageLimits: node.hugepageSizes.map((size) => ({
      pageSize: kernelPageSize(size),
      limit: wholeOf(container.resources?.limits, `hugepages-${size}`),
    })),
    ...(Object.keys(unified).length === 0 ? {} : { unified }),
  };
}

function cpusetMems(nodes: string | undefined): LinuxResources {
  return nodes === undefined ? {} : { cpusetMems: nodes };
}

function podLevelLimits(pod: Pod): ResourceList {
  const { cpu, memory } = pod.spec.resources?.limits ?? {};
  return { ...(cpu === undefined ? {} : { cpu }), ...(memory === undefined ? {} : { memory }) };
}

function nonZero(list: ResourceList | undefined): ResourceList {
  return Object.fromEntries(Object.entries(list ?? {}).filter(([, quantity]) => milliValueOf(quantity) !== 0));
}

function milliOf(list: ResourceList | undefined, name: string): number {
  const quantity = list?.[name];
  return quantity === undefined ? 0 : milliValueOf(quantity);
}

function wholeOf(list: ResourceList | undefined, name: string): number {
  const quantity = list?.[name];
  return quantity === undefined ? 0 : wholeValueOf(quantity);
}
