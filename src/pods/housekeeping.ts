import type { Files } from '../host/files/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import type { VolumeManager } from './volumes/port.ts';

export interface HousekeepingOptions {
  readonly podLogsDir: string;
  /** Between two sweeps, milliseconds. */
  readonly everyMs: number;
  /** Between two looks at the links to logs (kubelet's container GC: every minute). */
  readonly linksEveryMs: number;
}

export interface HousekeepingDeps {
  /** Pods that the API or the runtime knows; asked only once both have been listed. */
  readonly knownUids: () => ReadonlySet<string>;
  readonly volumes: Pick<VolumeManager, 'existing' | 'tearDown'>;
  readonly cgroups: { orphans(known: ReadonlySet<string>): Promise<string[]>; remove(uid: string): Promise<void> };
  readonly files: Pick<Files, 'list' | 'removeTree'>;
  /** Links to containers' logs that lead nowhere. */
  readonly removeDanglingLinks: () => Promise<void>;
  /** Told when a sweep failed as a whole, once a minute at most. */
  readonly failed: (message: string) => void;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Removes what pods left that nobody knows any more: a process that was killed between two steps, or a node whose state
 * was lost. What is found orphaned twice in a row goes, so that a pod just being made is never taken for one.
 */
export class Housekeeping {
  private readonly options: HousekeepingOptions;
  private readonly deps: HousekeepingDeps;
  private suspects: ReadonlySet<string> = new Set();
  private linksAt = Number.NEGATIVE_INFINITY;
  private readonly cleaned;
  private readonly notCleaned;
  private toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: HousekeepingOptions, deps: HousekeepingDeps) {
    this.options = options;
    this.deps = deps;
    this.cleaned = deps.metrics.gauge(
      'kubelet_orphan_pod_cleaned_volumes',
      'The total number of orphaned Pods whose volumes were cleaned in the last periodic sweep.',
    );
    this.notCleaned = deps.metrics.gauge(
      'kubelet_orphan_pod_cleaned_volumes_errors',
      'The number of orphaned Pods whose volumes failed to be cleaned in the last periodic sweep.',
    );
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.sweep().catch((error: unknown) => this.tell(error));
      await this.links().catch((error: unknown) => this.tell(error));
      await this.deps.clock.sleep(this.options.everyMs, signal).catch(() => {});
    }
  }

  private async links(): Promise<void> {
    const now = this.deps.clock.monotonic();
    if (now - this.linksAt < this.options.linksEveryMs) return;
    this.linksAt = now;
    await this.deps.removeDanglingLinks();
  }

  private tell(error: unknown): void {
    const { clock, log, failed } = this.deps;
    log.warn({ error: messageOf(error) }, 'could not look for what vanished pods left');
    const now = clock.monotonic();
    if (now - this.toldAt < this.options.linksEveryMs) return;
    this.toldAt = now;
    failed(messageOf(error));
  }

  async sweep(): Promise<void> {
    const { volumes, cgroups, files, knownUids } = this.deps;
    const logs = await this.logDirectories();
    const existing = new Set(await volumes.existing());
    const found = new Set([...existing, ...(await cgroups.orphans(knownUids())), ...logs.keys()]);
    const known = knownUids();
    const orphans = new Set([...found].filter((uid) => !known.has(uid)));
    let [pods, errors] = [0, 0];
    for (const uid of orphans) {
      if (!this.suspects.has(uid)) continue;
      this.deps.log.info({ uid }, 'removing what a vanished pod left');
      const directory = logs.get(uid);
      if (existing.has(uid)) pods++;
      if (!(await this.attempt(uid, () => volumes.tearDown(uid)))) errors++;
      await this.attempt(uid, () => cgroups.remove(uid));
      if (directory !== undefined) await this.attempt(uid, () => files.removeTree(directory));
    }
    this.suspects = orphans;
    this.cleaned.set(pods);
    this.notCleaned.set(errors);
  }

  private async attempt(uid: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.deps.log.warn({ uid, error: messageOf(error) }, 'an orphan could not be removed; trying again later');
      return false;
    }
  }

  /** `<namespace>_<name>_<uid>` by UID; anything else below is not ours. */
  private async logDirectories(): Promise<Map<string, string>> {
    const { podLogsDir } = this.options;
    const found = new Map<string, string>();
    for (const name of (await this.deps.files.list(podLogsDir)) ?? []) {
      const parts = name.split('_');
      if (parts.length === 3 && parts[2] !== undefined) found.set(parts[2], `${podLogsDir}/${name}`);
    }
    return found;
  }
}
