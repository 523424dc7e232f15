import type { PersistentVolume } from '../../model/objects.ts';

/** The annotation that came before spec.mountOptions, and goes before it. */
const ANNOTATION = 'volume.beta.kubernetes.io/mount-options';

/** Mount options of a PersistentVolume, each once (pkg/volume/util MountOptionFromSpec). */
export function mountOptionsOf(volume: PersistentVolume | undefined): string[] {
  const annotated = volume?.metadata.annotations?.[ANNOTATION];
  const given = annotated === undefined ? (volume?.spec?.mountOptions ?? []) : annotated.split(',');
  return [...new Set(given.filter((option) => option !== ''))];
}
