import type { Container, Pod } from '../../model/pod.ts';
import { hasPodLevelResources, isSidecar } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { parseQuantity } from '../../model/quantity.ts';

const ONE = 1_000_000_000n;

/** How many whole CPUs a container asks for itself; 0: it shares. */
export function exclusiveCount(pod: Pod, { resources }: Container): number {
  if (qosClassOf(pod) !== 'Guaranteed' || hasPodLevelResources(pod)) return 0;
  const cpu = parseQuantity(resources?.requests?.['cpu'] ?? resources?.limits?.['cpu'] ?? 0);
  return cpu % ONE === 0n ? Number(cpu / ONE) : 0;
}

/** The most that a pod has at once: of all that go on running, or of an init container beside the sidecars before it. */
export function cpusOfPod(pod: Pod): number {
  let sidecars = 0;
  let starting = 0;
  for (const container of pod.spec.initContainers ?? []) {
    const count = exclusiveCount(pod, container);
    if (isSidecar(container)) sidecars += count;
    else starting = Math.max(starting, sidecars + count);
  }
  const running = pod.spec.containers.reduce((sum, container) => sum + exclusiveCount(pod, container), sidecars);
  return Math.max(starting, running);
}
