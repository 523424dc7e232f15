import type { View } from '../../../cluster/port.ts';
import type { Files } from '../../../host/files/port.ts';
import type { CSIDriver } from '../../../model/storage.ts';
import { escapePlugin, type PodPaths } from '../pod-paths.ts';
import { CSI_PLUGIN, type CsiPaths, uniqueVolumeName } from './csi-paths.ts';
import { isAttachable } from './csi-source.ts';
import { readVolumeData } from './vol-data.ts';

export interface CsiUsersDeps {
  readonly files: Pick<Files, 'list' | 'read'>;
  readonly paths: CsiPaths;
  readonly podPaths: PodPaths;
  readonly driverObjects: () => View<CSIDriver>;
  readonly usersChanged: () => void;
}

interface VolumeKey {
  readonly driver: string;
  readonly handle: string;
}

/** Which pods have which persistent CSI volume. */
export class CsiUsers {
  private readonly deps: CsiUsersDeps;
  private readonly pods = new Map<string, { readonly driver: string; readonly uids: Set<string> }>();
  private isComplete = false;

  constructor(deps: CsiUsersDeps) {
    this.deps = deps;
  }

  add(volume: VolumeKey, podUid: string): void {
    const key = uniqueVolumeName(volume.driver, volume.handle);
    const known = this.pods.get(key);
    if (known !== undefined) {
      known.uids.add(podUid);
      return;
    }
    this.pods.set(key, { driver: volume.driver, uids: new Set([podUid]) });
    this.deps.usersChanged();
  }

  remove(volume: VolumeKey, podUid: string): void {
    const key = uniqueVolumeName(volume.driver, volume.handle);
    const known = this.pods.get(key);
    if (known?.uids.delete(podUid) !== true || known.uids.size > 0) return;
    this.pods.delete(key);
    this.deps.usersChanged();
  }

  /** A pod whose volumes were never made has nothing on disk to be undone, and yet its volumes are no longer wanted. */
  drop(podUid: string): void {
    let changed = false;
    for (const [key, { uids }] of this.pods) {
      if (!uids.delete(podUid) || uids.size > 0) continue;
      this.pods.delete(key);
      changed = true;
    }
    if (changed) this.deps.usersChanged();
  }

  /** All that an earlier process left has been added. */
  complete(): void {
    this.isComplete = true;
    this.deps.usersChanged();
  }

  /**
   * Node.status.volumesInUse: attachable volumes, which must not be detached from this node. undefined while that is not
   * known: what the Node says stays.
   */
  inUse(): readonly string[] | undefined {
    if (!this.isComplete) return undefined;
    if (this.pods.size === 0) return [];
    const objects = this.deps.driverObjects();
    if (!objects.synced) return undefined;
    return [...this.pods]
      .filter(([, { driver }]) => isAttachable(objects.get(driver)))
      .map(([key]) => key)
      .sort();
  }

  /** Whether another pod than this one has the volume, by what is on disk: that a restarted process sees as well. */
  async others({ driver, handle }: VolumeKey, podUid: string): Promise<boolean> {
    const { files, podPaths } = this.deps;
    for (const uid of (await files.list(podPaths.pods)) ?? []) {
      if (uid === podUid) continue;
      const directory = `${podPaths.pod(uid)}/volumes/${escapePlugin(CSI_PLUGIN)}`;
      for (const name of (await files.list(directory)) ?? []) {
        const data = await readVolumeData(files, `${directory}/${name}`).catch(() => undefined);
        if (data?.driverName === driver && data.volumeHandle === handle) return true;
      }
    }
    return false;
  }
}
