import { isDeepStrictEqual } from 'node:util';
import type { Service, ServiceSpec } from '../../model/service.ts';

/**
 * What an update leaves out of the fields that the cluster fills, taken over from before, and what only the former
 * type could have, dropped where the update did not touch it (registry/core/service/strategy.go). clusterIP and
 * clusterIPs are brought in line. Returns a copy.
 */
export function settleService(service: Service, previous: Service | undefined): Service {
  const spec: ServiceSpec = { ...service.spec };
  if (previous !== undefined) {
    carryOver(spec, previous.spec);
    dropForeign(spec, previous.spec);
  }
  alignClusterIps(spec, previous?.spec);
  return { ...service, spec };
}

export function needsClusterIp(spec: ServiceSpec): boolean {
  return spec.type !== 'ExternalName';
}

export function needsNodePorts(spec: ServiceSpec): boolean {
  return spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
}

export function needsHealthCheckPort(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';
}

function hasNodePorts(spec: ServiceSpec): boolean {
  return spec.type === 'NodePort' || spec.type === 'LoadBalancer';
}

function carryOver(spec: ServiceSpec, before: ServiceSpec): void {
  if (needsClusterIp(spec) && needsClusterIp(before)) {
    if (!spec.clusterIP && !spec.clusterIPs?.length) {
      if (before.clusterIP !== undefined) spec.clusterIP = before.clusterIP;
      if (before.clusterIPs !== undefined) spec.clusterIPs = [...before.clusterIPs];
    }
    spec.ipFamilyPolicy ??= before.ipFamilyPolicy ?? 'SingleStack';
    if (!spec.ipFamilies?.length && before.ipFamilies !== undefined) spec.ipFamilies = [...before.ipFamilies];
  }
  if (hasNodePorts(spec) && hasNodePorts(before)) {
    spec.ports = (spec.ports ?? []).map((port) => {
      if (port.nodePort) return port;
      const same = before.ports?.find((old) => old.port === port.port && old.protocol === port.protocol);
      return same?.nodePort && needsNodePorts(spec) ? { ...port, nodePort: same.nodePort } : port;
    });
  }
  if (needsHealthCheckPort(spec) && needsHealthCheckPort(before) && !spec.healthCheckNodePort) {
    if (before.healthCheckNodePort !== undefined) spec.healthCheckNodePort = before.healthCheckNodePort;
  }
}

function dropForeign(spec: ServiceSpec, before: ServiceSpec): void {
  if (needsClusterIp(before) && !needsClusterIp(spec) && (spec.clusterIP ?? '') === (before.clusterIP ?? '')) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
    if (spec.internalTrafficPolicy === before.internalTrafficPolicy) delete spec.internalTrafficPolicy;
  }
  if (hasNodePorts(before) && !hasNodePorts(spec)) {
    const old = new Set(before.ports?.map(({ nodePort }) => nodePort));
    spec.ports = (spec.ports ?? []).map((port) => {
      if (!old.has(port.nodePort)) return port;
      const { nodePort: _nodePort, ...rest } = port;
      return rest;
    });
  }
  if (needsHealthCheckPort(before) && !needsHealthCheckPort(spec)) {
    if (spec.healthCheckNodePort === before.healthCheckNodePort) delete spec.healthCheckNodePort;
  }
  if (hasNodePorts(before) && !hasNodePorts(spec) && (spec.externalIPs?.length ?? 0) === 0) {
    if (spec.externalTrafficPolicy === before.externalTrafficPolicy) delete spec.externalTrafficPolicy;
  }
  if (before.type !== 'LoadBalancer' || spec.type === 'LoadBalancer') return;
  for (const field of ['allocateLoadBalancerNodePorts', 'loadBalancerClass', 'loadBalancerSourceRanges'] as const) {
    if (isDeepStrictEqual(spec[field], before[field])) delete spec[field];
  }
}

/** clusterIPs[0] and clusterIP are one fact; older clients write only the latter. */
function alignClusterIps(spec: ServiceSpec, before: ServiceSpec | undefined): void {
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  else if (!spec.clusterIP && spec.clusterIPs?.[0] !== undefined) spec.clusterIP = spec.clusterIPs[0];
  else if (before?.clusterIP && spec.clusterIP && spec.clusterIP !== before.clusterIP) {
    // An old client changed the one field and sent the other back as it was.
    if (isDeepStrictEqual(spec.clusterIPs, before.clusterIPs)) spec.clusterIPs = [spec.clusterIP];
  }
}
