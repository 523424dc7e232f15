import { HttpApiClient } from '../cluster/api-client.ts';
import { ApiTransport } from '../cluster/api-transport.ts';
import { ConnectionCredentials } from '../cluster/connection-credentials.ts';
import type { CertificateSource } from '../cluster/credentials.ts';
import { type ApiConnection, loadKubeconfig } from '../cluster/kubeconfig.ts';
import type { ApiClient } from '../cluster/port.ts';
import { RestClientMetrics } from '../cluster/rest-client-metrics.ts';
import type { Foundation } from './foundation.ts';

/**
 * The clients of the API, apart as kubelet's are, so that none waits for another's limits: `main`; `events`, which limits
 * itself; `heartbeat` for the node and its lease, on a connection of its own; `services` for Services and
 * EndpointSlices, with the identity of --proxy-kubeconfig where there is one.
 */
export interface ApiClients {
  readonly main: ApiClient;
  readonly events: ApiClient;
  readonly heartbeat: ApiClient;
  readonly services: ApiClient;
}

export interface ApiClientsOptions {
  readonly connection: ApiConnection;
  /** The API is in this process: holding requests back would only delay them. */
  readonly embedded: boolean;
  /** The rotation of client certificates, where it is on. */
  readonly certificates?: CertificateSource | undefined;
}

const LONGEST_HEARTBEAT_MS = 10_000;

export async function openApiClients(
  foundation: Foundation,
  { connection, embedded, certificates }: ApiClientsOptions,
): Promise<ApiClients> {
  const { config, clock, log, closers, version } = foundation;
  const metrics = new RestClientMetrics(foundation.metrics);
  const userAgent = `deckhand/${version}`;
  const logger = log.child({ part: 'API client' });
  const { qps, burst } = embedded ? { qps: -1, burst: 0 } : config.api;
  const unlimited = { qps: -1, burst: 0 };

  const open = (to: ApiConnection, what: string, source?: CertificateSource) => {
    const credentials = new ConnectionCredentials(to, { clock, logger, metrics, certificates: source });
    closers.add(`${what} credentials`, () => credentials.close());
    return credentials;
  };
  const carry = (credentials: ConnectionCredentials, what: string): ApiTransport => {
    const transport = new ApiTransport({}, { credentials, clock });
    closers.add(`${what} connections`, () => transport.close());
    return transport;
  };
  const credentials = open(connection, 'API', certificates);
  const transport = carry(credentials, 'API');
  const client = (limits: { qps: number; burst: number; requestTimeoutMs?: number }, by = transport) =>
    new HttpApiClient(
      { connection: by.credentials.connection, userAgent, ...limits },
      { clock, metrics, logger, transport: by },
    );
  const main = client({ qps, burst });
  let services = main;
  if (!embedded && config.proxyKubeconfig !== undefined) {
    const own = open(await loadKubeconfig(config.proxyKubeconfig), 'Service API');
    services = client({ qps, burst }, carry(own, 'Service API'));
  }
  // cmd/kubelet/app/server.go: the status frequency or the lease's duration, whichever is shorter; no limit of requests.
  const { statusUpdateMs, leaseSeconds } = config.node;
  const requestTimeoutMs = Math.min(statusUpdateMs, leaseSeconds * 1000, LONGEST_HEARTBEAT_MS);
  // The embedded API does not go away without this process: a second connection to it would protect from nothing.
  const heartbeat = client({ ...unlimited, requestTimeoutMs }, embedded ? transport : carry(credentials, 'heartbeat'));
  return { main, events: client(unlimited), heartbeat, services };
}
