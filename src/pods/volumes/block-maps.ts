import type { EventRecorder } from '../../cluster/port.ts';
import type { BlockDevices } from '../../host/block/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import { CodedError, tryAll } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';
import { containerReference } from '../act/references.ts';
import type { FoundVolume, PodVolume, VolumePlugin } from './plugin.ts';
import type { PodPaths } from './pod-paths.ts';
import { volumeFailure } from './volume-errors.ts';

export interface BlockMapsDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly blocks: BlockDevices;
  readonly events: EventRecorder;
}

/**
 * Block volumes as kubelet maps them (pkg/volume/util MapBlockVolume): the device bound under the plugin's folder for each
 * pod, a loop device on it that keeps it open, so that no other device can take its number meanwhile, and a symlink in
 * the pod's folder, which containers are given.
 */
export class BlockMaps {
  private readonly paths: PodPaths;
  private readonly deps: BlockMapsDeps;

  constructor(paths: PodPaths, deps: BlockMapsDeps) {
    this.paths = paths;
    this.deps = deps;
  }

  async map(plugin: VolumePlugin, podVolume: PodVolume, signal: AbortSignal | undefined): Promise<void> {
    const { files, mounts, blocks } = this.deps;
    const { pod, specName } = podVolume;
    const uid = pod.metadata.uid ?? '';
    if (plugin.mapDevice === undefined) {
      const error = new CodedError('Unimplemented', `${plugin.name} has no Block volumes`);
      throw volumeFailure('MapVolume.SetUpDevice failed', specName, error);
    }
    let device: string;
    try {
      device = await plugin.mapDevice(podVolume, signal);
      await files.answers(device);
      device = await files.realPath(device);
      const kind = (await files.stat(device))?.kind;
      if (kind !== 'blockDevice') {
        throw new CodedError('InvalidObject', `${device} is a ${kind}; a Block volume needs a block device`, {
          device,
        });
      }
    } catch (error) {
      throw volumeFailure('MapVolume.MapPodDevice failed', specName, error);
    }
    try {
      const link = this.paths.device(uid, plugin.name, specName);
      const isLinked = (await files.lstat(link))?.kind === 'symlink' && (await files.readLink(link)) === device;
      if (!isLinked) {
        // First, for it is what a process that comes later finds the rest by.
        await files.makeDirectory(parentOf(link), 0o750);
        // Stale after a reboot.
        await files.remove(link);
        await files.symlink(device, link);
      }
      await files.makeDirectory(this.paths.deviceMaps(plugin.name, specName), 0o750);
      const bound = await this.boundPath(plugin.name, specName, uid);
      const isBound = await this.isMounted(bound);
      if (!isBound) {
        await files.createFile(bound, 0o640);
        await mounts.bind(device, bound);
      }
      if ((await blocks.loopOf(bound)) === undefined) await blocks.attachLoop(bound);
      if (!isBound)
        this.tell(pod, specName, [`globalMapPath "${parentOf(bound)}"`, `volumeMapPath "${parentOf(link)}"`]);
    } catch (error) {
      throw volumeFailure('MapVolume.MapBlockVolume failed', specName, error);
    }
  }

  private tell(pod: Pod, specName: string, what: readonly string[]): void {
    for (const path of what) {
      const message = `MapVolume.MapPodDevice succeeded for volume "${specName}" ${path}`;
      this.deps.events.event(containerReference(pod), 'Normal', 'SuccessfulMountVolume', message);
    }
  }

  /** The link that a container's device is found by. */
  pathOf(plugin: VolumePlugin, { pod, specName }: PodVolume): string {
    return this.paths.device(pod.metadata.uid ?? '', plugin.name, specName);
  }

  /** Undoes all of it but the link. */
  async unmap({ podUid, plugin, specName }: FoundVolume): Promise<void> {
    const { files, mounts, blocks } = this.deps;
    const bound = await this.boundPath(plugin, specName, podUid);
    await tryAll(`unmapping ${specName}`, [
      async () => {
        const loop = await blocks.loopOf(bound);
        if (loop !== undefined) await blocks.detachLoop(loop);
      },
      () => mounts.unmount(bound, { lazy: true }),
    ]);
    await files.remove(bound);
    const left = await files.list(parentOf(bound));
    if (left?.length === 0) await files.removeDirectory(parentOf(bound));
  }

  private async isMounted(path: string): Promise<boolean> {
    return (await this.deps.mounts.list(path)).some(({ mountPoint }) => mountPoint === path);
  }

  /** As the mount table and the loop devices spell it. */
  private async boundPath(plugin: string, specName: string, uid: string): Promise<string> {
    const { files } = this.deps;
    const folder = this.paths.deviceMaps(plugin, specName);
    const real = (await files.lstat(folder)) === undefined ? folder : await files.realPath(folder);
    return `${real}/${uid}`;
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
