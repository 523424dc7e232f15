import type { Files } from '../../host/files/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';

/** A small file that always says how things are now: one write after the other, of several waiting ones the last only. */
export class StateFile {
  private readonly path: string;
  private readonly deps: { readonly files: Pick<Files, 'write' | 'rename'>; readonly log: Logger };
  private waiting: string | undefined;
  private writing: Promise<void> | undefined;

  constructor(path: string, deps: { readonly files: Pick<Files, 'write' | 'rename'>; readonly log: Logger }) {
    this.path = path;
    this.deps = deps;
  }

  write(text: string): void {
    this.waiting = text;
    this.writing ??= this.drain();
  }

  /** All that was to be written is written, or was warned of. */
  get written(): Promise<void> {
    return this.writing ?? Promise.resolve();
  }

  private async drain(): Promise<void> {
    const { files, log } = this.deps;
    const temporary = `${this.path}.tmp`;
    while (this.waiting !== undefined) {
      const text = this.waiting;
      this.waiting = undefined;
      try {
        await files.write(temporary, text, 0o600);
        await files.rename(temporary, this.path);
      } catch (error) {
        log.warn({ path: this.path, error: messageOf(error) }, 'cannot write what was given to containers');
      }
    }
    this.writing = undefined;
  }
}
