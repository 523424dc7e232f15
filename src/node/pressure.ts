import type { FilesystemCapacity } from '../host/machine/port.ts';
import { wholeValueOf } from '../model/quantity.ts';

/** What is left on the machine; undefined where nobody measures it. */
export interface Readings {
  readonly memoryAvailableBytes?: number;
  readonly nodefs?: FilesystemCapacity;
  readonly pidsAvailable?: number;
}

export type PressureKind = 'memory' | 'disk' | 'pid';

/** When each threshold was last found crossed (milliseconds since the epoch). */
export type PressureState = Readonly<Partial<Record<PressureKind, number>>>;

export interface PressureLimits {
  /** evictionHard: signal → quantity or percentage of capacity. */
  readonly thresholds: Readonly<Record<string, string>>;
  readonly memoryBytes: number;
  readonly maxPids: number;
}

/** evictionPressureTransitionPeriod: a condition stays this long after the shortage is over. */
const TRANSITION_MS = 300_000;

/** The state after a reading (kubelet eviction/helpers.go: available below the threshold is pressure). */
export function afterReading(
  state: PressureState,
  readings: Readings,
  limits: PressureLimits,
  now: number,
): PressureState {
  const { nodefs } = readings;
  const below = (signal: string, available: number | undefined, capacity: number): boolean => {
    const threshold = limits.thresholds[signal];
    if (threshold === undefined || available === undefined) return false;
    return available < amountOf(threshold, capacity);
  };
  const crossed: Record<PressureKind, boolean> = {
    memory: below('memory.available', readings.memoryAvailableBytes, limits.memoryBytes),
    disk:
      below('nodefs.available', nodefs?.availableBytes, nodefs?.capacityBytes ?? 0) ||
      below('nodefs.inodesFree', nodefs?.inodesFree, nodefs?.inodes ?? 0),
    pid: below('pid.available', readings.pidsAvailable, limits.maxPids),
  };
  const next: Partial<Record<PressureKind, number>> = { ...state };
  for (const kind of ['memory', 'disk', 'pid'] as const) if (crossed[kind]) next[kind] = now;
  return next;
}

export function underPressure(state: PressureState, kind: PressureKind, now: number): boolean {
  const at = state[kind];
  return at !== undefined && now - at < TRANSITION_MS;
}

function amountOf(threshold: string, capacity: number): number {
  return threshold.endsWith('%') ? (capacity * Number(threshold.slice(0, -1))) / 100 : wholeValueOf(threshold);
}
