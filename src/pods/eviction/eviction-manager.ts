import type { EventRecorder } from '../../cluster/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import {
  type DiskLayout,
  isCrossed,
  type Observations,
  resourceOf,
  type Signal,
  type Threshold,
} from '../../model/eviction.ts';
import type { ObjectReference } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { containerReference } from '../act/references.ts';
import { isCriticalPod } from '../admit/critical-pod.ts';
import type { PodEnd } from '../facts.ts';
import { identityOf, podText } from '../identity.ts';
import { type EvictionText, evictionMessage } from './eviction-message.ts';
import type { UsageOf } from './pod-usage.ts';
import { rankPods } from './rank-pods.ts';
import { storageExcess, storageNeeds } from './storage-limits.ts';
import type { UsageSource } from './usage-source.ts';

/** A measurement of the node. */
export interface PressureLook {
  readonly layout: DiskLayout;
  readonly observations: Observations;
  readonly thresholds: readonly Threshold[];
  /** Those that call for action now: crossed for longer than their grace period, or not yet back by the minimum reclaim. */
  readonly met: readonly Threshold[];
}

export interface EvictionOptions {
  /** evictionMaxPodGracePeriod: what a pod gets at most when a soft threshold evicts it. */
  readonly maxPodGraceSeconds: number;
  /** localStorageCapacityIsolation: pods are held to their limits of local storage. */
  readonly storageIsolation: boolean;
}

export interface EvictionDeps {
  /** Measures now; undefined when that takes too long. */
  readonly look: (signal: AbortSignal) => Promise<PressureLook | undefined>;
  readonly pods: {
    activePods(): readonly Pod[];
    evict(uid: string, end: PodEnd): Promise<void>;
    isReclaimed(uid: string): boolean;
    /** Removes the containers of pods that have ended. */
    discardEnded(patienceMs: number): Promise<void>;
  };
  readonly images: { deleteUnused(): Promise<void> };
  readonly usage: UsageSource;
  readonly node: ObjectReference;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** evictionMonitoringPeriod (kubelet.go); podCleanupTimeout and podCleanupPollFreq (eviction_manager.go). */
const PERIOD_MS = 10_000;
const CLEANUP_MS = 30_000;
const CLEANUP_POLL_MS = 1000;
/** What a pod gets to end by itself when there is no time: seconds. */
const IMMEDIATE_SECONDS = 1;
/** Dead containers are waited for no longer than this. */
const DISCARD_MS = 30_000;
const AGE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * Ends pods when the node runs out of memory, disk or process ids, and pods that take more local storage than they may:
 * one look after the other, one pod at a time, what helps without killing first (kubelet eviction/eviction_manager.go).
 */
export class EvictionManager {
  private readonly options: EvictionOptions;
  private readonly deps: EvictionDeps;
  private readonly evictions;
  private readonly statsAge;

  constructor(options: EvictionOptions, deps: EvictionDeps) {
    this.options = options;
    this.deps = deps;
    this.evictions = deps.metrics.counter('kubelet_evictions', 'Pods that were evicted, by what called for it.', [
      'eviction_signal',
    ]);
    this.statsAge = deps.metrics.histogram(
      'kubelet_eviction_stats_age_seconds',
      'How old the measurement was that a pod was evicted for, by signal.',
      AGE_BUCKETS,
      ['eviction_signal'],
    );
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    while (!signal.aborted) {
      try {
        const evicted = await this.pass(signal);
        if (evicted.length > 0) await this.whenReclaimed(evicted, signal);
        else await clock.sleep(PERIOD_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: messageOf(error) }, 'could not look for pods to evict');
        await clock.sleep(PERIOD_MS, signal).catch(() => {});
      }
    }
  }

