import type { EventRecorder } from '../../../cluster/port.ts';
import type { BlockDevices } from '../../../host/block/port.ts';
import type { Files } from '../../../host/files/port.ts';
import type { Mounts } from '../../../host/mount/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import { containerReference } from '../../act/references.ts';
import { formatAndMount, MISMATCH } from '../format-and-mount.ts';
import type { VolumeOwnership } from '../ownership.ts';
import type { FoundVolume, Measurement, PodVolume, VolumePlugin } from '../plugin.ts';
import type { PodPaths } from '../pod-paths.ts';
import { mountOptionsOf } from '../pv-mount-options.ts';
import { deviceFigures, filesystemFigures, type VolumeMeter } from '../volume-figures.ts';
import type { VolumeMetrics } from '../volume-metrics.ts';

export interface LocalVolumeDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly blocks: BlockDevices;
  readonly ownership: Pick<VolumeOwnership, 'apply'>;
  readonly events: EventRecorder;
  readonly metrics: Pick<VolumeMetrics, 'timed'>;
}

const NAME = 'kubernetes.io/local-volume';

/**
 * PersistentVolumes that are a directory or a disk of this node (pkg/volume/local). A directory is bind-mounted into each
 * pod; a disk is mounted once, formatted if need be, and bind-mounted from there; a Block volume is the disk itself.
 */
export class LocalVolumePlugin implements VolumePlugin {
  readonly name = NAME;
  readonly sources = ['local'];
  readonly supportsMountOptions = true;
  private readonly paths: PodPaths;
  private readonly deps: LocalVolumeDeps;
  /** Work on one volume at a time: pods that share a disk shall not both find it unmounted. */
  private readonly turns = new Map<string, Promise<unknown>>();

  constructor(paths: PodPaths, deps: LocalVolumeDeps) {
    this.paths = paths;
    this.deps = deps;
  }

  async locate(podVolume: PodVolume): Promise<{ hostPath: string; readOnly: boolean }> {
    return { hostPath: this.pathOf(podVolume), readOnly: podVolume.readOnly };
  }

  measure(podVolume: PodVolume, meter: VolumeMeter): Measurement {
    const { volumeMode, bound } = podVolume;
    if (volumeMode !== 'Block') return { by: 'statfs', run: () => filesystemFigures(meter, this.pathOf(podVolume)) };
    return { by: 'block', run: () => deviceFigures(meter, bound?.volume.spec?.local?.path ?? '') };
  }

  prepare(podVolume: PodVolume): Promise<void> {
    return this.inTurn(podVolume.specName, () => this.mount(podVolume));
  }

  private async mount(podVolume: PodVolume): Promise<void> {
    const { files, mounts, ownership } = this.deps;
    const { pod, specName, readOnly } = podVolume;
    const target = await this.realTarget(this.pathOf(podVolume));
    if (await this.isMounted(target)) return;
    const source = await this.sourceOf(podVolume);
    const isFirst = (await this.mountsInPods(specName)).length === 0;
    if (!isFirst) await this.warnOfOtherGroup(podVolume, source);
    await files.makeDirectory(target, 0o750);
    try {
      await mounts.bind(source, target);
      if (readOnly) await mounts.remountReadOnly(target);
    } catch (error) {
      await mounts.unmount(target, { lazy: true });
      await files.removeDirectory(target);
      throw error;
    }
    // Its owner is written by the first pod only: others use it already.
    if (readOnly || !isFirst) return;
    try {
      await this.deps.metrics.timed(NAME, 'volume_apply_access_control', () => ownership.apply(pod, target));
    } catch (error) {
      // Still mounted, the next try would take it for done.
      await mounts.unmount(target, { lazy: true });
      throw error;
    }
  }

  /** The directory to bind: the volume's own, or where its disk is mounted. */
  private async sourceOf({ bound, readOnly, specName }: PodVolume): Promise<string> {
    const { files, mounts, blocks } = this.deps;
    const { path, fsType } = bound?.volume.spec?.local ?? { path: '' };
    checkPath(path);
    await files.answers(path);
    const found = await files.stat(path);
    if (found === undefined) throw new CodedError('NotFound', `path "${path}" does not exist`, { path });
    if (found.kind === 'directory') return path;
    if (found.kind !== 'blockDevice') {
      throw new CodedError('InvalidObject', 'only directory and block device are supported', { path });
    }
    const target = await this.realTarget(`${this.paths.plugin(NAME)}/mounts/${specName}`);
    if (await this.isMounted(target)) return target;
    await files.makeDirectory(target, 0o750);
    const options = [...(readOnly ? ['ro'] : []), ...mountOptionsOf(bound?.volume)];
    const type = fsType ?? 'ext4';
    try {
      await formatAndMount({ blocks, mounts }, { device: path, target, type, options });
    } catch (error) {
      await files.removeDirectory(target);
      this.tellMismatch(specName, bound?.volume.metadata.uid, error);
      throw error;
    }
    return target;
  }

