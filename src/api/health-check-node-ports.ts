import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { PlainServer } from './plain-server.ts';

export interface HealthCheckNodePortsDeps {
  /** kube-proxy's own health: without it a node answers that it is out. */
  readonly healthy: () => boolean;
  /** Addresses to listen on in a family. */
  readonly addresses: (family: 'IPv4' | 'IPv6') => readonly string[];
  /** The port of a Service ("namespace/name") could not be opened. */
  readonly failed: (service: string, port: number, error: unknown) => void;
  readonly log: Logger;
}

interface Entry {
  readonly port: number;
  endpoints: number;
  readonly servers: readonly PlainServer[];
}

/**
 * Answers on the health check node ports of Services with externalTrafficPolicy Local, by which a load balancer finds
 * the nodes that have endpoints (pkg/proxy/healthcheck/service_health.go): 200 with at least one, else 503.
 */
export class HealthCheckNodePorts {
  private readonly deps: HealthCheckNodePortsDeps;
  private readonly entries = new Map<string, Entry>();
  private closed = false;

  constructor(deps: HealthCheckNodePortsDeps) {
    this.deps = deps;
  }

  /** `port` 0: the Service has none (any more). `endpoints`: ready ones on this node. */
  set(family: 'IPv4' | 'IPv6', service: string, port: number, endpoints: number): void {
    const key = `${family} ${service}`;
    const known = this.entries.get(key);
    if (known?.port === port) {
      known.endpoints = endpoints;
      return;
    }
    if (known !== undefined) this.drop(key, known);
    if (port === 0 || this.closed) return;
    const answers = (): ReturnType<HealthCheckNodePorts['answer']> => this.answer(key, service);
    const servers = this.deps
      .addresses(family)
      .map(
        (address) =>
          new PlainServer(
            { address, port, what: `health checks of ${service}`, otherwise: 'spec.healthCheckNodePort' },
            { answers, log: this.deps.log },
          ),
      );
    this.entries.set(key, { port, endpoints, servers });
    for (const server of servers) {
      server.start().catch((error: unknown) => {
        this.deps.log.warn({ service, port, error: messageOf(error) }, 'cannot answer health checks of a Service');
        this.deps.failed(service, port, error);
      });
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    const servers = [...this.entries.values()].flatMap((entry) => entry.servers);
    this.entries.clear();
    await Promise.allSettled(servers.map((server) => server.close()));
  }

  private drop(key: string, { servers }: Entry): void {
    this.entries.delete(key);
    // A server that never came to listen has nothing to close.
    for (const server of servers) server.close().catch(() => {});
  }

  private answer(key: string, service: string) {
    const count = this.entries.get(key)?.endpoints ?? 0;
    const [namespace = '', name = ''] = service.split('/');
    const serviceProxyHealthy = this.deps.healthy();
    const body = { service: { namespace, name }, localEndpoints: count, serviceProxyHealthy };
    return {
      status: count > 0 && serviceProxyHealthy ? 200 : 503,
      type: 'application/json',
      body: JSON.stringify(body, undefined, '\t'),
      headers: { 'x-load-balancing-endpoint-weight': String(count) },
    };
  }
}
