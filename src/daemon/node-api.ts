import { checksText, type HealthCheck, runChecks } from '../api/health-checks.ts';
import { NodeServer } from '../api/node-server.ts';
import { Router, sendText } from '../api/router.ts';
import type { ApiClient } from '../cluster/port.ts';
import type { Node } from '../model/node.ts';
import { startClientAuthorities, startServingCertificate } from './certificates.ts';
import type { Foundation } from './foundation.ts';

export interface NodeApiDeps {
  readonly api: ApiClient;
  readonly node: () => Node | undefined;
  readonly checks: readonly HealthCheck[];
  /** PEM: whose certificates are believed where no clientCAFile says so. */
  readonly authority: string | undefined;
}

const CHECK_TIMEOUT_MS = 2000;

/** Serves the node's HTTPS API on `address` and `port`. */
export async function serveNodeApi(foundation: Foundation, deps: NodeApiDeps): Promise<void> {
  const { config, clock, closers } = foundation;
  const { tlsMinVersion, tlsCipherSuites } = config.certificates;
  const live = deps.checks.filter(({ kind }) => kind === 'live');
  const router = new Router().add('/healthz', {
    GET: async ({ response, query }) => {
      const results = await runChecks(live, (ms, signal) => clock.sleep(ms, signal), CHECK_TIMEOUT_MS);
      const failed = results.some(({ problem }) => problem !== undefined);
      sendText(response, failed ? 500 : 200, checksText('healthz', results, query.has('verbose')));
    },
  });
  const serving = await startServingCertificate(foundation, deps);
  const clientAuthorities = await startClientAuthorities(foundation, deps.authority);
  const server = new NodeServer(
    {
      address: config.node.address,
      port: config.node.kubeletPort,
      minVersion: tlsMinVersion,
      ...(tlsCipherSuites.length === 0 ? {} : { ciphers: tlsCipherSuites.join(':') }),
    },
    { serving, clientAuthorities, router, clock, log: foundation.log.child({ part: 'node API' }) },
  );
  await server.start();
  closers.add('node API', () => server.close());
}
