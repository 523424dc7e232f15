import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { PersistentVolumeClaim } from '../../model/objects.ts';
import type { Pod, Volume } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import type { Store, StoredEvent } from '../port.ts';
import type { Controller } from './port.ts';

export interface EphemeralVolumesDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** The claim as the API would store it. Throws InvalidObject. */
  readonly admit: (claim: PersistentVolumeClaim) => PersistentVolumeClaim;
}

/**
 * Makes the claims of generic ephemeral volumes (pkg/controller/volume/ephemeral): named after pod and volume, owned by
 * the pod, with which they go. A claim of that name that is somebody else's is left alone, and the pod waits.
 */
export class EphemeralVolumes implements Controller {
  private readonly deps: EphemeralVolumesDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: EphemeralVolumesDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (key) => this.reconcile(key), {
      retry: { baseMs: 50, maxMs: 30_000 },
      onError: (pod, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound', 'AlreadyExists');
        deps.log[expected ? 'debug' : 'warn']({ pod, error: messageOf(error) }, 'claims of a pod not made; retrying');
      },
    });
  }

  start(): void {
    this.unsubscribe = this.deps.store.subscribe((event) => this.follow(event));
    for (const pod of this.deps.store.list(resources.pods) as Pod[]) this.request(pod);
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, object, type }: StoredEvent): void {
    if (resource.plural === resources.pods.plural) {
      if (type === 'DELETED') this.queue.forget(keyOf(object));
      else this.request(object as Pod);
    }
    // A claim that somebody deletes under its pod is made again.
    if (resource.plural === resources.persistentvolumeclaims.plural && type === 'DELETED') {
      for (const pod of this.deps.store.list(resources.pods, object.metadata.namespace) as Pod[]) this.request(pod);
    }
  }

  private request(pod: Pod): void {
    if (pod.metadata.deletionTimestamp !== undefined || ephemeralOf(pod).length === 0) return;
    this.queue.request(keyOf(pod));
  }

  private async reconcile(key: string): Promise<undefined> {
    const slash = key.indexOf('/');
    const pod = this.deps.store.get(resources.pods, key.slice(0, slash), key.slice(slash + 1)) as Pod | undefined;
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return undefined;
    for (const volume of ephemeralOf(pod)) await this.ensure(pod, volume);
    return undefined;
  }

  private async ensure(pod: Pod, volume: Volume): Promise<void> {
    const { store, admit } = this.deps;
    const { name: podName = '', namespace = '', uid = '' } = pod.metadata;
    const name = `${podName}-${volume.name}`;
    const present = store.get(resources.persistentvolumeclaims, namespace, name);
    if (present !== undefined) {
      if (present.metadata.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid)) return;
      const whose = `was not created for pod ${namespace}/${podName} (pod is not owner)`;
      throw new CodedError('Conflict', `ephemeral volume ${volume.name}: PVC ${namespace}/${name} ${whose}`);
    }
    const { metadata = {}, spec } = volume.ephemeral?.volumeClaimTemplate ?? {};
    const owner = { apiVersion: 'v1', kind: 'Pod', name: podName, uid, controller: true, blockOwnerDeletion: true };
    const claim = {
      metadata: {
        name,
        namespace,
        ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
        ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
        ownerReferences: [owner],
      },
      ...(spec === undefined ? {} : { spec }),
    };
    await store.create(resources.persistentvolumeclaims, admit(claim));
  }
}

function ephemeralOf(pod: Pod): readonly Volume[] {
  return (pod.spec.volumes ?? []).filter(({ ephemeral }) => ephemeral !== undefined);
}
