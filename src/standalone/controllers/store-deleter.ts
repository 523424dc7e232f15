import type { Clock } from '../../kit/clock.ts';
import { hasCode } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import { goesWithUpdate, planDeletion } from '../http/deletion.ts';
import type { Store } from '../port.ts';
import type { DeleteRequest, ObjectDeleter } from './port.ts';

/** Deletion straight on the Store, for the controllers; the rules are those of the HTTP layer. */
export class StoreDeleter implements ObjectDeleter {
  private readonly store: Pick<Store, 'get' | 'update' | 'remove'>;
  private readonly clock: Clock;

  constructor(store: Pick<Store, 'get' | 'update' | 'remove'>, clock: Clock) {
    this.store = store;
    this.clock = clock;
  }

  async delete(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    { gracePeriodSeconds, uid }: DeleteRequest = {},
  ): Promise<void> {
    for (;;) {
      const object = this.store.get(type, namespace, name);
      if (object === undefined || (uid !== undefined && object.metadata.uid !== uid)) return;
      const deletion = planDeletion(type, object, gracePeriodSeconds, this.clock.now());
      try {
        if (deletion.step === 'remove') await this.store.remove(type, namespace, name);
        else if (deletion.step === 'mark') await this.store.update(type, deletion.object);
        return;
      } catch (error) {
        if (hasCode(error, 'NotFound')) return;
        // Somebody wrote it in between: decide again on what is there now.
        if (!hasCode(error, 'Conflict')) throw error;
      }
    }
  }

  async updateOrRemove(type: ResourceType, object: KubeObject): Promise<void> {
    if (goesWithUpdate(type, object))
      await this.store.remove(type, object.metadata.namespace, object.metadata.name ?? '');
    else await this.store.update(type, object);
  }
}
