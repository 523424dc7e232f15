import type { NamespaceOptions } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';

/**
 * Which namespaces are shared with whom (kubelet util.NamespacesForPod). `targetId` is the container id that an ephemeral
 * container's targetContainerName stands for; it takes part in that one's PID namespace.
 */
export function namespaceOptions(pod: Pod, container?: Container, targetId?: string): NamespaceOptions {
  const { hostNetwork, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  const network = hostNetwork === true ? 'NODE' : 'POD';
  const ipc = hostIPC === true ? 'NODE' : 'POD';
  if (container?.targetContainerName && targetId !== undefined) return { network, ipc, pid: 'TARGET', targetId };
  const pid = hostPID === true ? 'NODE' : shareProcessNamespace === true ? 'POD' : 'CONTAINER';
  return { network, ipc, pid };
}
