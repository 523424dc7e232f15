import type { Storage, StorageFile } from './storage.ts';

/** The open write-ahead file: appends whole batches or nothing. */
export class WalFile {
  readonly path: string;
  private readonly file: StorageFile;
  private end: number;
  private synced: number;
  private failure: unknown;

  constructor(path: string, file: StorageFile, end: number, synced: number) {
    this.path = path;
    this.file = file;
    this.end = end;
    this.synced = synced;
  }

  static async create(storage: Storage, path: string, mode: number): Promise<WalFile> {
    return new WalFile(path, await storage.open(path, 'w+', mode), 0, 0);
  }

  get position(): number {
    return this.end;
  }

  /** Everything before this offset is on disk. */
  get durable(): number {
    return this.synced;
  }

  /** Set after a failure that leaves the file's end unknown: it must be rewritten before more is appended. */
  get broken(): unknown {
    return this.failure;
  }

  /** Writes all of it at the end, and with `sync` waits for the disk. On failure the file ends where it did before. */
  async append(batch: readonly Buffer[], sync: boolean): Promise<void> {
    const before = this.end;
    try {
      const data = batch.length === 1 && batch[0] !== undefined ? batch[0] : Buffer.concat(batch);
      let written = 0;
      while (written < data.length) {
        const { bytesWritten } = await this.file.write(data, written, data.length - written, before + written);
        written += bytesWritten;
      }
      this.end = before + data.length;
    } catch (error) {
      await this.file.truncate(before).catch((cause: unknown) => {
        this.failure = cause;
      });
      throw error;
    }
    if (sync) await this.sync();
  }

  async sync(): Promise<void> {
    const end = this.end;
    try {
      await this.file.datasync();
      this.synced = end;
    } catch (error) {
      // After a failed fsync Linux drops the dirty pages: what is in the file is unknown (fsync(2), NOTES).
      this.failure = error;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
