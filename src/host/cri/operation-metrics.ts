import type { Metrics } from '../../kit/metrics.ts';

/** Counts and times of runtime calls, under kubelet's names (pkg/kubelet/metrics/metrics.go). */
export class OperationMetrics {
  private readonly total;
  private readonly errors;
  private readonly duration;
  private readonly sandboxDuration;
  private readonly sandboxErrors;

  constructor(metrics: Metrics) {
    const byType = ['operation_type'];
    this.total = metrics.counter('kubelet_runtime_operations_total', 'Runtime operations by type.', byType);
    this.errors = metrics.counter('kubelet_runtime_operations_errors_total', 'Failed runtime operations.', byType);
    this.duration = metrics.histogram(
      'kubelet_runtime_operations_duration_seconds',
      'Seconds that runtime operations took.',
      exponentialBuckets(0.005, 2.5, 14),
      byType,
    );
    this.sandboxDuration = metrics.histogram(
      'kubelet_run_podsandbox_duration_seconds',
      'Seconds that it took to run a pod sandbox.',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      ['runtime_handler'],
    );
    this.sandboxErrors = metrics.counter('kubelet_run_podsandbox_errors_total', 'Failures to run a pod sandbox.', [
      'runtime_handler',
    ]);
  }

  record(operationType: string, seconds: number, failed: boolean): void {
    this.total.inc({ operation_type: operationType });
    this.duration.observe({ operation_type: operationType }, seconds);
    if (failed) this.errors.inc({ operation_type: operationType });
  }

  recordSandbox(runtimeHandler: string, seconds: number, failed: boolean): void {
    this.sandboxDuration.observe({ runtime_handler: runtimeHandler }, seconds);
    if (failed) this.sandboxErrors.inc({ runtime_handler: runtimeHandler });
  }
}

function exponentialBuckets(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => start * factor ** i);
}
