import { CodedError } from '../../kit/errors.ts';
import type { LogFile, LogFiles } from './port.ts';

interface Content {
  readonly inode: bigint;
  data: Buffer;
}

/** Log files in memory: what is open stays readable whatever becomes of its name. */
export class FakeLogFiles implements LogFiles {
  private readonly files = new Map<string, Content>();
  private nextInode = 1n;
  private opened = 0;

  /** Files that are open now. */
  get openFiles(): number {
    return this.opened;
  }

  append(path: string, text: string | Buffer): void {
    const file = this.files.get(path) ?? { inode: this.nextInode++, data: Buffer.alloc(0) };
    file.data = Buffer.concat([file.data, Buffer.from(text)]);
    this.files.set(path, file);
  }

  truncate(path: string): void {
    this.existing(path).data = Buffer.alloc(0);
  }

  rename(from: string, to: string): void {
    const file = this.existing(from);
    this.files.delete(from);
    this.files.set(to, file);
  }

  remove(path: string): void {
    this.existing(path);
    this.files.delete(path);
  }

  open(path: string): Promise<LogFile> {
    return Promise.resolve().then(() => {
      const content = this.existing(path);
      this.opened++;
      let open = true;
      return {
        inode: content.inode,
        size: () => Promise.resolve(content.data.length),
        read: (into: Buffer, position: number) => Promise.resolve(content.data.subarray(position).copy(into)),
        close: () => {
          if (open) this.opened--;
          open = false;
          return Promise.resolve();
        },
      };
    });
  }

  inode(path: string): Promise<bigint | undefined> {
    return Promise.resolve(this.files.get(path)?.inode);
  }

  private existing(path: string): Content {
    const file = this.files.get(path);
    if (file === undefined) {
      throw new CodedError('NotFound', `open ${path}: no such file or directory`, { path });
    }
    return file;
  }
}
