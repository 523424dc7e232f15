/** Eviction signals (kubelet eviction/api/types.go). */
export type Signal =
  | 'memory.available'
  | 'allocatableMemory.available'
  | 'nodefs.available'
  | 'nodefs.inodesFree'
  | 'imagefs.available'
  | 'imagefs.inodesFree'
  | 'containerfs.available'
  | 'containerfs.inodesFree'
  | 'pid.available';

export interface Observation {
  readonly available: number;
  readonly capacity: number;
}

/** What was measured; a signal that nobody measures crosses no threshold. */
export type Observations = Readonly<Partial<Record<Signal, Observation>>>;

/** An amount, with its text as configured, or a share of the capacity from 0 to 1. */
export type ThresholdValue = { readonly amount: number; readonly text: string } | { readonly share: number };

export interface Threshold {
  readonly signal: Signal;
  readonly value: ThresholdValue;
  /** 0: hard. */
  readonly graceMs: number;
  readonly minReclaim: ThresholdValue | undefined;
}

/** Where the file systems of a node are apart: they decide whose thresholds containerfs has. */
export type DiskLayout = 'single' | 'imagefs' | 'split';

/** What is short when a signal's threshold is crossed, in the words of events and messages. */
export type StarvedResource = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

const RESOURCE_OF: Readonly<Record<Signal, StarvedResource>> = {
  'memory.available': 'memory',
  'allocatableMemory.available': 'memory',
  'nodefs.available': 'ephemeral-storage',
  'nodefs.inodesFree': 'inodes',
  'imagefs.available': 'ephemeral-storage',
  'imagefs.inodesFree': 'inodes',
  'containerfs.available': 'ephemeral-storage',
  'containerfs.inodesFree': 'inodes',
  'pid.available': 'pids',
};

export function resourceOf(signal: Signal): StarvedResource {
  return RESOURCE_OF[signal];
}

export function isSignal(text: string): text is Signal {
  return Object.hasOwn(RESOURCE_OF, text);
}

export function thresholdAmount(value: ThresholdValue, capacity: number): number {
  return 'amount' in value ? value.amount : Math.floor(capacity * value.share);
}

/** Less is available than the threshold, or with `withReclaim` than the threshold and what has to be reclaimed beyond it. */
export function isCrossed(threshold: Threshold, observations: Observations, withReclaim: boolean): boolean {
  const observed = observations[threshold.signal];
  if (observed === undefined) return false;
  const { value, minReclaim } = threshold;
  const reclaim = withReclaim && minReclaim !== undefined ? thresholdAmount(minReclaim, observed.capacity) : 0;
  return observed.available < thresholdAmount(value, observed.capacity) + reclaim;
}
