import { readFile } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';

export interface WatchedFilesOptions<T> {
  readonly paths: readonly string[];
  /** Reads what their texts make, in the same order. Throws when they make nothing of use. */
  readonly parse: (texts: readonly string[]) => T;
  /** Default 10 s. */
  readonly intervalMs?: number;
}

/**
 * What files hold, read again when they change. What cannot be used (two files that are replaced one after the other) is
 * told in the log, and the last good value stays. Looks now and then instead of being notified: files are replaced by
 * links to links (mounted Secrets), and a look costs microseconds.
 */
export class WatchedFiles<T> {
  private readonly options: WatchedFilesOptions<T>;
  private readonly deps: { readonly clock: Clock; readonly log: Logger };
  private readonly changed: Emitter<void>;
  private texts: readonly string[] = [];
  private value: T | undefined;
  private complaint = '';

  constructor(options: WatchedFilesOptions<T>, deps: WatchedFiles<T>['deps']) {
    this.options = options;
    this.deps = deps;
    this.changed = new Emitter((error) => deps.log.error({ error: messageOf(error) }, 'a listener failed'));
  }

  current(): T | undefined {
    return this.value;
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.changed.subscribe(listener);
  }

  /** The first reading. Throws InvalidConfig, naming the files. */
  async load(): Promise<void> {
    try {
      await this.look();
    } catch (error) {
      const { paths } = this.options;
      throw new CodedError('InvalidConfig', `${paths.join(' and ')}: cannot be used: ${messageOf(error)}`, {}, error);
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    const { paths, intervalMs = 10_000 } = this.options;
    for (;;) {
      try {
        await clock.sleep(intervalMs, signal);
      } catch {
        return;
      }
      try {
        await this.look();
        this.complaint = '';
      } catch (error) {
        const complaint = messageOf(error);
        if (complaint === this.complaint) continue;
        this.complaint = complaint;
        log.error({ files: paths, error: complaint }, 'changed files cannot be used; what they held before stays');
      }
    }
  }

  private async look(): Promise<void> {
    const { paths, parse } = this.options;
    const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
    if (texts.length === this.texts.length && texts.every((text, index) => text === this.texts[index])) return;
    const again = this.value !== undefined;
    this.value = parse(texts);
    this.texts = texts;
    if (!again) return;
    this.deps.log.info({ files: paths }, 'changed files are in use');
    this.changed.emit();
  }
}
