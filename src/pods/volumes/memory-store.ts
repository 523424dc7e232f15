import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';

/** How the store's mount is known in the mount table. */
const NAME = 'deckhand-volumes';

/**
 * One tmpfs of the node that holds what must not reach a disk. kubelet mounts one tmpfs per secret, downwardAPI and
 * projected volume; every mount and unmount is a process, and every pod has at least the token's volume. One mount for
 * all costs nothing per pod. A restarted process finds the mount again; after a reboot it is new and empty.
 */
export class MemoryStore {
  private device: number | undefined;
  private mounting: Promise<boolean> | undefined;
  private unavailable = false;
  private readonly directory: string;
  private readonly files: Files;
  private readonly mounts: Mounts;
  private readonly log: Logger;

  constructor(directory: string, deps: { readonly files: Files; readonly mounts: Mounts; readonly log: Logger }) {
    this.directory = directory;
    this.files = deps.files;
    this.mounts = deps.mounts;
    this.log = deps.log;
  }

  /** Mounts the store where it is not; false where this host cannot mount (said once in the log). */
  async ready(): Promise<boolean> {
    if (this.unavailable) return false;
    if (this.device !== undefined) {
      const info = await this.files.lstat(this.directory);
      if (info?.device === this.device) return true;
    }
    this.mounting ??= this.mount().finally(() => {
      this.mounting = undefined;
    });
    return this.mounting;
  }

  /** Takes the mount away when nothing is in it. */
  async close(): Promise<void> {
    const left = await this.files.list(this.directory);
    if (left === undefined || left.length > 0) return;
    this.device = undefined;
    await this.mounts.unmount(await this.files.realPath(this.directory));
    await this.files.removeDirectory(this.directory);
  }

  private async mount(): Promise<boolean> {
    await this.files.makeDirectory(this.directory, 0o750);
    try {
      const path = await this.files.realPath(this.directory);
      const mounted = (await this.mounts.list(path)).some((entry) => entry.mountPoint === path);
      if (!mounted) await this.mounts.tmpfs(path, { name: NAME, mode: 0o750, restricted: true });
    } catch (error) {
      this.unavailable = true;
      this.log.warn(
        { directory: this.directory, error: messageOf(error) },
        'no tmpfs can be mounted here: secret, downwardAPI and projected volumes are kept on disk',
      );
      return false;
    }
    this.device = (await this.files.lstat(this.directory))?.device;
    return true;
  }
}
