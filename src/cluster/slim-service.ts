import type { LoadBalancerIngress, Service, ServicePort, ServiceSpec } from '../model/service.ts';

const PROXY_NAME = 'service.kubernetes.io/service-proxy-name';

/** Fields of a Service's spec that rules and the environment of containers are made from, ports aside. */
const SPEC_FIELDS = [
  'type',
  'clusterIP',
  'clusterIPs',
  'externalIPs',
  'sessionAffinity',
  'sessionAffinityConfig',
  'loadBalancerSourceRanges',
  'externalTrafficPolicy',
  'internalTrafficPolicy',
  'healthCheckNodePort',
  'publishNotReadyAddresses',
] as const satisfies readonly (keyof ServiceSpec)[];

/** The API server's defaults, which say no more than their absence. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  sessionAffinity: 'None',
  externalTrafficPolicy: 'Cluster',
  internalTrafficPolicy: 'Cluster',
};

/** What a node needs of a Service: no selector, no annotations, no labels but the one that rules look at. */
export function slimService(raw: Service): Service {
  const { namespace, name, labels } = raw.metadata;
  const proxyName = labels?.[PROXY_NAME];
  const spec: Record<string, unknown> = {};
  for (const field of SPEC_FIELDS) {
    const value = raw.spec?.[field];
    if (value === undefined || value === DEFAULTS[field] || (Array.isArray(value) && value.length === 0)) continue;
    // The usual list of the one address that clusterIP has.
    if (field === 'clusterIPs' && raw.spec.clusterIPs?.length === 1 && raw.spec.clusterIPs[0] === raw.spec.clusterIP) {
      continue;
    }
    spec[field] = value;
  }
  spec['ports'] = (raw.spec?.ports ?? []).map(slimPort);
  const ingress = raw.status?.loadBalancer?.ingress ?? [];
  return {
    metadata: {
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      ...(proxyName === undefined ? {} : { labels: { [PROXY_NAME]: proxyName } }),
    },
    spec: spec as ServiceSpec,
    ...(ingress.length === 0 ? {} : { status: { loadBalancer: { ingress: ingress.map(slimIngress) } } }),
  };
}

function slimPort({ name, protocol, port, nodePort }: ServicePort): ServicePort {
  return {
    ...(name === undefined ? {} : { name }),
    ...(protocol === undefined ? {} : { protocol }),
    port,
    ...(nodePort === undefined ? {} : { nodePort }),
  };
}

function slimIngress({ ip, ipMode }: LoadBalancerIngress): LoadBalancerIngress {
  return { ...(ip === undefined ? {} : { ip }), ...(ipMode === undefined ? {} : { ipMode }) };
}
