import { CodedError } from '../../kit/errors.ts';
import type { Container, Pod, Volume } from '../../model/pod.ts';

export const SUPPORTED = ['emptyDir', 'hostPath', 'configMap', 'secret', 'downwardAPI', 'projected'] as const;
export type SupportedSource = (typeof SUPPORTED)[number];

/**
 * What kind of volume this is; one without a source is an emptyDir, as the API's defaulting has it. Throws Unimplemented
 * for kinds that deckhand cannot provide yet and InvalidObject for two kinds at once.
 */
export function sourceOf(volume: Volume): SupportedSource {
  const given = Object.entries(volume)
    .filter(([key, value]) => key !== 'name' && value !== undefined && value !== null)
    .map(([key]) => key);
  const [first = 'emptyDir'] = given;
  if (given.length > 1) {
    throw new CodedError(
      'InvalidObject',
      `volume "${volume.name}" has the types ${given.join(' and ')}; it must have exactly one`,
      { volume: volume.name },
    );
  }
  const found = SUPPORTED.find((source) => source === first);
  if (found !== undefined) return found;
  throw new CodedError(
    'Unimplemented',
    `volume "${volume.name}" has type ${first}, which this node cannot provide; it can provide ${SUPPORTED.join(', ')}`,
    { volume: volume.name, type: first },
  );
}

/** The volumes that some container mounts: kubelet sets up no others. */
export function mountedVolumes(pod: Pod): readonly Volume[] {
  const names = new Set<string>();
  for (const container of allContainers(pod)) {
    for (const mount of container.volumeMounts ?? []) names.add(mount.name);
  }
  return (pod.spec.volumes ?? []).filter(({ name }) => names.has(name));
}

export function allContainers(pod: Pod): readonly Container[] {
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
  return [...initContainers, ...containers, ...ephemeralContainers];
}
