import { hasCode } from '../../kit/errors.ts';
import { PodDumper } from './dump-pod.ts';
import { fnv128a } from './fnv128a.ts';

/** Where a static pod comes from: a file (by its absolute path) of this node, or a URL. */
export type StaticOrigin =
  | { readonly kind: 'file'; readonly path: string; readonly nodeName: string }
  | { readonly kind: 'http'; readonly url: string };

/**
 * The UID that kubelet 1.36 gives to a static pod (pkg/kubelet/config/common.go applyDefaults): FNV-1a 128 over a dump of
 * the Go object and its origin. The same manifest at the same place has the same UID under both agents, so that its
 * containers run on when one takes over from the other. `exact` is false where the dump cannot be reproduced: the UID is
 * then one of our own, stable as long as the manifest is.
 */
export function staticPodUid(
  pod: Readonly<Record<string, unknown>>,
  origin: StaticOrigin,
): { readonly uid: string; readonly exact: boolean } {
  const place = origin.kind === 'file' ? `host:${origin.nodeName}file:${origin.path}` : `url:${origin.url}`;
  try {
    return { uid: fnv128a(new PodDumper().dump(pod) + place), exact: true };
  } catch (error) {
    if (!hasCode(error, 'Unimplemented', 'InvalidArgument')) throw error;
    return { uid: fnv128a(JSON.stringify(pod) + place), exact: false };
  }
}

/** Whether a UID is one that was computed for a static pod, as opposed to an API server's. */
export function isStaticPodUid(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}
