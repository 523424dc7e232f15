import type { Counter, Gauge, Histogram } from 'prom-client';
import type { Metrics } from '../kit/metrics.ts';

/** Upstream: prometheus.ExponentialBuckets(0.001, 2, 15), 1 ms to 16 s. */
const syncBuckets = Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index);
/** Upstream: from 0.25 s by steps to 5 minutes; finer below, where deckhand works. */
const programmingBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10, 20, 30, 45, 60, 120, 180, 240, 300,
];

/** kube-proxy's metrics by kube-proxy's names (pkg/proxy/metrics), and three of deckhand's own. */
export class ProxyMetrics {
  readonly syncDuration: Histogram;
  readonly fullSyncDuration: Histogram;
  readonly partialSyncDuration: Histogram;
  readonly programmingDuration: Histogram;
  readonly serviceChanges: Counter;
  readonly serviceChangesPending: Gauge;
  readonly endpointChanges: Counter;
  readonly endpointChangesPending: Gauge;
  readonly lastQueued: Gauge;
  readonly lastSynced: Gauge;
  readonly rulesTotal: Gauge;
  readonly rulesLast: Gauge;
  readonly restoreFailures: Counter;
  readonly partialRestoreFailures: Counter;
  readonly nftablesFailures: Counter;
  readonly noLocalEndpoints: Gauge;
  readonly conntrackDeleted: Counter;
  readonly conntrackDuration: Histogram;
  readonly invalidObjects: Gauge;
  readonly setAside: Gauge;
  readonly repairs: Counter;

  constructor(metrics: Metrics) {
    const family = ['ip_family'];
    const seconds = (name: string, help: string): Histogram =>
      metrics.histogram(`kubeproxy_${name}_seconds`, help, syncBuckets, family);
    this.syncDuration = seconds('sync_proxy_rules_duration', 'Duration of a sync of the rules.');
    this.fullSyncDuration = seconds('sync_full_proxy_rules_duration', 'Duration of a sync of all rules.');
    this.partialSyncDuration = seconds('sync_partial_proxy_rules_duration', 'Duration of a sync of changed Services.');
    this.programmingDuration = metrics.histogram(
      'kubeproxy_network_programming_duration_seconds',
      'From the change of a Service or pod to the rules in the kernel.',
      programmingBuckets,
      family,
    );
    const counter = (name: string, help: string): Counter =>
      metrics.counter(`kubeproxy_sync_proxy_rules_${name}_total`, help, family);
    const gauge = (name: string, help: string, labels: readonly string[] = family): Gauge =>
      metrics.gauge(`kubeproxy_sync_proxy_rules_${name}`, help, labels);
    this.serviceChanges = counter('service_changes', 'Service changes seen.');
    this.serviceChangesPending = gauge('service_changes_pending', 'Service changes that wait for a sync.');
    this.endpointChanges = counter('endpoint_changes', 'EndpointSlice changes seen.');
    this.endpointChangesPending = gauge('endpoint_changes_pending', 'EndpointSlice changes that wait for a sync.');
    this.lastQueued = gauge('last_queued_timestamp_seconds', 'When a sync was last asked for.');
    this.lastSynced = gauge('last_timestamp_seconds', 'When the rules were last in order.');
    this.rulesTotal = gauge('iptables_total', 'Rules in the kernel that are ours.', ['table', 'ip_family']);
    this.rulesLast = gauge('iptables_last', 'Rules written by the last sync.', ['table', 'ip_family']);
    this.restoreFailures = counter('iptables_restore_failures', 'Transactions that failed.');
    this.partialRestoreFailures = counter('iptables_partial_restore_failures', 'Failed transactions of some Services.');
    this.nftablesFailures = counter('nftables_sync_failures', 'Syncs of nftables that failed.');
    this.noLocalEndpoints = gauge('no_local_endpoints_total', 'Service ports with policy Local and no endpoint here.', [
      'traffic_policy',
      'ip_family',
    ]);
    this.conntrackDeleted = metrics.counter(
      'kubeproxy_conntrack_reconciler_deleted_entries_total',
      'Stale UDP flows forgotten.',
      family,
    );
    this.conntrackDuration = seconds('conntrack_reconciler_sync_duration', 'Duration of the clean-up of UDP flows.');
    this.invalidObjects = metrics.gauge(
      'deckhand_services_invalid_objects',
      'Services with parts, or slices, that make no sense and are left out.',
      family,
    );
    this.setAside = metrics.gauge('deckhand_services_set_aside', 'Services whose rules the kernel refuses.', family);
    this.repairs = metrics.counter(
      'deckhand_services_foreign_flushes_total',
      'Times that somebody else had removed our rules.',
      family,
    );
  }
}
