import type { Pod } from './pod.ts';

/**
 * Annotations by which a node tells where a pod comes from (pkg/kubelet/types/pod_update.go). A static pod comes from a
 * file or a URL, not from the API; its mirror pod is its likeness in the API, made by the node.
 */
export const podOrigin = {
  /** "file" or "http"; absent on pods of the API. */
  source: 'kubernetes.io/config.source',
  /** On mirror pods: the hash of the static pod that they show. */
  mirror: 'kubernetes.io/config.mirror',
  /** When the node met the static pod first. */
  seen: 'kubernetes.io/config.seen',
  hash: 'kubernetes.io/config.hash',
} as const;

/** The pod object in the API that shows a static pod: it is never run. */
export function isMirrorPod(pod: Pod): boolean {
  return pod.metadata.annotations?.[podOrigin.mirror] !== undefined;
}

/** A pod from a file or a URL of this node (and not its mirror in the API). */
export function isStaticPod(pod: Pod): boolean {
  const source = pod.metadata.annotations?.[podOrigin.source];
  return source !== undefined && source !== 'api' && !isMirrorPod(pod);
}
