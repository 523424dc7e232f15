import { X509Certificate } from 'node:crypto';
import type { Metrics } from '../kit/metrics.ts';

const SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
/** Ten minutes to four years. */
const AGES = [600, 1800, 3600, 14400, 86400, 604800, 2592000, 7776000, 15552000, 31104000, 124416000];

/** What client-go says of its requests (component-base/metrics/prometheus/restclient). One for all clients of a process. */
export class RestClientMetrics {
  private readonly requests;
  private readonly duration;
  private readonly limiter;
  private readonly calls;
  private readonly age;
  private pluginExpiry = Number.POSITIVE_INFINITY;

  constructor(metrics: Metrics) {
    this.requests = metrics.counter(
      'rest_client_requests_total',
      'Requests to the API server by status code, method and host.',
      ['code', 'method', 'host'],
    );
    this.duration = metrics.histogram(
      'rest_client_request_duration_seconds',
      'How long requests took, watches aside, by verb and host.',
      SECONDS,
      ['verb', 'host'],
    );
    this.limiter = metrics.histogram(
      'rest_client_rate_limiter_duration_seconds',
      'How long requests waited for their turn under QPS and burst, by verb and host.',
      SECONDS,
      ['verb', 'host'],
    );
    this.calls = metrics.counter(
      'rest_client_exec_plugin_call_total',
      'Calls of the credential plugin by exit code and outcome.',
      ['code', 'call_status'],
    );
    this.age = metrics.histogram(
      'rest_client_exec_plugin_certificate_rotation_age',
      "Seconds that the credential plugin's last client certificate lived before it was replaced.",
      AGES,
    );
    metrics.gauge(
      'rest_client_exec_plugin_ttl_seconds',
      "Seconds until the credential plugin's client certificate expires; +Inf without one.",
      [],
      (gauge) => gauge.set((this.pluginExpiry - Date.now()) / 1000),
    );
  }

  /** `code` is the status or "<error>". */
  requested(method: string, code: string, host: string): void {
    this.requests.inc({ code, method, host });
  }

  took(verb: string, host: string, ms: number): void {
    this.duration.observe({ verb, host }, ms / 1000);
  }

  waited(verb: string, host: string, ms: number): void {
    this.limiter.observe({ verb, host }, ms / 1000);
  }

  pluginCalled(code: string, status: string): void {
    this.calls.inc({ code, call_status: status });
  }

  /** `pem` is in use from now on. */
  pluginCertificate(pem: string): void {
    this.pluginExpiry = validity(pem)?.to ?? Number.POSITIVE_INFINITY;
  }

  pluginCertificateRotated(pem: string, now: number): void {
    const from = validity(pem)?.from;
    if (from !== undefined) this.age.observe(Math.max(0, now - from) / 1000);
  }
}

function validity(pem: string): { from: number; to: number } | undefined {
  try {
    const { validFrom, validTo } = new X509Certificate(pem);
    return { from: Date.parse(validFrom), to: Date.parse(validTo) };
  } catch {
    return undefined;
  }
}