  /** The last pod of a disk takes its mount with it. */
  tearDown({ podUid, specName, directory, volumeMode }: FoundVolume): Promise<void> {
    if (volumeMode === 'Block') return Promise.resolve();
    return this.inTurn(specName, async () => {
      const { files, mounts } = this.deps;
      const target = await this.realTarget(directory);
      for (let at = 0; (await this.isMounted(target)) && at < 64; at++) await mounts.unmount(target, { lazy: true });
      const disk = await this.realTarget(`${this.paths.plugin(NAME)}/mounts/${specName}`);
      const others = (await this.mountsInPods(specName)).filter(({ uid }) => uid !== podUid);
      if (others.length > 0 || (await files.lstat(parentOf(disk))) === undefined) return;
      if (await this.isMounted(disk)) {
        await this.deps.metrics.timed(NAME, 'unmount_device', () => mounts.unmount(disk));
      }
      await files.removeDirectory(disk);
    });
  }

  async mapDevice({ bound }: PodVolume): Promise<string> {
    const path = bound?.volume.spec?.local?.path ?? '';
    checkPath(path);
    return path;
  }

  private async warnOfOtherGroup({ pod, specName }: PodVolume, source: string): Promise<void> {
    const fsGroup = pod.spec.securityContext?.fsGroup;
    const present = (await this.deps.files.stat(source))?.gid;
    if (fsGroup === undefined || present === undefined || present === fsGroup) return;
    this.deps.events.event(
      containerReference(pod),
      'Warning',
      'AlreadyMountedVolume',
      `The requested fsGroup is ${fsGroup}, but the volume ${specName} has GID ${present}. The volume may not be shareable.`,
    );
  }

  /** The volume's owner is told, not only the pod's: the disk holds another filesystem than the volume says. */
  private tellMismatch(name: string, uid: string | undefined, error: unknown): void {
    if (!(error instanceof CodedError) || error.metadata[MISMATCH] === undefined) return;
    const about = { apiVersion: 'v1', kind: 'PersistentVolume', name, ...(uid === undefined ? {} : { uid }) };
    const message = `MountVolume failed for volume "${name}" ${error.message}`;
    this.deps.events.event(about, 'Warning', 'FailedMountOnFilesystemMismatch', message);
  }

  /** Where pods have the volume mounted, by the mount table. */
  private async mountsInPods(specName: string): Promise<{ readonly uid: string }[]> {
    const { files, mounts } = this.deps;
    if ((await files.lstat(this.paths.pods)) === undefined) return [];
    const pods = await files.realPath(this.paths.pods);
    const tail = `/volumes/kubernetes.io~local-volume/${specName}`;
    return (await mounts.list(pods))
      .filter(({ mountPoint }) => mountPoint.endsWith(tail))
      .map(({ mountPoint }) => ({ uid: mountPoint.slice(pods.length + 1, -tail.length) }));
  }

  private async isMounted(target: string): Promise<boolean> {
    return (await this.deps.mounts.list(target)).some(({ mountPoint }) => mountPoint === target);
  }

  /** As the mount table spells it: the root directory may be reached through a symlink. */
  private async realTarget(path: string): Promise<string> {
    const { files } = this.deps;
    const parent = parentOf(path);
    if ((await files.lstat(parent)) === undefined) await files.makeDirectory(parent, 0o750);
    return `${await files.realPath(parent)}${path.slice(parent.length)}`;
  }

  private pathOf({ pod, specName }: PodVolume): string {
    return this.paths.volume(pod.metadata.uid ?? '', NAME, specName);
  }

  private async inTurn<T>(specName: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.turns.get(specName) ?? Promise.resolve()).catch(() => {}).then(work);
    this.turns.set(specName, mine);
    try {
      return await mine;
    } finally {
      if (this.turns.get(specName) === mine) this.turns.delete(specName);
    }
  }
}

function checkPath(path: string): void {
  if (path.split('/').includes('..')) {
    throw new CodedError('InvalidObject', `invalid path: ${path} must not contain '..'`, { path });
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
