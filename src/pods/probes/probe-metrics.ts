import type { Metrics } from '../../kit/metrics.ts';
import type { ProbeKind } from './port.ts';

export interface ProbeLabels {
  readonly kind: ProbeKind;
  readonly container: string;
  readonly pod: string;
  readonly namespace: string;
  readonly podUid: string;
}

export type ProbeMetricResult = 'successful' | 'failed' | 'unknown';

const RESULTS: readonly ProbeMetricResult[] = ['successful', 'failed', 'unknown'];
const KIND_NAMES: Readonly<Record<ProbeKind, string>> = {
  startup: 'Startup',
  liveness: 'Liveness',
  readiness: 'Readiness',
};
// The default buckets of Prometheus' client libraries, which kubelet uses here.
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** "Readiness", as events and metrics write it. */
export function kindName(kind: ProbeKind): string {
  return KIND_NAMES[kind];
}

/** prober_probe_total and prober_probe_duration_seconds (kubelet pkg/kubelet/prober/prober_manager.go). */
export class ProbeMetrics {
  private readonly total;
  private readonly duration;

  constructor(metrics: Metrics) {
    this.total = metrics.counter(
      'prober_probe_total',
      'Number of liveness, readiness and startup probes of a container, by result.',
      ['probe_type', 'result', 'container', 'pod', 'namespace', 'pod_uid'],
    );
    this.duration = metrics.histogram('prober_probe_duration_seconds', 'How long a probe took, in seconds.', BUCKETS, [
      'probe_type',
      'container',
      'pod',
      'namespace',
    ]);
  }

  /** Failures have no duration: what they took is mostly their timeout. */
  count(labels: ProbeLabels, result: ProbeMetricResult, seconds: number): void {
    this.total.inc({ ...totalLabels(labels), result });
    if (result !== 'failed') this.duration.observe(durationLabels(labels), seconds);
  }

  forget(labels: ProbeLabels): void {
    for (const result of RESULTS) this.total.remove({ ...totalLabels(labels), result });
    this.duration.remove(durationLabels(labels));
  }
}

function durationLabels(labels: ProbeLabels): Record<string, string> {
  const { container, pod, namespace } = labels;
  return { probe_type: KIND_NAMES[labels.kind], container, pod, namespace };
}

function totalLabels(labels: ProbeLabels): Record<string, string> {
  return { ...durationLabels(labels), pod_uid: labels.podUid };
}
