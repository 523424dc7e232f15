import { cidrContains, formatCidr, formatIp, parseCidr, parseIp } from '../../model/cidr.ts';
import { keyOf } from '../../model/meta.ts';
import type { Protocol } from '../../model/pod.ts';
import type { EndpointSlice, IPFamily, Service, ServicePort } from '../../model/service.ts';
import {
  type Decision,
  type Frontend,
  isExternallyAccessible,
  type Problem,
  type ServicePortRules,
  type Target,
  targetText,
} from '../model.ts';
import type { LocalEndpointState, ProxyFacts } from '../port.ts';
import { type Candidate, categorizeEndpoints } from './categorize-endpoints.ts';

/** KubeProxyConfiguration leaves it to the API server's default for ClientIP affinity. */
const defaultAffinitySeconds = 10_800;
/** The API's limit for sessionAffinityConfig.clientIP.timeoutSeconds. */
const longestAffinitySeconds = 86_400;

const serviceProxyName = 'service.kubernetes.io/service-proxy-name';
const headlessLabel = 'service.kubernetes.io/headless';
/** On an EndpointSlice: the Service that it belongs to, in the slice's namespace. */
export const serviceNameLabel = 'kubernetes.io/service-name';

const protocols: readonly string[] = ['TCP', 'UDP', 'SCTP'] satisfies Protocol[];
// Names go into the rules' comments: nothing that could end a quoted word or a line may pass, and nothing so long
// that the kernel cuts the comment (at 255 characters), because then what is read back is not what was written.
const safeName = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

export interface ServiceInput {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
  readonly family: IPFamily;
  readonly facts: Pick<ProxyFacts, 'nodeName' | 'zone' | 'nodeIPs' | 'resetTcp'>;
  /** What this node knows of its own pods, by canonical address. */
  readonly local: (address: string) => LocalEndpointState | undefined;
}

export interface ServiceRules {
  readonly rules: readonly ServicePortRules[];
  readonly problems: readonly Problem[];
}

/** False for Services that are none of a proxy's business: another proxy's, ExternalName, headless. */
export function isProxied(service: Service): boolean {
  const { labels } = service.metadata;
  if (labels?.[serviceProxyName] !== undefined) return false;
  const { type, clusterIP } = service.spec;
  return type !== 'ExternalName' && clusterIP !== undefined && clusterIP !== '' && clusterIP !== 'None';
}

export function isProxiedSlice(slice: EndpointSlice): boolean {
  const { labels } = slice.metadata;
  return labels?.[headlessLabel] === undefined && labels?.[serviceNameLabel] !== undefined;
}

/**
 * Decides what each port of one Service leads to in one address family. Pure. Parts of the Service or its slices that
 * make no sense are left out, one by one, and named in `problems`.
 */
export function serviceRules(input: ServiceInput): ServiceRules {
  const problems: Problem[] = [];
  const { service, family } = input;
  const key = keyOf(service);
  const report = (message: string): void => {
    problems.push({ kind: 'Service', object: key, message });
  };
  if (!isProxied(service)) return { rules: [], problems };
  const { namespace = '', name = '' } = service.metadata;
  if (!safeName.test(namespace) || !safeName.test(name)) {
    report(`skips the Service: metadata.namespace and metadata.name must be DNS names, not ${JSON.stringify(key)}`);
    return { rules: [], problems };
  }
  const clusterIP = clusterIPOf(service, family, report);
  if (clusterIP === undefined) return { rules: [], problems };

  const shared = {
    clusterIP,
    externalIPs: addressesOf(service.spec.externalIPs ?? [], 'spec.externalIPs', family, report),
    loadBalancerIPs: loadBalancerIPsOf(service, family, report),
    ...sourceRangesOf(service, input, report),
    affinitySeconds: affinityOf(service, report),
  };
  const rules: ServicePortRules[] = [];
  const seen = new Set<string>();
  for (const [index, port] of (service.spec.ports ?? []).entries()) {
    const where = `spec.ports[${index}]`;
    const complaint = portComplaint(port);
    const identity = `${port.name ?? ''}/${port.protocol ?? 'TCP'}`;
    if (complaint !== undefined) report(`skips ${where}: ${complaint}`);
    else if (seen.has(identity)) report(`skips ${where}: name and protocol are those of an earlier port`);
    else {
      seen.add(identity);
      rules.push(portRules(input, port, key, shared, problems));
    }
  }
  return { rules, problems };
}

interface Shared {
  readonly clusterIP: string;
  readonly externalIPs: readonly string[];
  readonly loadBalancerIPs: readonly string[];
  readonly sourceRanges: readonly string[];
  readonly sourceRangesHaveNode: boolean;
  readonly affinitySeconds: number;
}

