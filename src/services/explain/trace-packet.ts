import { type Cidr, cidrContains, formatIp, type Ip, isLoopback, parseCidr, parseIp } from '../../model/cidr.ts';
import type { Protocol } from '../../model/pod.ts';
import { type Frontend, hasEndpoints, type ServicePortRules, type Target } from '../model.ts';
import type { BaseRules, LocalDetector } from '../port.ts';

/** A packet that opens a connection. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** Where it came in; absent: a process of the node sent it. */
  readonly inInterface?: string;
}

/** An endpoint that the packet may be sent to, and whether under an address of this node. */
export interface TracedTarget extends Target {
  readonly masquerade: boolean;
}

/**
 * What happens to a packet. `pass`: no rule of a Service is about it. Each says why in a sentence, `reason`; `rules` and
 * `frontend` are what matched.
 */
export type Trace =
  | { readonly verdict: 'pass' | 'reject' | 'drop'; readonly reason: string; readonly match?: Match }
  | {
      readonly verdict: 'forward';
      readonly reason: string;
      readonly match: Match;
      readonly targets: readonly TracedTarget[];
    };

export interface Match {
  readonly rules: ServicePortRules;
  readonly frontend: Frontend;
}

export type TracedBackend = 'nftables' | 'iptables' | 'ipvs';

export interface TraceInput {
  readonly rules: Iterable<ServicePortRules>;
  readonly base: BaseRules;
  /** All addresses of the node, in any spelling. */
  readonly localAddresses: readonly string[];
  /**
   * nftables refuses undefined ports of cluster IPs and drops what goes to an address that nobody has; kube-proxy's
   * iptables rules do neither, and they do not refuse what the node itself sends to an external address. IPVS refuses
   * undefined ports of all addresses of Services, and under policy Local sends everybody to the endpoints that are here.
   */
  readonly backend: TracedBackend;
}

/** Where a packet goes by the neutral rules, in no backend's words. Pure. */
export function tracePacket(packet: Packet, input: TraceInput): Trace {
  const source = parseIp(packet.source);
  const destination = parseIp(packet.destination);
  if (source === undefined || destination === undefined) {
    return { verdict: 'pass', reason: 'it has no IP addresses' };
  }
  const seen: Seen = { packet, source, destination, local: new Set(input.localAddresses.map(canonical)) };
  const match = matchOf(seen, input);
  if (match === undefined) return unmatched(seen, input);
  const { rules, frontend } = match;
  if (frontend.kind === 'loadBalancerIP' && hasEndpoints(rules) && !isAdmitted(seen, match, input)) {
    return {
      verdict: 'drop',
      reason: `${packet.source} is in none of the load balancer's source ranges (${rules.sourceRanges.join(', ')})`,
      match,
    };
  }
  const isOwn = packet.inInterface === undefined;
  if (frontend.kind === 'clusterIP') {
    if (input.backend !== 'ipvs' || rules.internal !== 'drop' || !isOwn) return internal(seen, match, input.base);
    const reason = `${rules.name} has no usable endpoint on this node, which in ipvs mode is told to the node itself`;
    return { verdict: 'reject', reason, match };
  }
  if (input.backend === 'iptables' && rules.external === 'reject' && isOwn && frontend.kind !== 'nodePort') {
    return {
      verdict: 'pass',
      reason: `${rules.name} has no usable endpoint, which iptables does not tell the node itself`,
    };
  }
  return external(seen, match, input);
}

interface Seen {
  readonly packet: Packet;
  readonly source: Ip;
  readonly destination: Ip;
  readonly local: ReadonlySet<string>;
}

function matchOf({ packet, destination, local }: Seen, { rules, base }: TraceInput): Match | undefined {
  const to = formatIp(destination);
  let nodePort: Match | undefined;
  for (const one of rules) {
    if (one.protocol !== packet.protocol) continue;
    for (const frontend of one.frontends) {
      if (frontend.port !== packet.port) continue;
      if (frontend.kind === 'nodePort') nodePort ??= { rules: one, frontend };
      else if (frontend.address === to) return { rules: one, frontend };
    }
  }
  return nodePort !== undefined && answersNodePorts(destination, to, base, local) ? nodePort : undefined;
}

function answersNodePorts(destination: Ip, to: string, base: BaseRules, local: ReadonlySet<string>): boolean {
  if (base.nodePorts.kind === 'addresses') return base.nodePorts.addresses.includes(to);
  if (isLoopback(destination)) return base.nodePorts.loopback;
  return local.has(to);
}

function unmatched({ packet, destination }: Seen, { rules, base, backend }: TraceInput): Trace {
  const nobody = `no Service answers on ${packet.destination} port ${packet.port}/${packet.protocol}`;
  if (backend === 'iptables') return { verdict: 'pass', reason: nobody };
  const to = formatIp(destination);
  const isBound = (frontend: Frontend): boolean =>
    frontend.kind === 'clusterIP' ||
    (backend === 'ipvs' && frontend.kind !== 'nodePort' && !(base.nodeAddresses?.includes(to) ?? false));
  for (const one of rules) {
    if (one.frontends.some((frontend) => isBound(frontend) && 'address' in frontend && frontend.address === to)) {
      return { verdict: 'reject', reason: `${one.service} has this address, but not this port` };
    }
  }
  if (backend === 'ipvs') return { verdict: 'pass', reason: nobody };
  const range = base.serviceCIDRs.find((text) => {
    const cidr = parseCidr(text);
    return cidr !== undefined && cidrContains(cidr, destination);
  });
  if (range === undefined) return { verdict: 'pass', reason: nobody };
  return { verdict: 'drop', reason: `no Service has this address of the Service range ${range}` };
}

