import type { EventRecorder } from '../../cluster/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import { containerReference } from '../act/references.ts';
import { type FsUsage, isLocalEphemeral } from '../eviction/pod-usage.ts';
import type { Measurement } from './plugin.ts';
import type { VolumeFigures } from './volume-figures.ts';
import type { VolumeStatisticsMetrics } from './volume-statistics-metrics.ts';

/** A pod's volume that is there and can be measured. */
export interface MeasurableVolume extends Measurement {
  readonly name: string;
  readonly claim?: ClaimReference;
}

export interface ClaimReference {
  readonly namespace: string;
  readonly name: string;
}

export interface MeasuredVolume extends VolumeFigures {
  /** It takes room on nodefs for as long as the pod lives. */
  readonly ephemeral: boolean;
  readonly claim?: ClaimReference;
}

export interface VolumeStatisticsOptions {
  /** volumeStatsAggPeriod, milliseconds; negative: nothing is measured. */
  readonly everyMs: number;
}

export interface VolumeStatisticsDeps {
  /** Pods that are on this node and not over. */
  readonly pods: () => Iterable<Pod>;
  readonly measurable: (podUid: string) => readonly MeasurableVolume[];
  readonly events: EventRecorder;
  readonly metrics: Pick<VolumeStatisticsMetrics, 'took'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Kinds whose files this node writes itself: they are measured once, as kubelet does (NewCachedMetrics). */
const WRITTEN = ['configMap', 'secret', 'downwardAPI', 'projected'] as const;
/** So many servers are asked for their room at a time: each question is a process. */
const SERVERS = 4;

const none: ReadonlyMap<string, MeasuredVolume> = new Map();

/**
 * How full pods' volumes are, measured in the background (kubelet server/stats fs_resource_analyzer.go). Trees of files are
 * walked one after the other, so that millions of files in one pod's volume delay figures and nothing else; drivers and
 * servers are asked beside that, one question for each volume at a time, so that one which hangs delays its own figures.
 */
export class VolumeStatistics {
  private readonly options: VolumeStatisticsOptions;
  private readonly deps: VolumeStatisticsDeps;
  private readonly latest = new Map<string, Map<string, MeasuredVolume>>();
  /** Volumes that are being asked about. */
  private readonly asking = new Set<string>();
  private readonly queue: (() => Promise<void>)[] = [];
  private servers = 0;

  constructor(options: VolumeStatisticsOptions, deps: VolumeStatisticsDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** By volume, as measured last. */
  of(podUid: string): ReadonlyMap<string, MeasuredVolume> {
    return this.latest.get(podUid) ?? none;
  }

  /** Each claim of which something is known, once, however many pods have it. */
  *claims(): Generator<MeasuredVolume & { readonly claim: ClaimReference }> {
    const seen = new Set<string>();
    for (const volumes of this.latest.values()) {
      for (const { claim, ...volume } of volumes.values()) {
        const key = `${claim?.namespace}/${claim?.name}`;
        if (claim === undefined || seen.size === seen.add(key).size) continue;
        yield { ...volume, claim };
      }
    }
  }

  /** What a pod's volumes take on nodefs. */
  usage(podUid: string): ReadonlyMap<string, FsUsage> {
    const found = new Map<string, FsUsage>();
    for (const [name, { ephemeral, usedBytes, inodesUsed }] of this.of(podUid)) {
      if (ephemeral) found.set(name, { usedBytes, inodes: inodesUsed });
    }
    return found;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { everyMs } = this.options;
    if (everyMs < 0) return;
    while (!signal.aborted) {
      await this.measure(signal, false);
      await this.deps.clock.sleep(everyMs, signal).catch(() => {});
    }
  }

  /**
   * Measures what lies on nodefs anew, for a choice among pods that should not fall on figures of a minute ago; what takes
   * longer than `ms` keeps its last figure.
   */
  async freshen(ms: number, signal: AbortSignal): Promise<void> {
    if (this.options.everyMs < 0) return;
    const patience = new AbortController();
    const timer = this.deps.clock.after(ms, () => patience.abort());
    try {
      await this.measure(AbortSignal.any([signal, patience.signal]), true);
    } finally {
      timer.cancel();
    }
  }

  private async measure(signal: AbortSignal, nodefsOnly: boolean): Promise<void> {
    const pods = [...this.deps.pods()];
    const present = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const uid of this.latest.keys()) if (!present.has(uid)) this.latest.delete(uid);
    for (const pod of pods) {
      const { uid = '' } = pod.metadata;
      const volumes = this.deps.measurable(uid);
      const known = this.latest.get(uid) ?? new Map<string, MeasuredVolume>();
      this.latest.set(uid, known);
      for (const name of known.keys()) if (!volumes.some((volume) => volume.name === name)) known.delete(name);
      for (const volume of volumes) {
        if (signal.aborted) return;
        const spec = pod.spec.volumes?.find(({ name }) => name === volume.name);
        if (spec === undefined || (nodefsOnly && !isLocalEphemeral(spec))) continue;
        if (known.has(volume.name) && WRITTEN.some((kind) => spec[kind] !== undefined)) continue;
        const ask = (): Promise<void> => this.ask(pod, volume, isLocalEphemeral(spec), signal);
        if (volume.by === 'du' || volume.by === 'block') await ask();
        else this.aside(`${uid}/${volume.name}`, volume.by === 'statfs', ask);
      }
    }
  }

  private aside(key: string, isServer: boolean, ask: () => Promise<void>): void {
    if (this.asking.has(key)) return;
    this.asking.add(key);
    const asked = async (): Promise<void> => {
      await ask();
      this.asking.delete(key);
    };
    if (!isServer) {
      void asked();
      return;
    }
    this.queue.push(asked);
    if (this.servers < SERVERS) void this.askServers();
  }

  private async askServers(): Promise<void> {
    this.servers++;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) await next();
    this.servers--;
  }

  /** Never throws. */
  private async ask(pod: Pod, volume: MeasurableVolume, ephemeral: boolean, signal: AbortSignal): Promise<void> {
    const { clock, log, metrics } = this.deps;
    const { uid = '' } = pod.metadata;
    const { name, claim, by } = volume;
    const since = clock.monotonic();
    let figures: VolumeFigures | undefined;
    try {
      figures = await volume.run(signal);
    } catch (error) {
      if (signal.aborted) return;
      log.debug({ uid, volume: name, error: messageOf(error) }, 'a volume could not be measured');
    }
    metrics.took(by, (clock.monotonic() - since) / 1000);
    // Where the pod has gone meanwhile nobody would take them away again.
    const known = this.latest.get(uid);
    if (figures === undefined) {
      known?.delete(name);
      return;
    }
    known?.set(name, { ...figures, ephemeral, ...(claim === undefined ? {} : { claim }) });
    this.tell(pod, name, figures);
  }

  private tell(pod: Pod, name: string, { condition }: VolumeFigures): void {
    if (condition?.abnormal !== true) return;
    const message = `Volume ${name}: ${condition.message}`;
    this.deps.events.event(containerReference(pod), 'Warning', 'VolumeConditionAbnormal', message);
  }
}
