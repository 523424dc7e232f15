import type { ContainerPort, Pod } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';

const ANY = '0.0.0.0';

/** Whether a host port of the pod is taken by one of `others` (scheduler plugin nodeports). */
export function hasPortConflict(pod: Pod, others: readonly Pod[]): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  const taken = others.flatMap(hostPorts);
  return wanted.some((port) => taken.some((other) => conflicts(port, other)));
}

/** Of what runs as long as the pod does: app containers and sidecars. */
function hostPorts({ spec }: Pod): ContainerPort[] {
  const lasting = [...(spec.initContainers ?? []).filter(isSidecar), ...spec.containers];
  return lasting.flatMap(({ ports = [] }) => ports.filter(({ hostPort }) => (hostPort ?? 0) > 0));
}

function conflicts(a: ContainerPort, b: ContainerPort): boolean {
  if (a.hostPort !== b.hostPort || (a.protocol ?? 'TCP') !== (b.protocol ?? 'TCP')) return false;
  const [ipA, ipB] = [a.hostIP || ANY, b.hostIP || ANY];
  return ipA === ANY || ipB === ANY || ipA === ipB;
}
