import type { Device, Mount } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Container, Pod, Volume, VolumeMount } from '../../model/pod.ts';
import { isRecursiveReadOnly, propagationOf, subPathOf } from './mount-options.ts';
import type { PodVolume, VolumePlugin } from './plugin.ts';
import type { PodPaths } from './pod-paths.ts';
import type { ResolvedVolume, VolumeUse } from './resolve-volume.ts';
import { bindSubPath, checkSubPath } from './sub-path.ts';

export interface ContainerVolumesDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly log: Logger;
  readonly recursiveReadOnly?: (pod: Pod) => boolean;
  readonly resolve: (pod: Pod, volume: Volume, use: VolumeUse) => Promise<ResolvedVolume>;
  readonly devicePath: (plugin: VolumePlugin, volume: PodVolume) => string;
}

/** What one container is given of its pod's volumes (kubelet_pods.go makeMounts and makeBlockVolumes). */
export class ContainerVolumes {
  private readonly paths: PodPaths;
  private readonly deps: ContainerVolumesDeps;

  constructor(paths: PodPaths, deps: ContainerVolumesDeps) {
    this.paths = paths;
    this.deps = deps;
  }

  async mounts(pod: Pod, container: Container, environment: Readonly<Record<string, string>>): Promise<Mount[]> {
    const mounts: Mount[] = [];
    for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
      mounts.push(await this.mountOf(pod, container, mount, index, environment));
    }
    return mounts;
  }

  async devices(pod: Pod, container: Container): Promise<Device[]> {
    const devices: Device[] = [];
    for (const { name, devicePath } of container.volumeDevices ?? []) {
      if (!devicePath.startsWith('/')) {
        throw new CodedError('InvalidObject', `error DevicePath \`${devicePath}\` must be an absolute path`);
      }
      const volume = volumeOf(pod, container, name, 'pass into');
      const { plugin, podVolume } = await this.deps.resolve(pod, volume, { mounted: false, asDevice: true });
      const permissions = podVolume.readOnly ? 'r' : 'mrw';
      devices.push({ hostPath: this.deps.devicePath(plugin, podVolume), containerPath: devicePath, permissions });
    }
    return devices;
  }

  private async mountOf(
    pod: Pod,
    container: Container,
    mount: VolumeMount,
    index: number,
    environment: Readonly<Record<string, string>>,
  ): Promise<Mount> {
    const volume = volumeOf(pod, container, mount.name, 'mount into');
    const { plugin, podVolume } = await this.deps.resolve(pod, volume, { mounted: true, asDevice: false });
    const { hostPath: volumePath, readOnly, image } = await plugin.locate(podVolume);
    const subPath = subPathOf(mount, environment);
    if (subPath !== '') checkSubPath(subPath);
    const isWhole = subPath === '' || image !== undefined;
    const hostPath = isWhole
      ? volumePath
      : await this.subPath({ pod, container, mount, index, podVolume }, volumePath, subPath);
    const recursive = isRecursiveReadOnly(mount, this.deps.recursiveReadOnly?.(pod) === true);
    return {
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      hostPath,
      readonly: mount.readOnly === true || readOnly,
      propagation: propagationOf(mount),
      ...(recursive ? { recursiveReadOnly: true } : {}),
      ...(image === undefined ? {} : { image: { image: '', userSpecifiedImage: image.reference } }),
      ...(image === undefined || subPath === '' ? {} : { imageSubPath: subPath }),
    };
  }

  private async subPath(
    { pod, container, mount, index, podVolume }: SubPathUse,
    volumePath: string,
    subPath: string,
  ): Promise<string> {
    const { files, log } = this.deps;
    const target = this.paths.subPath(pod.metadata.uid ?? '', podVolume.specName, container.name, index);
    try {
      // The mount table has paths without symlinks, and the root directory may be reached through one.
      const folder = target.slice(0, target.lastIndexOf('/'));
      await files.makeDirectory(folder, 0o750);
      const real = `${await files.realPath(folder)}/${index}`;
      await bindSubPath(this.deps, volumePath, subPath, real);
      return real;
    } catch (error) {
      // What is found out while resolving is the node's affair: the pod's owner is told where, the node's log why.
      const where = `failed to prepare subPath for volumeMount "${mount.name}" of container "${container.name}"`;
      log.warn({ pod: pod.metadata.name, namespace: pod.metadata.namespace, subPath, error: messageOf(error) }, where);
      const { code } = error instanceof CodedError ? error : new CodedError('Internal', '');
      throw new CodedError(code, where, { volume: mount.name, container: container.name, subPath }, error);
    }
  }
}

interface SubPathUse {
  readonly pod: Pod;
  readonly container: Container;
  readonly mount: VolumeMount;
  readonly index: number;
  readonly podVolume: PodVolume;
}

function volumeOf(pod: Pod, container: Container, name: string, doing: string): Volume {
  const found = (pod.spec.volumes ?? []).find((volume) => volume.name === name);
  if (found !== undefined) return found;
  throw new CodedError('InvalidObject', `cannot find volume "${name}" to ${doing} container "${container.name}"`, {
    volume: name,
    container: container.name,
  });
}
