import type { Container, Pod } from '../model/pod.ts';
import { fnv1a32 } from './fnv1a32.ts';

/** Labels and annotations on sandboxes and containers (kubelet kuberuntime/labels.go): how a restarted agent finds them. */
export const label = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
} as const;

export const annotation = {
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  preStopHandler: 'io.kubernetes.container.preStopHandler',
  ports: 'io.kubernetes.container.ports',
  podDeletionGracePeriod: 'io.kubernetes.pod.deletionGracePeriod',
  podTerminationGracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
} as const;

export interface PodIdentity {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export function identityOf(pod: Pod): PodIdentity {
  const { uid = '', namespace = 'default', name = '' } = pod.metadata;
  return { uid, namespace, name };
}

/** "namespace/name", the text that messages name a pod by. */
export function podText(pod: PodIdentity): string {
  return `${pod.namespace}/${pod.name}`;
}

export function podLabels(pod: PodIdentity): Record<string, string> {
  return { [label.podName]: pod.name, [label.podNamespace]: pod.namespace, [label.podUid]: pod.uid };
}

/**
 * The container hash of kubelet 1.31 and later (pkg/kubelet/container/helpers.go HashContainer), so that containers
 * which a kubelet started are adopted: FNV-1a 32 over Go's "%#v" text of the bytes of the JSON {image, name}, in hex.
 */
export function containerHash(container: Container): string {
  const json = JSON.stringify({ image: container.image ?? '', name: container.name });
  return fnv1a32(`([]uint8)[${[...Buffer.from(goEscaped(json))].join(' ')}]`).toString(16);
}

// encoding/json escapes these for HTML's sake; JSON.stringify does not.
function goEscaped(json: string): string {
  return json.replaceAll('&', '\\u0026').replaceAll('<', '\\u003c').replaceAll('>', '\\u003e');
}

/** `<podLogsDir>/<namespace>_<name>_<uid>` */
export function podLogDirectory(podLogsDir: string, pod: PodIdentity): string {
  return `${podLogsDir}/${pod.namespace}_${pod.name}_${pod.uid}`;
}

/** A container's log, relative to the pod's log directory. */
export function containerLogPath(containerName: string, restartCount: number): string {
  return `${containerName}/${restartCount}.log`;
}
