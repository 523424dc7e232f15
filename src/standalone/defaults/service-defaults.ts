import type { EndpointSlice, Service } from '../../model/service.ts';

/** ClientIP affinity lasts three hours. */
const AFFINITY_SECONDS = 10_800;

/** Fills a Service's defaults in place (SetDefaults_Service); addresses and families are the allocator's. */
export function applyServiceDefaults(service: Service): void {
  const spec = service.spec ?? {};
  service.spec = spec;
  spec.sessionAffinity ||= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  else {
    const timeoutSeconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_SECONDS;
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds } };
  }
  spec.type ||= 'ClusterIP';
  for (const port of spec.ports ?? []) {
    port.protocol ||= 'TCP';
    if (port.targetPort === undefined || port.targetPort === '' || port.targetPort === 0) port.targetPort = port.port;
  }
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const externalAddresses = spec.type === 'ClusterIP' && (spec.externalIPs?.length ?? 0) > 0;
  if (external || externalAddresses) spec.externalTrafficPolicy ||= 'Cluster';
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ||= 'Cluster';
  if (spec.type === 'LoadBalancer') {
    spec.allocateLoadBalancerNodePorts ??= true;
    for (const ingress of service.status?.loadBalancer?.ingress ?? []) {
      if (ingress.ip !== undefined && ingress.ip !== '') ingress.ipMode ??= 'VIP';
    }
  }
  service.status ??= { loadBalancer: {} };
}

/** SetDefaults_EndpointPort: in a slice a port's name is "" rather than absent. */
export function applyEndpointSliceDefaults(slice: EndpointSlice): void {
  slice.endpoints ??= [];
  slice.ports ??= [];
  for (const port of slice.ports) {
    port.name ??= '';
    port.protocol ||= 'TCP';
  }
}
