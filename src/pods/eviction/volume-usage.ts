import type { StatsPort } from '../../host/stats/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import type { PodPaths } from '../volumes/pod-paths.ts';
import { type FsUsage, isLocalEphemeral } from './pod-usage.ts';

export interface VolumeUsageOptions {
  /** volumeStatsAggPeriod, milliseconds; negative: nothing is measured. */
  readonly everyMs: number;
}

export interface VolumeUsageDeps {
  /** Pods that are on this node and not over. */
  readonly pods: () => Iterable<Pod>;
  readonly paths: PodPaths;
  readonly stats: Pick<StatsPort, 'disk'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const nothing: ReadonlyMap<string, FsUsage> = new Map();

/**
 * What pods' emptyDir and configMap volumes take on nodefs, measured in the background, one volume after the other, so
 * that millions of files in one pod's volume delay figures and nothing else (kubelet server/stats fs_resource_analyzer.go).
 */
export class VolumeUsage {
  private readonly options: VolumeUsageOptions;
  private readonly deps: VolumeUsageDeps;
  private readonly latest = new Map<string, Map<string, FsUsage>>();

  constructor(options: VolumeUsageOptions, deps: VolumeUsageDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** By volume, as measured last. */
  of(uid: string): ReadonlyMap<string, FsUsage> {
    return this.latest.get(uid) ?? nothing;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { everyMs } = this.options;
    if (everyMs < 0) return;
    while (!signal.aborted) {
      await this.measure(signal);
      await this.deps.clock.sleep(everyMs, signal).catch(() => {});
    }
  }

  /**
   * Measures all anew, for a choice among pods that should not fall on figures of a minute ago; what takes longer than
   * `ms` keeps its last figure.
   */
  async freshen(ms: number, signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const timer = this.deps.clock.after(ms, () => patience.abort());
    try {
      await this.measure(AbortSignal.any([signal, patience.signal]));
    } finally {
      timer.cancel();
    }
  }

  private async measure(signal: AbortSignal): Promise<void> {
    const pods = [...this.deps.pods()];
    const present = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const uid of this.latest.keys()) if (!present.has(uid)) this.latest.delete(uid);
    for (const pod of pods) {
      if (signal.aborted) return;
      await this.measurePod(pod, signal);
    }
  }

  private async measurePod(pod: Pod, signal: AbortSignal): Promise<void> {
    const { paths, stats, log } = this.deps;
    const { uid = '' } = pod.metadata;
    const found = new Map<string, FsUsage>();
    for (const volume of pod.spec.volumes ?? []) {
      if (!isLocalEphemeral(volume)) continue;
      const plugin = volume.emptyDir === undefined ? 'kubernetes.io/configmap' : 'kubernetes.io/empty-dir';
      try {
        const usage = await stats.disk(paths.volume(uid, plugin, volume.name), signal);
        if (usage !== undefined) found.set(volume.name, usage);
      } catch (error) {
        if (signal.aborted) return;
        log.debug({ uid, volume: volume.name, error: messageOf(error) }, 'a volume could not be measured');
      }
    }
    if (found.size > 0) this.latest.set(uid, found);
    else this.latest.delete(uid);
  }
}
