import type { LabelSelector } from '../../model/meta.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../model/objects.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { matchesLabelSelector } from '../../model/selector.ts';

/**
 * The volume for a claim: the one it names, the one reserved for it, or the smallest free one of its class, size,
 * access modes, mode and labels (pkg/controller/volume/persistentvolume/index.go). undefined: none yet.
 */
export function volumeFor(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
): PersistentVolume | undefined {
  const named = claim.spec?.volumeName;
  if (named) return volumes.find((volume) => volume.metadata.name === named && isOpenTo(volume, claim));
  const reserved = volumes.find((volume) => volume.spec?.claimRef !== undefined && isOpenTo(volume, claim));
  if (reserved !== undefined) return reserved;
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (volume.spec?.claimRef !== undefined || !satisfies(volume, claim)) continue;
    if (best === undefined || capacityOf(volume) < capacityOf(best)) best = volume;
  }
  return best;
}

/** True when the volume is nobody's, or this claim's. */
export function isOpenTo(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  if (volume.metadata.deletionTimestamp !== undefined) return false;
  const ref = volume.spec?.claimRef;
  if (ref === undefined) return true;
  if (ref.name !== claim.metadata.name || ref.namespace !== claim.metadata.namespace) return false;
  return ref.uid === undefined || ref.uid === '' || ref.uid === claim.metadata.uid;
}

function satisfies(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const [have, want] = [volume.spec ?? {}, claim.spec ?? {}];
  if (volume.metadata.deletionTimestamp !== undefined) return false;
  if ((have.storageClassName ?? '') !== (want.storageClassName ?? '')) return false;
  if ((have.volumeMode ?? 'Filesystem') !== (want.volumeMode ?? 'Filesystem')) return false;
  if (!(want.accessModes ?? []).every((mode) => have.accessModes?.includes(mode) === true)) return false;
  if (want.selector !== undefined && !matchesLabelSelector(want.selector as LabelSelector, volume.metadata.labels))
    return false;
  return capacityOf(volume) >= parseQuantity(want.resources?.requests?.['storage'] ?? '0');
}

function capacityOf(volume: PersistentVolume): bigint {
  return parseQuantity(volume.spec?.capacity?.['storage'] ?? '0');
}
