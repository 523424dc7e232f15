import { CodedError } from '../../kit/errors.ts';
import type { Container, Pod, Volume } from '../../model/pod.ts';

/**
 * What kind of volume this is, as its field is called; one without a source is an emptyDir, as the API's defaulting has
 * it. Throws InvalidObject for two kinds at once.
 */
export function sourceOf(volume: Volume): string {
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
  return first;
}

/** The volumes that some container mounts or gets as a device, with how: kubelet sets up no others. */
export function usedVolumes(
  pod: Pod,
): readonly { readonly volume: Volume; readonly use: { readonly mounted: boolean; readonly asDevice: boolean } }[] {
  const mounts = new Set<string>();
  const devices = new Set<string>();
  for (const container of allContainers(pod)) {
    for (const mount of container.volumeMounts ?? []) mounts.add(mount.name);
    for (const device of container.volumeDevices ?? []) devices.add(device.name);
  }
  return (pod.spec.volumes ?? [])
    .map((volume) => ({ volume, use: { mounted: mounts.has(volume.name), asDevice: devices.has(volume.name) } }))
    .filter(({ use }) => use.mounted || use.asDevice);
}

export function allContainers(pod: Pod): readonly Container[] {
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
  return [...initContainers, ...containers, ...ephemeralContainers];
}
