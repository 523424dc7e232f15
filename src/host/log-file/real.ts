import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { LogFile, LogFiles } from './port.ts';

/** Reads log files of this host. */
export class RealLogFiles implements LogFiles {
  async open(path: string): Promise<LogFile> {
    let handle: FileHandle;
    try {
      // A FIFO in the place of a log must not hold a thread up.
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw coded(path, error);
    }
    try {
      const info = await handle.stat({ bigint: true });
      if (!info.isFile()) throw new CodedError('InvalidArgument', `open ${path}: it is not a file`, { path });
      return new RealLogFile(handle, info.ino, path);
    } catch (error) {
      await handle.close();
      throw error instanceof CodedError ? error : coded(path, error);
    }
  }

  async inode(path: string): Promise<bigint | undefined> {
    try {
      return (await stat(path, { bigint: true })).ino;
    } catch {
      return undefined;
    }
  }
}

class RealLogFile implements LogFile {
  readonly inode: bigint;
  private readonly handle: FileHandle;
  private readonly path: string;

  constructor(handle: FileHandle, inode: bigint, path: string) {
    this.handle = handle;
    this.inode = inode;
    this.path = path;
  }

  async size(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  async read(into: Buffer, position: number): Promise<number> {
    try {
      return (await this.handle.read(into, 0, into.length, position)).bytesRead;
    } catch (error) {
      throw coded(this.path, error);
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function coded(path: string, error: unknown): CodedError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new CodedError('NotFound', `open ${path}: no such file or directory`, { path }, error);
  }
  return new CodedError(code === 'EACCES' ? 'Forbidden' : 'Internal', messageOf(error), { path }, error);
}
