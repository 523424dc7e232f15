import { Authorizer } from '../api/authorization/authorizer.ts';
import { checksText, type HealthCheck, runChecks } from '../api/health-checks.ts';
import type { HealthSlis } from '../api/health-slis.ts';
import { podList } from '../api/node-info/pod-lists.ts';
import { NodeServer } from '../api/node-server.ts';
import type { NodePods, RuntimeView } from '../api/port.ts';
import { RequestMetrics, requestMetricFamilies } from '../api/request-metrics.ts';
import { type Exchange, Router, sendPieces, sendText } from '../api/router.ts';
import type { ServeStatsDeps } from '../api/stats/serve-stats.ts';
import { ApiReviews } from '../cluster/api-reviews.ts';
import type { CertificateSource } from '../cluster/credentials.ts';
import type { ApiClient } from '../cluster/port.ts';
import type { EffectiveDocument } from '../config/effective-documents.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import { MetricText } from '../kit/metric-text.ts';
import type { Node } from '../model/node.ts';
import { startClientAuthorities, startServingCertificate } from './certificates.ts';
import type { Foundation } from './foundation.ts';
import { withPodRoutes } from './node-api-routes.ts';

export interface NodeApiDeps {
  readonly api: ApiClient;
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  readonly cri: CriRuntime;
  readonly stats: ServeStatsDeps;
  readonly files: Pick<Files, 'makeDirectory' | 'resolveBeneath' | 'openBeneath' | 'list' | 'lstat'>;
  /** The KubeletConfiguration and the KubeProxyConfiguration in force. */
  readonly effective: () => readonly EffectiveDocument[];
  /** What was given on the command line. */
  readonly flags: Readonly<Record<string, string>>;
  readonly node: () => Node | undefined;
  readonly checks: readonly HealthCheck[];
  readonly slis: HealthSlis;
  /** PEM: whose certificates are believed where no clientCAFile says so. */
  readonly authority: string | undefined;
  /** Told what certificate is shown. */
  readonly expectServing?: ((source: CertificateSource) => void) | undefined;
}

const CHECK_TIMEOUT_MS = 2000;
const PROBE_METRICS = ['process_start_time_seconds', 'prober_probe_total', 'prober_probe_duration_seconds'];

/** Serves the node's HTTPS API on `address` and `port`, and what of it anybody may see on `readOnlyPort`. */
export async function serveNodeApi(foundation: Foundation, deps: NodeApiDeps): Promise<void> {
  const { config, clock, closers } = foundation;
  const { nodeAPI, nodeName } = config;
  const { tlsMinVersion, tlsCipherSuites } = config.certificates;
  const log = foundation.log.child({ part: 'node API' });
  if (!nodeAPI.enabled) return;
  const families = requestMetricFamilies(foundation.metrics);
  const serving = await startServingCertificate(foundation, deps);
  deps.expectServing?.(serving);
  const clientAuthorities = await startClientAuthorities(foundation, deps.authority);
  const reviews = new ApiReviews({ api: deps.api, clock });
  const { mode, allowedMs, deniedMs } = nodeAPI.authorization;
  const authorizer = new Authorizer(
    { nodeName, allowedMs, deniedMs },
    { reviews: mode === 'Webhook' ? reviews : undefined, clock, log },
  );
  const server = new NodeServer(
    {
      address: config.node.address,
      port: config.node.kubeletPort,
      minVersion: tlsMinVersion,
      anonymous: nodeAPI.anonymous,
      tokenMs: nodeAPI.tokens.cacheMs,
      ...(tlsCipherSuites.length === 0 ? {} : { ciphers: tlsCipherSuites.join(':') }),
    },
    {
      security: { serving, clientAuthorities, tokens: nodeAPI.tokens.enabled ? reviews : undefined, authorizer },
      router: withPodRoutes(openRouter(foundation, deps), foundation, deps),
      clock,
      log,
      metrics: new RequestMetrics(families, 'readwrite', { clock }),
    },
  );
  await server.start();
  closers.add('node API', () => server.close());
  if (nodeAPI.readOnlyPort === 0) return;
  const open = new NodeServer(
    { address: config.node.address, port: nodeAPI.readOnlyPort },
    {
      security: undefined,
      router: openRouter(foundation, deps),
      clock,
      log,
      metrics: new RequestMetrics(families, 'readonly', { clock }),
    },
  );
  await open.start();
  closers.add('read-only node API', () => open.close());
}

/** What both servers have (kubelet InstallAuthNotRequiredHandlers). */
function openRouter(foundation: Foundation, deps: NodeApiDeps): Router {
  const { clock, metrics } = foundation;
  const live = deps.checks.filter(({ kind }) => kind === 'live');
  const health = async ({ response, query, parameters }: Exchange): Promise<void> => {
    const { name } = parameters;
    const excluded = query.getAll('exclude');
    const asked = live.filter((check) => (name === undefined ? !excluded.includes(check.name) : check.name === name));
    if (name !== undefined && asked.length === 0) return sendText(response, 404, '404 page not found\n');
    const results = await runChecks(asked, (ms, signal) => clock.sleep(ms, signal), CHECK_TIMEOUT_MS);
    for (const { name: check, problem } of results) deps.slis.observe(check, problem === undefined);
    const failed = results.some(({ problem }) => problem !== undefined);
    sendText(response, failed ? 500 : 200, checksText('healthz', results, query.has('verbose')));
  };
  const stats = async () => await import('../api/stats/serve-stats.ts');
  const summary = async (exchange: Exchange) => (await stats()).serveSummary(exchange, deps.stats);
  return new Router()
    .add('/healthz', { GET: health })
    .add('/healthz/{name}', { GET: health })
    .add('/pods', { GET: ({ response }) => sendPieces(response, podList(deps.pods)) })
    .add('/stats/summary', { GET: summary, POST: summary })
    .add('/metrics', {
      GET: async ({ response }) => sendText(response, 200, await metrics.text(), metrics.contentType),
    })
    .add('/metrics/resource', {
      GET: async (exchange) => (await stats()).serveResourceMetrics(exchange, deps.stats),
    })
    .add('/metrics/cadvisor', {
      GET: async (exchange) => (await stats()).serveCadvisorMetrics(exchange, deps.stats),
    })
    .add('/metrics/slis', {
      GET: ({ response }) => sendText(response, 200, deps.slis.bytes(), MetricText.contentType),
    })
    .add('/metrics/probes', {
      GET: async ({ response }) => sendText(response, 200, await metrics.textOf(PROBE_METRICS), metrics.contentType),
    });
}