function portRules(
  input: ServiceInput,
  port: ServicePort,
  key: string,
  shared: Shared,
  problems: Problem[],
): ServicePortRules {
  const { service, family, facts } = input;
  const { spec } = service;
  const protocol = port.protocol ?? 'TCP';
  const frontends: Frontend[] = [{ kind: 'clusterIP', address: shared.clusterIP, port: port.port }];
  for (const address of shared.externalIPs) frontends.push({ kind: 'externalIP', address, port: port.port });
  for (const address of shared.loadBalancerIPs) frontends.push({ kind: 'loadBalancerIP', address, port: port.port });
  if (port.nodePort !== undefined && port.nodePort !== 0) frontends.push({ kind: 'nodePort', port: port.nodePort });
  const external = isExternallyAccessible({ frontends });
  const internalLocal = spec.internalTrafficPolicy === 'Local';
  const externalLocal = external && spec.externalTrafficPolicy === 'Local';

  const healthCheckNodePort = spec.type === 'LoadBalancer' && externalLocal ? (spec.healthCheckNodePort ?? 0) : 0;

  const candidates = candidatesOf(input, port.name ?? '', protocol, problems);
  const categories = categorizeEndpoints(candidates, {
    usesCluster: !internalLocal || external,
    usesLocal: internalLocal || externalLocal,
    nodeName: facts.nodeName,
    zone: facts.zone,
  });
  const decide = (isLocal: boolean): Decision => {
    if (!categories.anywhere) return 'reject';
    return isLocal && categories.local.length === 0 ? 'drop' : 'forward';
  };
  return {
    name: port.name === undefined || port.name === '' ? key : `${key}:${port.name}`,
    service: key,
    family,
    protocol,
    frontends,
    affinitySeconds: shared.affinitySeconds,
    internalPolicy: internalLocal ? 'Local' : 'Cluster',
    internal: decide(internalLocal),
    externalPolicy: externalLocal ? 'Local' : 'Cluster',
    external: decide(externalLocal),
    cluster: categories.cluster.map(targetOf),
    local: categories.local.map(targetOf),
    reachable: categories.reachable.map(targetOf),
    sourceRanges: shared.sourceRanges,
    sourceRangesHaveNode: shared.sourceRangesHaveNode,
    healthCheckNodePort,
    healthCheckEndpoints:
      healthCheckNodePort === 0
        ? 0
        : new Set(candidates.flatMap((one) => (one.local && one.ready ? one.address : []))).size,
    serving: servingOf(candidates, protocol, facts.resetTcp ?? false),
  };
}

function servingOf(candidates: readonly Candidate[], protocol: Protocol, resetTcp: boolean): readonly string[] {
  if (protocol === 'UDP') return candidates.filter((candidate) => candidate.serving).map(targetText);
  return protocol === 'TCP' && resetTcp ? candidates.map(targetText) : [];
}

function targetOf(candidate: Candidate): Target {
  return { address: candidate.address, port: candidate.port, local: candidate.local };
}

/** The endpoints behind one port from all slices, usable or not, sorted by their text, each address and port once. */
export function candidatesOf(
  input: ServiceInput,
  portName: string,
  protocol: Protocol,
  problems: Problem[],
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of input.slices) {
    if (slice.addressType !== input.family) continue;
    for (const [index, port] of (slice.ports ?? []).entries()) {
      if ((port.name ?? '') !== portName || (port.protocol ?? 'TCP') !== protocol) continue;
      if (!isPort(port.port)) {
        const message = `skips ports[${index}]: port must be a number from 1 to 65535, not ${port.port ?? 'absent'}`;
        problems.push({ kind: 'EndpointSlice', object: keyOf(slice), message });
        continue;
      }
      addEndpoints(found, input, slice, port.port, problems);
    }
  }
  const texts = [...found.keys()].sort();
  return texts.flatMap((text) => found.get(text) ?? []);
}

function addEndpoints(
  found: Map<string, Candidate>,
  input: ServiceInput,
  slice: EndpointSlice,
  port: number,
  problems: Problem[],
): void {
  for (const [index, endpoint] of (slice.endpoints ?? []).entries()) {
    // All addresses of an endpoint are the same pod; consumers are to use the first (discovery/v1 API docs).
    const first = endpoint.addresses?.[0];
    const ip = first === undefined ? undefined : parseIp(first);
    if (ip === undefined || ip.family !== input.family) {
      const message = `skips endpoints[${index}]: addresses[0] must be an ${input.family} address, not ${JSON.stringify(first)}`;
      problems.push({ kind: 'EndpointSlice', object: keyOf(slice), message });
      continue;
    }
    const address = formatIp(ip);
    const local = endpoint.nodeName !== undefined && endpoint.nodeName === input.facts.nodeName;
    const candidate: Candidate = {
      address,
      port,
      local,
      ...readinessOf(endpoint.conditions ?? {}, local ? input.local(address) : undefined, input.service),
      zoneHints: endpoint.hints?.forZones?.map((zone) => zone.name) ?? [],
      nodeHints: endpoint.hints?.forNodes?.map((node) => node.name) ?? [],
    };
    const text = targetText(candidate);
    const other = found.get(text);
    // Slices may overlap while the controller moves an endpoint; then what is known to be here, or ready, counts.
    if (other === undefined || (candidate.local && !other.local) || (candidate.ready && !other.ready)) {
      found.set(text, candidate);
    }
  }
}

