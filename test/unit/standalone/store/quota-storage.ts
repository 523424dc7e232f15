import type { Storage, StorageFile } from '../../../../src/standalone/store/storage.ts';
import { diskStorage } from '../../../../src/standalone/store/storage.ts';

/** A disk with room for so many more bytes: real files, real ENOSPC (with partial writes) when it is full. */
export class QuotaStorage implements Storage {
  free = Number.POSITIVE_INFINITY;
  /** Writes for which there was no room at all. */
  refusals = 0;
  /** Files that have all the room that they want. */
  spared: (path: string) => boolean = () => false;
  /** When set, fsync fails with it, as on a dying disk. */
  syncFailure: Error | undefined;
  syncs = 0;

  async open(path: string, flags: string | number, mode?: number): Promise<StorageFile> {
    const file = await diskStorage.open(path, flags, mode);
    const spend = (wanted: number): number => {
      if (this.spared(path)) return wanted;
      const granted = Math.min(wanted, this.free);
      if (granted === 0) {
        this.refusals++;
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      }
      this.free -= granted;
      return granted;
    };
    const synced = (): void => {
      this.syncs++;
      if (this.syncFailure !== undefined) throw this.syncFailure;
    };
    return new Proxy(file, {
      get(target, name) {
        if (name === 'write') {
          return async (data: Buffer, offset: number, length: number, position: number) =>
            target.write(data, offset, spend(length), position);
        }
        if (name === 'datasync') {
          return async () => {
            synced();
            await target.datasync();
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  replace(from: string, to: string): Promise<void> {
    return diskStorage.replace(from, to);
  }

  remove(path: string): Promise<void> {
    return diskStorage.remove(path);
  }
}
