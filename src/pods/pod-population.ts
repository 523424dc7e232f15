import type { Metrics } from '../kit/metrics.ts';
import type { Pod } from '../model/pod.ts';
import { isStaticPod } from '../model/static-pod.ts';

/** How one pod stands with this node. */
export interface PodStanding {
  readonly pod: Pod;
  readonly lifecycle: 'sync' | 'terminating' | 'terminated';
  /** desired: somebody wants it; orphan: nobody does any more; runtime_only: nobody did, the runtime had it. */
  readonly config: 'desired' | 'orphan' | 'runtime_only';
  /** It was let in and holds its resources. */
  readonly active: boolean;
}

const LIFECYCLES = ['sync', 'terminating', 'terminated'] as const;
/** The pairs that there can be (kubelet_pods.go HandlePodCleanups). */
const CONFIGS = [
  ['desired', 'true'],
  ['desired', ''],
  ['orphan', 'true'],
  ['orphan', ''],
  ['runtime_only', 'unknown'],
] as const;

/** The gauges of how many pods there are, counted when somebody asks. */
export class PodPopulation {
  private source: () => Iterable<PodStanding> = () => [];

  constructor(metrics: Metrics) {
    const byStatic = (of: (standing: PodStanding) => boolean): Map<string, number> => {
      const counts = new Map([
        ['', 0],
        ['true', 0],
      ]);
      for (const standing of this.source()) if (of(standing)) increase(counts, staticOf(standing.pod));
      return counts;
    };
    metrics.gauge('kubelet_desired_pods', 'Pods that somebody wants on this node.', ['static'], (gauge) => {
      for (const [label, count] of byStatic(({ config }) => config === 'desired')) gauge.set({ static: label }, count);
    });
    metrics.gauge('kubelet_active_pods', 'Pods that hold resources of this node.', ['static'], (gauge) => {
      for (const [label, count] of byStatic(({ active }) => active)) gauge.set({ static: label }, count);
    });
    const labels = ['lifecycle', 'config', 'static'];
    metrics.gauge('kubelet_working_pods', 'Pods that this node has to do with.', labels, (gauge) => {
      const counts = new Map<string, number>();
      for (const { pod, lifecycle, config } of this.source()) {
        increase(counts, `${lifecycle} ${config} ${config === 'runtime_only' ? 'unknown' : staticOf(pod)}`);
      }
      for (const lifecycle of LIFECYCLES) {
        for (const [config, isStatic] of CONFIGS) {
          gauge.set({ lifecycle, config, static: isStatic }, counts.get(`${lifecycle} ${config} ${isStatic}`) ?? 0);
        }
      }
    });
    metrics.gauge('kubelet_managed_ephemeral_containers', 'Ephemeral containers of desired pods.', [], (gauge) => {
      let count = 0;
      for (const { pod, config } of this.source()) {
        if (config === 'desired') count += pod.spec.ephemeralContainers?.length ?? 0;
      }
      gauge.set(count);
    });
  }

  /** Whom to ask. */
  follow(source: () => Iterable<PodStanding>): void {
    this.source = source;
  }
}

/** "true" or "", as kubelet labels it. */
export function staticOf(pod: Pod): string {
  return isStaticPod(pod) ? 'true' : '';
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