  /** One look, and what follows from it; answers the pods that were ended. */
  async pass(signal: AbortSignal): Promise<readonly Pod[]> {
    const { look: measure, pods, events, node, log, clock } = this.deps;
    const measuredAt = clock.monotonic();
    const look = await measure(signal);
    if (look === undefined) return [];
    const active = pods.activePods();
    if (this.options.storageIsolation) {
      const evicted = await this.overLimits(active, look.layout, signal);
      if (evicted.length > 0) return evicted;
    }
    const met = memoryFirst(look.met);
    const [threshold] = met;
    if (threshold === undefined) return [];
    const resource = resourceOf(threshold.signal);
    log.warn({ signal: threshold.signal, ...look.observations[threshold.signal] }, 'the node is short; reclaiming');
    events.event(node, 'Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    if (await this.reclaimedFromNode(threshold.signal, look.layout, signal)) return [];
    if (active.length === 0) {
      log.warn({ resource }, 'the node is short, and no pod is left to evict');
      return [];
    }
    const usageOf = await this.deps.usage.forResource(resource, active, signal);
    for (const { signal: name } of met) {
      this.statsAge.observe({ eviction_signal: name }, (clock.monotonic() - measuredAt) / 1000);
    }
    const victim = rankPods(threshold.signal, look.layout, active, usageOf).find((pod) => this.mayEvict(pod));
    if (victim === undefined) return [];
    const text = await this.reason(victim, usageOf, met, look.observations);
    await this.evict(victim, threshold.signal, this.graceFor(victim, threshold), text, text.message);
    return [victim];
  }

  private async overLimits(active: readonly Pod[], layout: DiskLayout, signal: AbortSignal): Promise<readonly Pod[]> {
    const needs = active.map((pod) => ({ pod, ...storageNeeds(pod) }));
    const measured = needs.filter(({ containers }) => containers).map(({ pod }) => pod);
    const sized = needs.filter(({ containers, volumes }) => volumes && !containers).map(({ pod }) => pod);
    if (measured.length + sized.length === 0) return [];
    const { usage } = this.deps;
    const [whole, ofVolumes] = [await usage.disk(measured, signal), await usage.disk(sized, signal, true)];
    const evicted: Pod[] = [];
    for (const pod of active) {
      const used = whole(pod) ?? ofVolumes(pod);
      const excess = used === undefined ? undefined : storageExcess(pod, used, layout !== 'single');
      if (excess === undefined || !this.mayEvict(pod)) continue;
      await this.evict(pod, excess.signal, IMMEDIATE_SECONDS, { message: excess.message, annotations: {} }, undefined);
      evicted.push(pod);
    }
    return evicted;
  }

  /** True when what nobody needs was enough (buildSignalToNodeReclaimFuncs). */
  private async reclaimedFromNode(crossed: Signal, layout: DiskLayout, signal: AbortSignal): Promise<boolean> {
    const { pods, images, look: measure, log } = this.deps;
    const steps = { containers: () => pods.discardEnded(DISCARD_MS), images: () => images.deleteUnused() };
    const reclaims = reclaimable(crossed, layout);
    if (reclaims.length === 0) return false;
    for (const what of reclaims) {
      await steps[what]().catch((error: unknown) =>
        log.warn({ what, error: messageOf(error) }, 'could not reclaim what nobody needs'),
      );
    }
    const look = await measure(signal);
    if (look === undefined) return false;
    return !look.thresholds.some((threshold) => isCrossed(threshold, look.observations, true));
  }

  private async reason(
    pod: Pod,
    usageOf: UsageOf,
    met: readonly Threshold[],
    observations: Observations,
  ): Promise<EvictionText> {
    const { usage } = this.deps;
    const resource = resourceOf(met[0]?.signal ?? 'memory.available');
    const used = usageOf(pod);
    const whole = used === undefined || resource !== 'memory' ? used : await usage.withContainerMemory(pod, used);
    return evictionMessage(resource, pod, whole, met, observations);
  }

  private graceFor({ spec }: Pod, { graceMs }: Threshold): number {
    if (graceMs === 0) return IMMEDIATE_SECONDS;
    const { maxPodGraceSeconds: most } = this.options;
    return Math.min(most, spec.terminationGracePeriodSeconds ?? most);
  }

  /** Static pods are not admitted again after an eviction, and the system's own keep the node alive. */
  private mayEvict(pod: Pod): boolean {
    if (!isCriticalPod(pod)) return true;
    this.deps.log.warn({ pod: podText(identityOf(pod)) }, 'a critical pod is not evicted');
    return false;
  }

  private async evict(
    pod: Pod,
    signal: string,
    graceSeconds: number,
    { message, annotations }: EvictionText,
    disruption: string | undefined,
  ): Promise<void> {
    const { events, pods, log } = this.deps;
    events.event(containerReference(pod), 'Warning', 'Evicted', message, annotations);
    log.warn({ pod: podText(identityOf(pod)), signal, message }, 'evicting a pod');
    const end: PodEnd = { reason: 'Evicted', message, graceSeconds, evicted: true };
    await pods.evict(pod.metadata.uid ?? '', disruption === undefined ? end : { ...end, disruption });
    this.evictions.inc({ eviction_signal: signal });
  }

  private async whenReclaimed(evicted: readonly Pod[], signal: AbortSignal): Promise<void> {
    const { pods, clock, log } = this.deps;
    const until = clock.monotonic() + CLEANUP_MS;
    while (clock.monotonic() < until) {
      await clock.sleep(CLEANUP_POLL_MS, signal);
      if (evicted.every(({ metadata }) => pods.isReclaimed(metadata.uid ?? ''))) return;
    }
    const names = evicted.map((pod) => podText(identityOf(pod)));
    log.warn({ pods: names }, 'evicted pods have not given back all within 30 s');
  }
}

function memoryFirst(thresholds: readonly Threshold[]): readonly Threshold[] {
  const rank = ({ signal }: Threshold): number => (resourceOf(signal) === 'memory' ? 0 : 1);
  return [...thresholds].sort((a, b) => rank(a) - rank(b));
}

/** What of the node's own can be given up for a signal: dead containers first, then unused images. */
function reclaimable(signal: Signal, layout: DiskLayout): readonly ('containers' | 'images')[] {
  const resource = resourceOf(signal);
  if (resource !== 'ephemeral-storage' && resource !== 'inodes') return [];
  const filesystem = signal.split('.')[0];
  switch (layout) {
    case 'single':
      return ['containers', 'images'];
    case 'imagefs':
      return filesystem === 'nodefs' ? [] : ['containers', 'images'];
    case 'split':
      return filesystem === 'imagefs' ? ['images'] : ['containers'];
  }
}
