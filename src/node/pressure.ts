import {
  type DiskLayout,
  isCrossed,
  isSignal,
  type Observations,
  type Signal,
  type Threshold,
  type ThresholdValue,
} from '../model/eviction.ts';
import { wholeValueOf } from '../model/quantity.ts';

export type PressureKind = 'memory' | 'disk' | 'pid';

export interface EvictionOptions {
  /** evictionHard and evictionSoft: signal → quantity or percentage of capacity. */
  readonly hard: Readonly<Record<string, string>>;
  readonly soft: Readonly<Record<string, string>>;
  /** evictionSoftGracePeriod, milliseconds by signal. */
  readonly softGraceMs: Readonly<Record<string, number>>;
  readonly minimumReclaim: Readonly<Record<string, string>>;
  /** evictionPressureTransitionPeriod: a condition stays this long after the shortage is over. */
  readonly transitionMs: number;
  /** enforceNodeAllocatable has "pods": what pods use together is compared with their cgroup's limit, too. */
  readonly podsEnforced: boolean;
}

const KIND_OF: Readonly<Record<Signal, PressureKind>> = {
  'memory.available': 'memory',
  'allocatableMemory.available': 'memory',
  'nodefs.available': 'disk',
  'nodefs.inodesFree': 'disk',
  'imagefs.available': 'disk',
  'imagefs.inodesFree': 'disk',
  'containerfs.available': 'disk',
  'containerfs.inodesFree': 'disk',
  'pid.available': 'pid',
};

/**
 * The thresholds that a configuration makes (eviction/helpers.go ParseThresholdConfig, UpdateContainerFsThresholds):
 * 0 % and 100 % are none; the pods' cgroup has the node's hard memory threshold; containerfs follows the file system
 * that it is on, whatever is configured for it.
 */
export function evictionThresholds(options: EvictionOptions, layout: DiskLayout): readonly Threshold[] {
  const thresholds: Threshold[] = [];
  for (const [statements, hard] of [
    [options.hard, true],
    [options.soft, false],
  ] as const) {
    for (const [signal, text] of Object.entries(statements)) {
      if (!isSignal(signal) || signal.startsWith('containerfs.')) continue;
      if (text === '0%' || text === '100%') continue;
      const reclaim = options.minimumReclaim[signal];
      const threshold: Threshold = {
        signal,
        value: thresholdValue(text),
        graceMs: hard ? 0 : (options.softGraceMs[signal] ?? 0),
        minReclaim: reclaim === undefined ? undefined : thresholdValue(reclaim),
      };
      thresholds.push(threshold);
      if (signal === 'memory.available' && hard && options.podsEnforced) {
        thresholds.push({ ...threshold, signal: 'allocatableMemory.available' });
      }
    }
  }
  const source = layout === 'imagefs' ? 'imagefs' : 'nodefs';
  for (const of of ['available', 'inodesFree'] as const) {
    for (const threshold of thresholds.filter(({ signal }) => signal === `${source}.${of}`)) {
      thresholds.push({ ...threshold, signal: `containerfs.${of}` });
    }
  }
  return thresholds;
}

/** Times are Clock.monotonic. */
export interface PressureState {
  /** Since when each threshold is crossed, for its grace period. */
  readonly since: ReadonlyMap<Threshold, number>;
  /** Crossed for longer than their grace period at the last look: they end only when the minimum is reclaimed as well. */
  readonly met: ReadonlySet<Threshold>;
  /** When each pressure was last seen. */
  readonly seen: Readonly<Partial<Record<PressureKind, number>>>;
}

export const noPressure: PressureState = { since: new Map(), met: new Set(), seen: {} };

/**
 * The state after a measurement (eviction_manager.go synchronize). A pressure shows as soon as a threshold is crossed,
 * soft ones included: the grace period only delays evictions.
 */
export function afterObservation(
  state: PressureState,
  thresholds: readonly Threshold[],
  observations: Observations,
  now: number,
): PressureState {
  const crossed = thresholds.filter(
    (threshold) =>
      isCrossed(threshold, observations, false) ||
      (state.met.has(threshold) && isCrossed(threshold, observations, true)),
  );
  const since = new Map(crossed.map((threshold) => [threshold, state.since.get(threshold) ?? now]));
  const met = new Set(crossed.filter((threshold) => now - (since.get(threshold) ?? now) >= threshold.graceMs));
  const seen: Partial<Record<PressureKind, number>> = { ...state.seen };
  for (const { signal } of crossed) seen[KIND_OF[signal]] = now;
  return { since, met, seen };
}

/** The pressures that the node is under: seen within the transition period. */
export function pressuresOf(state: PressureState, transitionMs: number, now: number): ReadonlySet<PressureKind> {
  const kinds = new Set<PressureKind>();
  for (const kind of ['memory', 'disk', 'pid'] as const) {
    const at = state.seen[kind];
    if (at !== undefined && now - at < transitionMs) kinds.add(kind);
  }
  return kinds;
}

function thresholdValue(text: string): ThresholdValue {
  if (!text.endsWith('%')) return { amount: wholeValueOf(text), text };
  // kubelet keeps percentages as 32-bit floats, which shows in the last digits of allocatable.
  return { share: Math.fround(Math.fround(Number(text.slice(0, -1))) / 100) };
}
