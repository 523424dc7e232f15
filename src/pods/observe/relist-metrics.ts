import type { Metrics } from '../../kit/metrics.ts';

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * kubelet_pleg_* and kubelet_evented_pleg_*: the lists of what the runtime runs, and its events. The clock is a monotonic
 * one, in milliseconds, where not said otherwise.
 */
export class RelistMetrics {
  private readonly duration;
  private readonly interval;
  private readonly lastSeen;
  private readonly podDuration;
  private readonly connections;
  private readonly connectionErrors;
  private readonly latency;
  private lastEnd: number | undefined;

  constructor(metrics: Metrics) {
    this.duration = metrics.histogram('kubelet_pleg_relist_duration_seconds', 'How long lists took.', BUCKETS);
    this.interval = metrics.histogram('kubelet_pleg_relist_interval_seconds', 'Between lists.', BUCKETS);
    this.lastSeen = metrics.gauge('kubelet_pleg_last_seen_seconds', 'When the runtime was listed last.');
    this.podDuration = metrics.histogram(
      'kubelet_pleg_pod_relist_duration_seconds',
      'How long lists of a single pod took.',
      BUCKETS,
    );
    metrics.counter('kubelet_pleg_discard_events', 'Events that were thrown away; there is no queue here to overflow.');
    this.connections = metrics.counter(
      'kubelet_evented_pleg_connection_success_count',
      'How often the stream of events of the runtime was connected.',
    );
    this.connectionErrors = metrics.counter(
      'kubelet_evented_pleg_connection_error_count',
      'How often the stream of events of the runtime could not be had.',
    );
    this.latency = metrics.histogram(
      'kubelet_evented_pleg_connection_latency_seconds',
      'From an event in the runtime to here.',
      BUCKETS,
    );
  }

  /** A list that began at `since` is complete at `now`; `wall` is now in milliseconds since the epoch. */
  listed(since: number, now: number, wall: number): void {
    this.duration.observe((now - since) / 1000);
    if (this.lastEnd !== undefined) this.interval.observe((since - this.lastEnd) / 1000);
    this.lastEnd = now;
    this.lastSeen.set(wall / 1000);
  }

  podListed(since: number, now: number): void {
    this.podDuration.observe((now - since) / 1000);
  }

  connected(): void {
    this.connections.inc();
  }

  notConnected(): void {
    this.connectionErrors.inc();
  }

  /** An event of `atMs`, heard at `now`, both in milliseconds since the epoch. */
  heard(atMs: number, now: number): void {
    this.latency.observe(Math.max(0, now - atMs) / 1000);
  }
}
