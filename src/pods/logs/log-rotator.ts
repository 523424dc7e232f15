import type { CriRuntime } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { compressedName, planRotation, rotatedName } from './rotation.ts';

export interface LogRotatorOptions {
  /** containerLogMaxSize in bytes; a negative one turns rotation off. */
  readonly maxBytes: number;
  /** containerLogMaxFiles, the live one included. */
  readonly maxFiles: number;
  /** containerLogMaxWorkers: logs that are rotated at the same time. */
  readonly workers: number;
  /** containerLogMonitorInterval, milliseconds. */
  readonly everyMs: number;
}

export interface LiveLog {
  readonly containerId: string;
  /** Absolute. */
  readonly path: string;
}

export interface LogRotatorDeps {
  /** Of containers that run: others write nothing any more. */
  readonly liveLogs: () => Iterable<LiveLog>;
  readonly cri: Pick<CriRuntime, 'reopenContainerLog'>;
  readonly files: Pick<Files, 'lstat' | 'list' | 'remove' | 'rename' | 'compress'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Rotates containers' logs as kubelet does (logs/container_log_manager.go). A log that fails is tried again at the next look. */
export class LogRotator {
  private readonly options: LogRotatorOptions;
  private readonly deps: LogRotatorDeps;
  private readonly waiting = new Map<string, LiveLog>();
  private readonly working = new Map<string, Promise<void>>();
  private readonly failing = new Set<string>();

  constructor(options: LogRotatorOptions, deps: LogRotatorDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** Looks at all logs now and then until aborted, then finishes what is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const { maxBytes, everyMs } = this.options;
    if (maxBytes < 0) return;
    while (!signal.aborted) {
      this.look();
      await this.deps.clock.sleep(everyMs, signal).catch(() => {});
    }
    this.waiting.clear();
    await this.idle();
  }

  /** Queues every live log that is not at work; a long compression holds up its worker only. */
  look(): void {
    const seen = new Set<string>();
    for (const live of this.deps.liveLogs()) {
      seen.add(live.containerId);
      if (!this.working.has(live.containerId)) this.waiting.set(live.containerId, live);
    }
    for (const id of this.failing) if (!seen.has(id)) this.failing.delete(id);
    this.startWork();
  }

  /** Resolves once nothing is queued or at work. */
  async idle(): Promise<void> {
    while (this.working.size > 0) await Promise.all(this.working.values());
  }

  private startWork(): void {
    for (const [id, live] of this.waiting) {
      if (this.working.size >= this.options.workers) return;
      this.waiting.delete(id);
      const work = this.process(live)
        .then(() => void this.failing.delete(id))
        .catch((error: unknown) => this.tell(live, error))
        .finally(() => {
          this.working.delete(id);
          this.startWork();
        });
      this.working.set(id, work);
    }
  }

  private tell({ containerId, path }: LiveLog, error: unknown): void {
    const level = this.failing.has(containerId) ? 'debug' : 'warn';
    this.failing.add(containerId);
    this.deps.log[level]({ containerId, path, error: messageOf(error) }, 'a container log could not be rotated');
  }

  private async process({ containerId, path }: LiveLog): Promise<void> {
    const { cri, files, log } = this.deps;
    let info = await files.lstat(path);
    if (info === undefined) {
      // A rotation that was cut off between its two halves, or somebody who tidied up: the runtime makes it anew.
      await cri.reopenContainerLog(containerId);
      info = await files.lstat(path);
    }
    // Nobody but the runtime has business here; what a link leads to is no log of ours.
    if (info?.kind !== 'file' || info.size < this.options.maxBytes) return;
    await this.makeRoom(path);
    await this.rotate(containerId, path);
    log.debug({ containerId, path, bytes: info.size }, 'container log rotated');
  }

  private async makeRoom(path: string): Promise<void> {
    const { files } = this.deps;
    const slash = path.lastIndexOf('/');
    const directory = path.slice(0, slash);
    const names = (await files.list(directory)) ?? [];
    const { remove, compress } = planRotation(path.slice(slash + 1), names, this.options.maxFiles);
    for (const name of remove) await files.remove(`${directory}/${name}`);
    for (const name of compress) {
      const { temporary, final } = compressedName(`${directory}/${name}`);
      // Under a name that the next round removes, should this process die now.
      await files.compress(`${directory}/${name}`, temporary);
      await files.rename(temporary, final);
      await files.remove(`${directory}/${name}`);
    }
  }

  private async rotate(containerId: string, path: string): Promise<void> {
    const { cri, files, clock } = this.deps;
    const rotated = rotatedName(path, clock.now());
    await files.rename(path, rotated);
    try {
      await cri.reopenContainerLog(containerId);
    } catch (error) {
      // The runtime goes on writing to the old file: under its own name it is rotated again next time.
      await files.rename(rotated, path);
      throw error;
    }
  }
}
