import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../model/objects.ts';
import { resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Store, StoredEvent } from '../port.ts';
import type { Controller } from './port.ts';
import { volumeFor } from './volume-match.ts';

const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';

export interface VolumeBinderDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Binds PersistentVolumeClaims to PersistentVolumes that people made (hostPath, local, nfs …); nothing is provisioned.
 * A volume whose claim is gone becomes Released and keeps its data, whatever its reclaim policy: with Recycle or Delete
 * it becomes Failed, since nobody here deletes data.
 */
export class VolumeBinder implements Controller {
  private readonly deps: VolumeBinderDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: VolumeBinderDeps) {
    this.deps = deps;
    // One key: two claims must not choose the same volume at the same time.
    this.queue = new KeyedQueue(deps.clock, () => this.reconcile(), {
      retry: { baseMs: 50, maxMs: 30_000 },
      onError: (_key, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound');
        deps.log[expected ? 'debug' : 'warn']({ error: messageOf(error) }, 'volumes not bound; retrying');
      },
    });
  }

  start(): void {
    this.unsubscribe = this.deps.store.subscribe((event) => this.follow(event));
    this.queue.request('all');
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource }: StoredEvent): void {
    const { persistentvolumes, persistentvolumeclaims } = resources;
    if (resource.plural === persistentvolumes.plural || resource.plural === persistentvolumeclaims.plural) {
      this.queue.request('all');
    }
  }

  private async reconcile(): Promise<undefined> {
    const { store } = this.deps;
    for (const claim of store.list(resources.persistentvolumeclaims) as PersistentVolumeClaim[]) {
      if (claim.metadata.deletionTimestamp === undefined) await this.bindClaim(claim);
    }
    for (const volume of store.list(resources.persistentvolumes) as PersistentVolume[]) await this.settleVolume(volume);
    return undefined;
  }

  private async bindClaim(claim: PersistentVolumeClaim): Promise<void> {
    const { store } = this.deps;
    if (claim.status?.phase === 'Bound') {
      const volume = store.get(resources.persistentvolumes, undefined, claim.spec?.volumeName ?? '');
      if (volume === undefined) await this.setClaimPhase(claim, 'Lost');
      return;
    }
    const volumes = store.list(resources.persistentvolumes) as PersistentVolume[];
    const volume = volumeFor(claim, volumes);
    if (volume === undefined) {
      if (claim.status?.phase === undefined) await this.setClaimPhase(claim, 'Pending');
      return;
    }
    await this.bind(claim, volume);
  }

  /** First the volume, which is what two claims could both want; then the claim. */
  private async bind(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const { store } = this.deps;
    const { name = '', namespace = '', uid = '', resourceVersion = '' } = claim.metadata;
    const reserved = volume.spec?.claimRef !== undefined;
    if (!reserved || volume.spec?.claimRef?.uid !== uid || volume.status?.phase !== 'Bound') {
      const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid, resourceVersion };
      const annotations = { ...volume.metadata.annotations, ...(reserved ? {} : { [BOUND_BY_CONTROLLER]: 'yes' }) };
      await store.update(resources.persistentvolumes, {
        ...volume,
        metadata: { ...volume.metadata, annotations },
        spec: { ...volume.spec, claimRef },
        status: this.volumeStatus('Bound'),
      } as PersistentVolume);
    }
    const annotations = { ...claim.metadata.annotations, [BIND_COMPLETED]: 'yes', [BOUND_BY_CONTROLLER]: 'yes' };
    await store.update(resources.persistentvolumeclaims, {
      ...claim,
      metadata: { ...claim.metadata, annotations },
      spec: { ...claim.spec, volumeName: volume.metadata.name },
      status: {
        ...claim.status,
        phase: 'Bound',
        accessModes: volume.spec?.accessModes ?? [],
        capacity: volume.spec?.capacity ?? {},
      },
    } as PersistentVolumeClaim);
  }

  private async settleVolume(volume: PersistentVolume): Promise<void> {
    const { store } = this.deps;
    const ref = volume.spec?.claimRef;
    let phase = 'Available';
    let message: string | undefined;
    if (ref !== undefined) {
      const claim = store.get(resources.persistentvolumeclaims, ref.namespace, ref.name ?? '');
      if (ref.uid === undefined || ref.uid === '') phase = 'Available';
      else if (claim?.metadata.uid === ref.uid) phase = 'Bound';
      else if (volume.spec?.persistentVolumeReclaimPolicy === 'Retain') phase = 'Released';
      else {
        phase = 'Failed';
        message = `reclaim policy ${volume.spec?.persistentVolumeReclaimPolicy}: no volume plugin here deletes data; the volume is kept`;
      }
    }
    if (volume.status?.phase === phase && volume.status.message === message) return;
    const status = this.volumeStatus(phase, message);
    const current = store.get(resources.persistentvolumes, undefined, volume.metadata.name ?? '');
    if (current !== volume) return;
    await store.update(resources.persistentvolumes, { ...volume, status } as PersistentVolume);
  }

  private volumeStatus(phase: string, message?: string): object {
    const lastPhaseTransitionTime = rfc3339(this.deps.clock.now());
    return { phase, lastPhaseTransitionTime, ...(message === undefined ? {} : { message }) };
  }

  private async setClaimPhase(claim: PersistentVolumeClaim, phase: string): Promise<void> {
    this.deps.log.debug({ claim: keyOf(claim), phase }, 'claim changes phase');
    await this.deps.store.update(resources.persistentvolumeclaims, {
      ...claim,
      status: { ...claim.status, phase },
    } as PersistentVolumeClaim);
  }
}