function internal(seen: Seen, match: Match, base: BaseRules): Trace {
  const { rules } = match;
  if (rules.internal !== 'forward') return refusal(rules.internal, match, 'internalTrafficPolicy');
  const isLocalPolicy = rules.internalPolicy === 'Local';
  const foreign = tellsPods(base) && !isOwnPod(seen, base.localDetector, base);
  const masquerade = base.masqueradeAll || foreign;
  const why = base.masqueradeAll
    ? '; masquerades everything (masqueradeAll)'
    : foreign
      ? "; the client is none of this cluster's pods, so that the answer has to come back by this node"
      : '';
  const where = isLocalPolicy ? 'endpoints on this node alone (internalTrafficPolicy Local)' : 'any usable endpoint';
  return forward(seen, match, isLocalPolicy ? rules.local : rules.cluster, masquerade, `${where}${why}`);
}

function external(seen: Seen, match: Match, { base, backend }: TraceInput): Trace {
  const { rules } = match;
  if (rules.external === 'reject') return refusal('reject', match, 'externalTrafficPolicy');
  if (rules.externalPolicy === 'Cluster') {
    return forward(seen, match, rules.cluster, true, 'any usable endpoint; the answer has to come back by this node');
  }
  if (backend === 'ipvs' && rules.local.length > 0) {
    const isNode = seen.local.has(formatIp(seen.source));
    const reason = 'endpoints on this node alone (externalTrafficPolicy Local), which in ipvs mode is so for everybody';
    return forward(seen, match, rules.local, isNode, reason);
  }
  if (tellsPods(base) && isOwnPod(seen, base.localDetector, base) && rules.cluster.length > 0) {
    return forward(seen, match, rules.cluster, false, "any usable endpoint: the client is one of this cluster's pods");
  }
  if (seen.local.has(formatIp(seen.source)) && rules.cluster.length > 0) {
    return forward(seen, match, rules.cluster, true, 'any usable endpoint: the client is this node itself');
  }
  if (rules.local.length === 0) return refusal('drop', match, 'externalTrafficPolicy');
  const reason = 'endpoints on this node alone, with the address of the client (externalTrafficPolicy Local)';
  return forward(seen, match, rules.local, false, reason);
}

function refusal(decision: 'reject' | 'drop', match: Match, policy: string): Trace {
  if (decision === 'reject') return { verdict: 'reject', reason: `${match.rules.name} has no usable endpoint`, match };
  const reason = `${match.rules.name} has no usable endpoint on this node, and its ${policy} is Local`;
  return { verdict: 'drop', reason, match };
}

function forward(seen: Seen, match: Match, targets: readonly Target[], masquerade: boolean, reason: string): Trace {
  const from = formatIp(seen.source);
  return {
    verdict: 'forward',
    reason,
    match,
    // An endpoint that is its own client would answer itself directly.
    targets: targets.map((target) => ({ ...target, masquerade: masquerade || target.address === from })),
  };
}

function isAdmitted({ source, local }: Seen, { rules, frontend }: Match, { backend }: TraceInput): boolean {
  if (rules.sourceRanges.length === 0) return true;
  // What the node itself sends does not come by the sets with the ranges.
  if (backend === 'ipvs' && local.has(formatIp(source))) return rules.sourceRangesHaveNode;
  const address = 'address' in frontend ? frontend.address : '';
  if (rules.sourceRangesHaveNode && formatIp(source) === address) return true;
  return rules.sourceRanges.some((text) => {
    const range = parseCidr(text);
    return range !== undefined && cidrContains(range, source);
  });
}

function isOwnPod({ source, packet }: Seen, detector: LocalDetector, base: BaseRules): boolean {
  switch (detector.kind) {
    case 'clusterCIDR': {
      return podRanges(detector.cidrs, base).some((range) => cidrContains(range, source));
    }
    case 'bridgeInterface':
      return packet.inInterface === detector.name;
    case 'interfaceNamePrefix':
      return packet.inInterface?.startsWith(detector.prefix) ?? false;
    case 'none':
      return false;
  }
}

/** Without any range of the family nothing is known of who is a pod. */
function tellsPods(base: BaseRules): boolean {
  const { localDetector } = base;
  if (localDetector.kind === 'clusterCIDR') return podRanges(localDetector.cidrs, base).length > 0;
  return localDetector.kind !== 'none';
}

function podRanges(cidrs: readonly string[], base: BaseRules): readonly Cidr[] {
  return cidrs.flatMap((text) => parseCidr(text) ?? []).filter((one) => one.family === base.family);
}

function canonical(address: string): string {
  const ip = parseIp(address);
  return ip === undefined ? address : formatIp(ip);
}
