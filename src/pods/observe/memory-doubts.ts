import type { Pod } from '../../model/pod.ts';
import { wholeValueOf } from '../../model/quantity.ts';
import { type ContainerRecord, mayHaveRunOutOfMemory } from './pod-runtime.ts';

export interface MemoryDoubtsDeps {
  /** The most memory (bytes) that all of a pod ever used at once; undefined where nobody can tell. */
  readonly memoryPeak: (pod: Pod) => Promise<number | undefined>;
  /** Asks for another look at the pod: a doubt may be over. */
  readonly again: (uid: string) => void;
}

/**
 * The kernel counts charges in batches per CPU and a huge page at once, so that a cgroup may be full somewhat below its
 * limit. A pod that stayed further below than this part of a limit has never met it.
 */
const NEAR_LIMIT = 0.9;

/** What is known of one pod. */
export interface MemoryFacts {
  readonly pod: Pod;
  /** The pod's peak in bytes, by the container about whose end it was asked: undefined while it is being read. */
  readonly memoryPeaks: Map<string, number | undefined>;
}

/**
 * Whether a container that SIGKILL ended may have run out of memory, which the runtime may tell only later. Nearly all
 * of them did not: their pod never came near the limit, and one read of its cgroup says so at once.
 */
export class MemoryDoubts {
  private readonly deps: MemoryDoubtsDeps;

  constructor(deps: MemoryDoubtsDeps) {
    this.deps = deps;
  }

  /** Asks for the peak where it matters and is not known yet. */
  isOpen(facts: MemoryFacts, record: ContainerRecord): boolean {
    if (!mayHaveRunOutOfMemory(record)) return false;
    const limit = leastMemoryLimit(facts.pod, record.name);
    // Without a limit of its own or of its pod, a container runs out of memory only when the whole machine does.
    if (limit === undefined) return false;
    if (!facts.memoryPeaks.has(record.id)) this.ask(facts, record.id);
    return (facts.memoryPeaks.get(record.id) ?? Number.POSITIVE_INFINITY) >= NEAR_LIMIT * limit;
  }

  private ask({ pod, memoryPeaks }: MemoryFacts, containerId: string): void {
    memoryPeaks.set(containerId, undefined);
    void this.deps
      .memoryPeak(pod)
      .catch(() => undefined)
      .then((peak) => {
        if (peak === undefined || !memoryPeaks.has(containerId)) return;
        memoryPeaks.set(containerId, peak);
        this.deps.again(pod.metadata.uid ?? '');
      });
  }
}

function leastMemoryLimit({ spec }: Pod, name: string): number | undefined {
  const all = [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
  const limits = [all.find((one) => one.name === name)?.resources, spec.resources].flatMap((resources) => {
    const limit = resources?.limits?.['memory'];
    return limit === undefined ? [] : [wholeValueOf(limit)];
  });
  return limits.length === 0 ? undefined : Math.min(...limits);
}
