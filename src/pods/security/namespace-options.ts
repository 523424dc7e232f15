import type { IdMapping, NamespaceOptions } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';

export interface NamespaceInput {
  readonly targetId?: string;
  /** Of a pod with a user namespace of its own. */
  readonly userMapping?: IdMapping;
}

/**
 * Which namespaces are shared with whom (kubelet util.NamespacesForPod). `targetId` is the container id that an ephemeral
 * container's targetContainerName stands for; it takes part in that one's PID namespace.
 */
export function namespaceOptions(
  pod: Pod,
  container?: Container,
  { targetId, userMapping }: NamespaceInput = {},
): NamespaceOptions {
  const { hostNetwork, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  const network = hostNetwork === true ? 'NODE' : 'POD';
  const ipc = hostIPC === true ? 'NODE' : 'POD';
  const user = userMapping === undefined ? {} : { userMapping };
  if (container?.targetContainerName && targetId !== undefined)
    return { network, ipc, pid: 'TARGET', targetId, ...user };
  const pid = hostPID === true ? 'NODE' : shareProcessNamespace === true ? 'POD' : 'CONTAINER';
  return { network, ipc, pid, ...user };
}
