import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The part of a file handle that the write-ahead file uses. */
export type StorageFile = Pick<FileHandle, 'read' | 'write' | 'datasync' | 'truncate' | 'stat' | 'close'>;

/** The disk under the store; tests put one with a quota in its place. */
export interface Storage {
  open(path: string, flags: string | number, mode?: number): Promise<StorageFile>;
  /** Renames and makes the new name durable. */
  replace(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

export const diskStorage: Storage = {
  open: (path, flags, mode) => open(path, flags, mode),
  replace: async (from, to) => {
    await rename(from, to);
    const directory = await open(dirname(to), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
  remove: (path) => rm(path, { force: true }),
};
