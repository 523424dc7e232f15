import type { ObjectReference } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { findContainer } from '../container-kinds.ts';
import { identityOf } from '../identity.ts';

const LIST_NAME = {
  init: 'initContainers',
  sidecar: 'initContainers',
  app: 'containers',
  ephemeral: 'ephemeralContainers',
} as const;

/** What an event is about: the pod, or one of its containers by field path. */
export function containerReference(pod: Pod, containerName?: string): ObjectReference {
  const { uid, namespace, name } = identityOf(pod);
  const kind = containerName === undefined ? undefined : findContainer(pod, containerName)?.kind;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace,
    name,
    uid,
    ...(pod.metadata.resourceVersion === undefined ? {} : { resourceVersion: pod.metadata.resourceVersion }),
    ...(kind === undefined ? {} : { fieldPath: `spec.${LIST_NAME[kind]}{${containerName}}` }),
  };
}
