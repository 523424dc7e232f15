import type { Counter, Metrics } from '../../kit/metrics.ts';

type Scope = 'container' | 'pod';
type Boundary = 'numa_node' | 'physical_cpu' | 'uncore_cache';

/** How often things were given within a boundary, where the settings promise that they are or nothing is given. */
export class AlignmentMetrics {
  private readonly granted: Counter;
  private readonly failed: Counter;

  constructor(metrics: Metrics) {
    const labels = ['scope', 'boundary'];
    this.granted = metrics.counter(
      'kubelet_container_aligned_compute_resources_count',
      'Containers, or pods, whose resources are within a boundary.',
      labels,
    );
    this.failed = metrics.counter(
      'kubelet_container_aligned_compute_resources_failure_count',
      'Containers, or pods, that could not have theirs within it.',
      labels,
    );
  }

  /** A value from the beginning on, so that one that stays 0 is seen as well. */
  expect(scope: Scope, boundary: Boundary): void {
    this.granted.inc({ scope, boundary }, 0);
    if (boundary !== 'uncore_cache') this.failed.inc({ scope, boundary }, 0);
  }

  count(scope: Scope, boundary: Boundary, granted: boolean): void {
    (granted ? this.granted : this.failed).inc({ scope, boundary });
  }
}
