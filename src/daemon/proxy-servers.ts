import { HealthCheckNodePorts } from '../api/health-check-node-ports.ts';
import { type Answers, PlainServer } from '../api/plain-server.ts';
import type { ProxyHealth } from '../api/proxy-health.ts';
import type { EventRecorder } from '../cluster/port.ts';
import type { EffectiveDocument } from '../config/effective-documents.ts';
import type { NetPort } from '../host/net/port.ts';
import { messageOf } from '../kit/errors.ts';
import type { ServiceInspector } from '../services/explain/service-inspector.ts';
import { nodePortScope } from '../services/policy/node-port-scope.ts';
import type { ProxyFacts } from '../services/port.ts';
import { answerInspection } from './answer-inspection.ts';
import { whereTheApiIs } from './drain.ts';
import type { Foundation } from './foundation.ts';

/** kube-proxy's two ports: health for load balancers on one, metrics and mode for people and Prometheus on the other. */
export async function serveProxy(
  foundation: Foundation,
  {
    mode,
    health,
    inspector,
    effective,
  }: {
    readonly mode: string;
    readonly health: ProxyHealth;
    readonly inspector: ServiceInspector;
    readonly effective: () => readonly EffectiveDocument[];
  },
): Promise<void> {
  const { config, metrics } = foundation;
  const text = (body: string): { status: number; type: string; body: string } => ({
    status: 200,
    type: 'text/plain; charset=utf-8',
    body,
  });
  const rest: Answers = async (path, request) => {
    switch (path) {
      case '/healthz':
        return text('ok');
      case '/proxyMode':
        return text(mode);
      case '/configz': {
        const document = effective().find(({ kind }) => kind === 'KubeProxyConfiguration');
        const body = JSON.stringify({ 'kubeproxy.config.k8s.io': document });
        return { status: 200, type: 'application/json', body };
      }
      case '/metrics':
        return { status: 200, type: metrics.contentType, body: await metrics.text() };
      case '/node':
        return request.isLocal ? whereTheApiIs(config) : undefined;
      default:
        return request.isLocal ? answerInspection(path, request.query, inspector) : undefined;
    }
  };
  await serve(foundation, 'the proxy health', 'healthzBindAddress', config.services.healthz, health.answers);
  await serve(foundation, 'the proxy metrics', 'metricsBindAddress', config.services.metrics, rest);
}

async function serve(
  { config, log, closers }: Foundation,
  what: string,
  otherwise: string,
  place: { readonly address: string; readonly port: number },
  answers: Answers,
): Promise<void> {
  const server = new PlainServer({ ...place, what, otherwise }, { answers, log });
  try {
    await server.start();
    closers.add(what, () => server.close());
  } catch (error) {
    // Rules are worth more than being asked about them.
    if (config.services.bindAddressHardFail) throw error;
    log.warn({ ...place, error: messageOf(error) }, `goes on without serving ${what}`);
  }
}

export function openHealthCheckNodePorts(
  { config, log, closers }: Foundation,
  deps: {
    readonly net: Pick<NetPort, 'localAddresses'>;
    readonly health: ProxyHealth;
    readonly events: EventRecorder;
    readonly facts: ProxyFacts;
  },
): HealthCheckNodePorts {
  const ports = new HealthCheckNodePorts({
    healthy: () => deps.health.healthy,
    addresses: (family) => {
      const scope = nodePortScope(family, deps.facts, deps.net.localAddresses());
      if (scope.kind === 'addresses') return scope.addresses;
      return [family === 'IPv4' ? '0.0.0.0' : '::'];
    },
    failed: (service, port, error) => {
      const [namespace = '', name = ''] = service.split('/');
      const message = `node ${config.nodeName} failed to start healthcheck "${service}" on port ${port}: ${messageOf(error)}`;
      const about = { apiVersion: 'v1', kind: 'Service', namespace, name };
      deps.events.event(about, 'Warning', 'FailedToStartServiceHealthcheck', message);
    },
    log: log.child({ part: 'health checks' }),
  });
  closers.add('health check node ports', () => ports.close());
  return ports;
}
