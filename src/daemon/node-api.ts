import { Authorizer } from '../api/authorization/authorizer.ts';
import { checksText, type HealthCheck, runChecks } from '../api/health-checks.ts';
import { NodeServer } from '../api/node-server.ts';
import type { NodePods, RuntimeView } from '../api/port.ts';
import { RequestMetrics, requestMetricFamilies } from '../api/request-metrics.ts';
import { Router, sendText } from '../api/router.ts';
import { ApiReviews } from '../cluster/api-reviews.ts';
import type { ApiClient } from '../cluster/port.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { Node } from '../model/node.ts';
import { startClientAuthorities, startServingCertificate } from './certificates.ts';
import type { Foundation } from './foundation.ts';
import { withPodRoutes } from './node-api-routes.ts';

export interface NodeApiDeps {
  readonly api: ApiClient;
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  readonly cri: CriRuntime;
  readonly node: () => Node | undefined;
  readonly checks: readonly HealthCheck[];
  /** PEM: whose certificates are believed where no clientCAFile says so. */
  readonly authority: string | undefined;
}

const CHECK_TIMEOUT_MS = 2000;

/** Serves the node's HTTPS API on `address` and `port`, and what of it anybody may see on `readOnlyPort`. */
export async function serveNodeApi(foundation: Foundation, deps: NodeApiDeps): Promise<void> {
  const { config, clock, closers } = foundation;
  const { nodeAPI, nodeName } = config;
  const { tlsMinVersion, tlsCipherSuites } = config.certificates;
  const log = foundation.log.child({ part: 'node API' });
  if (!nodeAPI.enabled) return;
  const families = requestMetricFamilies(foundation.metrics);
  const serving = await startServingCertificate(foundation, deps);
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

/** What needs no permission of its own: both servers have it. */
function openRouter({ clock }: Foundation, deps: NodeApiDeps): Router {
  const live = deps.checks.filter(({ kind }) => kind === 'live');
  return new Router().add('/healthz', {
    GET: async ({ response, query }) => {
      const results = await runChecks(live, (ms, signal) => clock.sleep(ms, signal), CHECK_TIMEOUT_MS);
      const failed = results.some(({ problem }) => problem !== undefined);
      sendText(response, failed ? 500 : 200, checksText('healthz', results, query.has('verbose')));
    },
  });
}
