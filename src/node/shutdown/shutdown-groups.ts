import type { Pod } from '../../model/pod.ts';

/** Pods from this priority on have so long when the node shuts down. */
export interface ShutdownPeriod {
  readonly priority: number;
  readonly seconds: number;
}

export interface ShutdownPeriods {
  /** shutdownGracePeriod, milliseconds. */
  readonly allMs: number;
  /** shutdownGracePeriodCriticalPods, milliseconds: the last part of it. */
  readonly criticalMs: number;
  /** shutdownGracePeriodByPodPriority. */
  readonly byPriority: readonly ShutdownPeriod[];
}

export interface ShutdownGroup extends ShutdownPeriod {
  readonly pods: readonly Pod[];
}

/** scheduling.SystemCriticalPriority */
const SYSTEM_CRITICAL = 2_000_000_000;

/** The periods in the order in which they pass, lowest priority first; none: shutdowns are not held up. */
export function shutdownPeriods({ allMs, criticalMs, byPriority }: ShutdownPeriods): readonly ShutdownPeriod[] {
  if (byPriority.length > 0) return [...byPriority].sort((a, b) => a.priority - b.priority);
  if (allMs === 0 || criticalMs > allMs) return [];
  return [
    { priority: 0, seconds: Math.floor((allMs - criticalMs) / 1000) },
    { priority: SYSTEM_CRITICAL, seconds: Math.floor(criticalMs / 1000) },
  ];
}

/**
 * The pods of each period: each pod belongs to the highest priority that is not above its own, those below all of them to
 * the lowest (nodeshutdown_manager.go groupByPriority).
 */
export function shutdownGroups(periods: readonly ShutdownPeriod[], pods: readonly Pod[]): readonly ShutdownGroup[] {
  const groups = periods.map((period) => ({ ...period, pods: [] as Pod[] }));
  for (const pod of pods) {
    const priority = pod.spec.priority ?? 0;
    const group = groups.findLast((candidate) => candidate.priority <= priority) ?? groups[0];
    group?.pods.push(pod);
  }
  return groups;
}
