import { keyOf } from '../../model/meta.ts';
import type { IPFamily } from '../../model/service.ts';
import { type Frontend, type ServicePortRules, targetText } from '../model.ts';
import type { Candidate } from '../policy/categorize-endpoints.ts';
import { candidatesOf, isProxied, type ServiceInput, serviceRules } from '../policy/service-rules.ts';
import type { BaseRules } from '../port.ts';
import { type Packet, type Trace, type TracedBackend, tracePacket } from './trace-packet.ts';

export interface ExplainedEndpoint {
  readonly endpoint: string;
  readonly onThisNode: boolean;
  /** Traffic policies that may choose it. */
  readonly chosenBy: readonly string[];
  /** Why it is not chosen, or not by all. */
  readonly out?: string;
}

export interface ExplainedPort {
  readonly name: string;
  readonly protocol: string;
  readonly frontends: readonly { readonly at: string; readonly decision: string }[];
  readonly endpoints: readonly ExplainedEndpoint[];
  readonly affinitySeconds: number;
  readonly sourceRanges: readonly string[];
}

export interface ExplainedPacket {
  readonly from: string;
  readonly to: string;
  readonly verdict: Trace['verdict'];
  readonly reason: string;
  readonly matched?: string;
  readonly endpoints: readonly { readonly endpoint: string; readonly masqueraded: boolean }[];
}

export interface Explanation {
  readonly service: string;
  readonly family: IPFamily;
  readonly ports: readonly ExplainedPort[];
  readonly problems: readonly string[];
  readonly packets: readonly ExplainedPacket[];
}

export interface ExplainInput {
  readonly input: ServiceInput;
  readonly base: BaseRules;
  readonly localAddresses: readonly string[];
  readonly backend: TracedBackend;
  /** Packets that may be about this Service or not. */
  readonly packets: readonly Packet[];
  /** Rules of all Services, for packets. */
  readonly rules: Iterable<ServicePortRules>;
}

/** Says what one Service leads to on this node, and why each endpoint is in or out. Pure. */
export function explainService({ input, base, localAddresses, backend, packets, rules }: ExplainInput): Explanation {
  const { service, family } = input;
  const key = keyOf(service);
  const made = serviceRules(input);
  const problems = made.problems.map((one) => one.message);
  if (!isProxied(service))
    problems.push('no proxy is for it: it is headless, ExternalName, or labelled for another proxy');
  else if (made.rules.length === 0 && problems.length === 0) problems.push(`it has no ${family} address`);
  return {
    service: key,
    family,
    ports: made.rules.map((port) => explainPort(port, input)),
    problems,
    packets: packets.map((packet) => explainPacket(packet, { rules, base, localAddresses, backend })),
  };
}

function explainPort(port: ServicePortRules, input: ServiceInput): ExplainedPort {
  const { name, protocol, affinitySeconds, sourceRanges } = port;
  const portName = name.includes(':') ? name.slice(name.indexOf(':') + 1) : '';
  const decisionOf = (frontend: Frontend): string => {
    const inside = frontend.kind === 'clusterIP';
    const policy = inside ? port.internalPolicy : port.externalPolicy;
    switch (inside ? port.internal : port.external) {
      case 'forward':
        return `forwards by policy ${policy}`;
      case 'reject':
        return 'rejects: there is no usable endpoint';
      case 'drop':
        return `drops by policy ${policy}: no usable endpoint is on this node`;
    }
  };
  return {
    name,
    protocol,
    frontends: port.frontends.map((frontend) => ({ at: frontendText(frontend), decision: decisionOf(frontend) })),
    endpoints: candidatesOf(input, portName, protocol, []).map((candidate) => explainEndpoint(candidate, port, input)),
    affinitySeconds,
    sourceRanges,
  };
}

function explainEndpoint(candidate: Candidate, port: ServicePortRules, { facts }: ServiceInput): ExplainedEndpoint {
  const endpoint = targetText(candidate);
  const isIn = (list: ServicePortRules['cluster']): boolean => list.some((one) => targetText(one) === endpoint);
  const chosenBy = [...(isIn(port.cluster) ? ['Cluster'] : []), ...(isIn(port.local) ? ['Local'] : [])];
  const out = whyOut(candidate, port, chosenBy, facts);
  return { endpoint, onThisNode: candidate.local, chosenBy, ...(out === undefined ? {} : { out }) };
}