function readinessOf(
  conditions: { ready?: boolean; serving?: boolean; terminating?: boolean },
  known: LocalEndpointState | undefined,
  service: Service,
): Pick<Candidate, 'ready' | 'serving' | 'terminating'> {
  const ready = conditions.ready ?? true;
  const serving = conditions.serving ?? ready;
  const terminating = conditions.terminating ?? false;
  // publishNotReadyAddresses: readiness is not asked for, so what we know of it does not matter either.
  if (known === undefined || service.spec.publishNotReadyAddresses === true) return { ready, serving, terminating };
  switch (known) {
    case 'serving':
      return { ready: !terminating, serving: true, terminating };
    case 'terminating':
      return { ready: false, serving: true, terminating: true };
    case 'not-ready':
      return { ready: false, serving: false, terminating };
  }
}

function clusterIPOf(service: Service, family: IPFamily, report: (message: string) => void): string | undefined {
  const { clusterIP = '', clusterIPs } = service.spec;
  const texts = clusterIPs !== undefined && clusterIPs.length > 0 ? clusterIPs : [clusterIP];
  let answer: string | undefined;
  for (const text of texts) {
    const ip = parseIp(text);
    if (ip === undefined) {
      report(`skips ${JSON.stringify(text)} in spec.clusterIPs: it must be an IP address`);
    } else if (ip.family === family) {
      answer ??= formatIp(ip);
    }
  }
  return answer;
}

function addressesOf(
  texts: readonly string[],
  field: string,
  family: IPFamily,
  report: (message: string) => void,
): string[] {
  const addresses = new Set<string>();
  for (const text of texts) {
    const ip = parseIp(text);
    if (ip === undefined) report(`skips ${JSON.stringify(text)} in ${field}: it must be an IP address`);
    else if (ip.family === family) addresses.add(formatIp(ip));
  }
  return [...addresses];
}

function loadBalancerIPsOf(service: Service, family: IPFamily, report: (message: string) => void): string[] {
  const ingress = service.status?.loadBalancer?.ingress ?? [];
  // ipMode Proxy: the balancer ends the connection itself, its address must not be short-cut (KEP-1860).
  const texts = ingress.flatMap((entry) => (entry.ip && entry.ipMode !== 'Proxy' ? [entry.ip] : []));
  return addressesOf(texts, 'status.loadBalancer.ingress', family, report);
}

function sourceRangesOf(
  service: Service,
  input: ServiceInput,
  report: (message: string) => void,
): Pick<Shared, 'sourceRanges' | 'sourceRangesHaveNode'> {
  const nodeIP = parseIp(input.facts.nodeIPs[input.family] ?? '');
  const sourceRanges = new Set<string>();
  let sourceRangesHaveNode = false;
  for (const text of service.spec.loadBalancerSourceRanges ?? []) {
    const cidr = parseCidr(text.trim());
    if (cidr === undefined) {
      report(`skips ${JSON.stringify(text)} in spec.loadBalancerSourceRanges: it must be a CIDR such as 10.0.0.0/8`);
    } else if (cidr.family === input.family) {
      // The whole address space is no restriction at all.
      if (cidr.prefix === 0) return { sourceRanges: [], sourceRangesHaveNode: true };
      sourceRanges.add(formatCidr(cidr));
      if (nodeIP !== undefined && cidrContains(cidr, nodeIP)) sourceRangesHaveNode = true;
    }
  }
  return { sourceRanges: [...sourceRanges], sourceRangesHaveNode };
}

function affinityOf(service: Service, report: (message: string) => void): number {
  if (service.spec.sessionAffinity !== 'ClientIP') return 0;
  const seconds = service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= longestAffinitySeconds) return seconds;
  report(
    `uses ${defaultAffinitySeconds} for spec.sessionAffinityConfig.clientIP.timeoutSeconds: it must be from 1 to ` +
      `${longestAffinitySeconds}, not ${seconds}`,
  );
  return defaultAffinitySeconds;
}

function portComplaint(port: ServicePort): string | undefined {
  if (port.name !== undefined && port.name !== '' && !safeName.test(port.name)) {
    return `name must be a DNS label, not ${JSON.stringify(port.name)}`;
  }
  if (!protocols.includes(port.protocol ?? 'TCP')) {
    return `protocol must be TCP, UDP or SCTP, not ${JSON.stringify(port.protocol)}`;
  }
  if (!isPort(port.port)) return `port must be a number from 1 to 65535, not ${port.port}`;
  if (port.nodePort !== undefined && port.nodePort !== 0 && !isPort(port.nodePort)) {
    return `nodePort must be a number from 1 to 65535, not ${port.nodePort}`;
  }
  return undefined;
}

function isPort(port: number | undefined): port is number {
  return Number.isInteger(port) && port !== undefined && port >= 1 && port <= 65_535;
}
