import type { KubeObject } from '../../model/meta.ts';
import type { Namespace } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import { parseTime, rfc3339 } from '../../model/time.ts';

export type Deletion =
  /** Nothing holds it: it goes at once. */
  | { readonly step: 'remove' }
  /** It stays, marked, until its finalizers are gone and its node agent says so. */
  | { readonly step: 'mark'; readonly object: KubeObject }
  | { readonly step: 'nothing' };

/**
 * What a DELETE does (registry/rest/delete.go BeforeDelete, registry/core/pod/strategy.go CheckGracefulDelete).
 * `gracePeriodSeconds` is the caller's wish. Pods that run somewhere get their grace period, the node agent ends it
 * with a DELETE of grace 0; a second DELETE can only shorten it. Namespaces wait for their content.
 */
export function planDeletion(
  type: ResourceType,
  object: KubeObject,
  gracePeriodSeconds: number | undefined,
  now: number,
): Deletion {
  const { metadata } = object;
  const held = (metadata.finalizers?.length ?? 0) > 0 || isHeldNamespace(type, object);
  const grace = graceOf(type, object, gracePeriodSeconds);
  if (metadata.deletionTimestamp !== undefined) {
    const left = metadata.deletionGracePeriodSeconds ?? 0;
    if (grace === 0 && !held) return { step: 'remove' };
    if (grace >= left) return { step: 'nothing' };
    const started = (parseTime(metadata.deletionTimestamp) ?? now) - left * 1000;
    return { step: 'mark', object: marked(type, object, started + grace * 1000, grace) };
  }
  if (grace === 0 && !held) return { step: 'remove' };
  return { step: 'mark', object: marked(type, object, now + grace * 1000, grace) };
}

/** Whether an object that is being deleted goes with the update that makes it `next` (ShouldDeleteDuringUpdate). */
export function goesWithUpdate(type: ResourceType, next: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = next.metadata;
  if (deletionTimestamp === undefined || finalizers.length > 0 || isHeldNamespace(type, next)) return false;
  return deletionGracePeriodSeconds === 0;
}

function marked(type: ResourceType, object: KubeObject, deadline: number, grace: number): KubeObject {
  const metadata = {
    ...object.metadata,
    deletionTimestamp: rfc3339(deadline),
    deletionGracePeriodSeconds: grace,
  };
  if (!isNamespace(type)) return { ...object, metadata };
  const status: NonNullable<Namespace['status']> = { ...(object as Namespace).status, phase: 'Terminating' };
  return { ...object, metadata, status } as KubeObject;
}

function graceOf(type: ResourceType, object: KubeObject, wanted: number | undefined): number {
  if (type.plural !== resources.pods.plural) return 0;
  const { spec, status } = object as Pod;
  // Nobody runs it: nobody needs time to stop it.
  if ((spec.nodeName ?? '') === '') return 0;
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return 0;
  const grace = wanted ?? spec.terminationGracePeriodSeconds ?? 30;
  return grace < 0 ? 1 : grace;
}

function isNamespace(type: ResourceType): boolean {
  return type.plural === resources.namespaces.plural;
}

function isHeldNamespace(type: ResourceType, object: KubeObject): boolean {
  return isNamespace(type) && ((object as Namespace).spec?.finalizers?.length ?? 0) > 0;
}