function whyOut(
  { ready, serving, terminating, local, zoneHints, nodeHints }: Candidate,
  port: ServicePortRules,
  chosenBy: readonly string[],
  { nodeName, zone }: ServiceInput['facts'],
): string | undefined {
  const used = [port.internalPolicy, port.frontends.length > 1 ? port.externalPolicy : port.internalPolicy];
  if (used.every((policy) => chosenBy.includes(policy))) {
    return ready ? undefined : 'is being ended, and is used only because no endpoint is ready';
  }
  if (!ready && !serving) return terminating ? 'is being ended and no longer serves' : 'is not ready';
  if (!ready && !terminating) return 'is not ready';
  if (!ready) return 'is being ended, and others are ready';
  if (!local && used.includes('Local') && (chosenBy.includes('Cluster') || !used.includes('Cluster'))) {
    return 'is on another node, and the policy is Local';
  }
  if (nodeHints.length > 0 && !nodeHints.includes(nodeName)) return `is hinted for the nodes ${nodeHints.join(', ')}`;
  if (zoneHints.length > 0 && !zoneHints.includes(zone ?? '')) return `is hinted for the zones ${zoneHints.join(', ')}`;
  return 'is not chosen by this Service’s policies';
}

function explainPacket(packet: Packet, input: Parameters<typeof tracePacket>[1]): ExplainedPacket {
  const trace = tracePacket(packet, input);
  const { match } = trace;
  return {
    from: packet.source,
    to: `${targetText({ address: packet.destination, port: packet.port })}/${packet.protocol}`,
    verdict: trace.verdict,
    reason: trace.reason,
    ...(match === undefined ? {} : { matched: `${match.rules.name}, ${frontendText(match.frontend)}` }),
    endpoints:
      trace.verdict === 'forward'
        ? trace.targets.map((one) => ({ endpoint: targetText(one), masqueraded: one.masquerade }))
        : [],
  };
}

function frontendText(frontend: Frontend): string {
  switch (frontend.kind) {
    case 'nodePort':
      return `node port ${frontend.port}`;
    case 'clusterIP':
      return `cluster IP ${targetText(frontend)}`;
    case 'externalIP':
      return `external IP ${targetText(frontend)}`;
    case 'loadBalancerIP':
      return `load balancer ${targetText(frontend)}`;
  }
}

/** The explanation in words, a line each. */
export function explanationText(one: Explanation): string {
  const lines = [`Service ${one.service}, ${one.family}`];
  for (const problem of one.problems) lines.push(`  ${problem}`);
  for (const port of one.ports) {
    lines.push(`  port ${port.name}/${port.protocol}`);
    for (const { at, decision } of port.frontends) lines.push(`    ${at}: ${decision}`);
    if (port.sourceRanges.length > 0)
      lines.push(`    load balancer traffic from ${port.sourceRanges.join(', ')} alone`);
    if (port.affinitySeconds > 0) lines.push(`    a client keeps its endpoint for ${port.affinitySeconds} s`);
    if (port.endpoints.length === 0) lines.push('    no EndpointSlice names an endpoint for this port');
    for (const { endpoint, onThisNode, chosenBy, out } of port.endpoints) {
      const state = chosenBy.length === 0 ? 'out' : `in (${chosenBy.join(', ')})`;
      lines.push(
        `    ${endpoint}${onThisNode ? ', on this node' : ''}: ${state}${out === undefined ? '' : `; it ${out}`}`,
      );
    }
  }
  for (const packet of one.packets) {
    lines.push(`  from ${packet.from} to ${packet.to}: ${packet.verdict}`, `    because ${packet.reason}`);
    if (packet.matched !== undefined) lines.push(`    matched ${packet.matched}`);
    for (const { endpoint, masqueraded } of packet.endpoints) {
      lines.push(`    → ${endpoint}${masqueraded ? ', masqueraded' : ''}`);
    }
  }
  return lines.join('\n');
}
