import type { Clock } from '../../kit/clock.ts';
import { withCondition } from '../../model/conditions.ts';
import type { Pod } from '../../model/pod.ts';
import { rfc3339 } from '../../model/time.ts';
import { isObject } from '../patch/json-value.ts';
import type { WalStore } from '../store/wal-store.ts';
import type { DeleteOptions, ResourceOperations, Target } from './resource-operations.ts';
import { badRequest, conflict } from './status-error.ts';

export interface EvictPodDeps {
  readonly store: WalStore;
  readonly operations: ResourceOperations;
  readonly clock: Clock;
}

/**
 * Deletes a pod because somebody clears its node, and says so in its status first (registry/core/pod/storage/eviction.go).
 * There are no PodDisruptionBudgets here, so none forbids it. Throws NotFound, Conflict when a precondition does not hold,
 * InvalidArgument when the Eviction names another pod.
 */
export async function evictPod(
  { store, operations, clock }: EvictPodDeps,
  target: Target,
  eviction: Readonly<Record<string, unknown>>,
  options: DeleteOptions,
): Promise<void> {
  const named = isObject(eviction['metadata']) ? eviction['metadata']['name'] : undefined;
  if (named !== target.name) throw badRequest('name in URL does not match name in Eviction object');
  const { type } = target.resource;
  const pod = operations.existing(target) as Pod;
  const { uid, resourceVersion } = pod.metadata;
  if (options.uid !== undefined && options.uid !== uid) {
    throw conflict(
      type,
      target.name,
      `the UID in the precondition (${options.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`,
    );
  }
  if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
    throw conflict(
      type,
      target.name,
      `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`,
    );
  }
  if (!options.dryRun) {
    const conditions = withCondition(
      pod.status?.conditions,
      {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
      },
      rfc3339(clock.now()),
    );
    await store.update(type, { ...pod, status: { ...pod.status, conditions } } as Pod);
  }
  // The caller's version was checked above, and is another one since.
  const { resourceVersion: _checked, ...wanted } = options;
  await operations.delete(target, wanted);
}
