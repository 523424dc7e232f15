import type { Clock } from '../kit/clock.ts';
import type { Metrics } from '../kit/metrics.ts';

const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'CONNECT',
  'TRACE',
]);
/** The first part of a path, or of /metrics the first two, as kubelet's server.go counts them; the rest is "other". */
const PATHS: ReadonlySet<string> = new Set([
  'attach',
  'checkpoint',
  'configz',
  'containerLogs',
  'debug',
  'exec',
  'flagz',
  'healthz',
  'logs',
  'metrics',
  'metrics/cadvisor',
  'metrics/probes',
  'metrics/resource',
  'pods',
  'portForward',
  'run',
  'runningpods',
  'stats',
  'statusz',
]);
const LONG: ReadonlySet<string> = new Set(['exec', 'attach', 'portforward', 'debug']);
/** kubelet server/metrics/metrics.go: prometheus DefBuckets. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const LABELS = ['method', 'path', 'server_type', 'long_running'] as const;

/** kubelet_http_* of the node's API. */
export class RequestMetrics {
  private readonly begun;
  private readonly inFlight;
  private readonly durations;
  private readonly clock: Pick<Clock, 'monotonic'>;
  private readonly serverType: 'readwrite' | 'readonly';

  constructor(
    families: RequestMetricFamilies,
    serverType: 'readwrite' | 'readonly',
    deps: { readonly clock: Pick<Clock, 'monotonic'> },
  ) {
    this.begun = families.begun;
    this.inFlight = families.inFlight;
    this.durations = families.durations;
    this.serverType = serverType;
    this.clock = deps.clock;
  }

  /** Call what it answers when the request is over. */
  begin(method: string, url: string): () => void {
    const path = bucketOf(url);
    const labels = {
      method: METHODS.has(method) ? method : 'other',
      path,
      server_type: this.serverType,
      long_running: String(LONG.has(path)),
    };
    this.begun.inc(labels);
    this.inFlight.inc(labels);
    const since = this.clock.monotonic();
    return () => {
      this.inFlight.dec(labels);
      this.durations.observe(labels, (this.clock.monotonic() - since) / 1000);
    };
  }
}

export type RequestMetricFamilies = ReturnType<typeof requestMetricFamilies>;

/** Of all servers together. */
export function requestMetricFamilies(metrics: Metrics) {
  return {
    begun: metrics.counter(
      'kubelet_http_requests_total',
      'Number of the http requests received since the server started',
      LABELS,
    ),
    inFlight: metrics.gauge('kubelet_http_inflight_requests', 'Number of the inflight http requests', LABELS),
    durations: metrics.histogram(
      'kubelet_http_requests_duration_seconds',
      'Duration in seconds to serve http requests',
      BUCKETS,
      LABELS,
    ),
  };
}

function bucketOf(url: string): string {
  const [first = '', second] = (url.split('?', 1)[0] ?? '').replace(/^\//, '').split('/');
  const bucket = first === 'metrics' && second !== undefined ? `${first}/${second}` : first;
  return PATHS.has(bucket) ? bucket : 'other';
}
