import type { IPFamily } from '../../../model/service.ts';
import type { BaseRules } from '../../port.ts';
import {
  canaryChain,
  forwardChain,
  markMasqChain,
  postroutingChain,
  proxyFirewallChain,
  servicesChain,
  type Table,
} from '../iptables/chains.ts';
import type { BaseChain, JumpRule } from '../iptables/render-base.ts';
import { comment, localMatch, mark, type RuleParts, ruleText } from '../iptables/rule-text.ts';
import { filterChain, loadBalancerChain, nodePortChain, outFilterChain, sourceRangesChain } from './chains.ts';
import { type ServiceSet, setName } from './sets.ts';

export interface RenderedIpvsBase {
  /** Besides KUBE-IPVS-OUT-FILTER, which holds rules of Services. */
  readonly chains: readonly BaseChain[];
  readonly jumps: readonly JumpRule[];
}

type How = 'dst' | 'dst,dst' | 'src,dst' | 'dst,dst,src';

/**
 * The rules around IPVS, in kube-proxy's layout: which packets are masqueraded, which are kept out. They look into sets,
 * so that no Service changes them; and they are there although a set is empty. Pure.
 */
export function renderIpvsBase(base: BaseRules): RenderedIpvsBase {
  const { family } = base;
  const bit = mark(base.masqueradeBit);
  const inSet = (set: ServiceSet, how: How): string => `set --match-set ${setName(set, family)} ${how}`;
  const rule = (target: string, ...matches: readonly string[]): string => ruleText({ matches, target });
  const canary = [ruleText({ matches: [comment('deckhand sees by this rule that nobody flushed its rules')] })];
  const chain = (table: Table, name: string, rules: readonly string[]): BaseChain => ({ table, name, rules });
  return {
    chains: [
      chain('filter', canaryChain, canary),
      chain('filter', forwardChain, [
        rule('ACCEPT', comment('kubernetes forwarding rules'), `mark --mark ${bit}/${bit}`),
        rule('ACCEPT', comment('kubernetes forwarding conntrack rule'), 'conntrack --ctstate RELATED,ESTABLISHED'),
      ]),
      chain('filter', nodePortChain, [
        rule('ACCEPT', comment('Kubernetes health check node port'), inSet('HEALTH-CHECK-NODE-PORT', 'dst')),
      ]),
      chain('filter', sourceRangesChain, [
        rule('RETURN', inSet('LOAD-BALANCER-SOURCE-CIDR', 'dst,dst,src')),
        rule('RETURN', inSet('LOAD-BALANCER-SOURCE-IP', 'dst,dst,src')),
        rule('DROP'),
      ]),
      chain('filter', proxyFirewallChain, [
        rule(sourceRangesChain, comment('load balancers with source ranges'), inSet('LOAD-BALANCER-FW', 'dst,dst')),
      ]),
      chain('filter', filterChain, filterRules(base, inSet)),
      chain('nat', canaryChain, canary),
      chain('nat', markMasqChain, [rule(`MARK --set-xmark ${bit}/${bit}`)]),
      chain('nat', loadBalancerChain, [
        // What the node itself sends has the Service's own address as its source, which an endpoint would answer to.
        rule(markMasqChain, inSet('LOAD-BALANCER-LOCAL', 'dst,dst'), fromNode),
        rule('RETURN', inSet('LOAD-BALANCER-LOCAL', 'dst,dst')),
        rule(markMasqChain),
      ]),
      chain('nat', nodePortChain, nodePortRules(inSet)),
      chain('nat', postroutingChain, [
        rule('MASQUERADE', comment('an endpoint that is its own client'), inSet('LOOP-BACK', 'dst,dst,src')),
        rule('RETURN', `mark ! --mark ${bit}/${bit}`),
        // The mark goes, or a packet that comes by again would be masqueraded twice.
        rule(`MARK --set-xmark ${bit}/0x0`),
        rule('MASQUERADE --random-fully', comment('kubernetes service traffic requiring SNAT')),
      ]),
      chain('nat', servicesChain, servicesRules(base, inSet)),
    ],
    jumps: jumpRules(),
  };
}

const fromNode = 'addrtype --src-type LOCAL';
const fresh = 'conntrack --ctstate NEW';

type InSet = (set: ServiceSet, how: How) => string;

function servicesRules(base: BaseRules, inSet: InSet): string[] {
  const { family } = base;
  const rules: string[] = [];
  const put = (target: string, matches: readonly string[], parts: RuleParts = {}): void =>
    void rules.push(ruleText({ ...parts, matches, target }));
  put('RETURN', [], { source: family === 'IPv4' ? '127.0.0.0/8' : '::1/128' });
  put(loadBalancerChain, [comment('load balancers'), inSet('LOAD-BALANCER', 'dst,dst')]);
  const clusterIP = comment('cluster IPs');
  const detected = localMatch(base.localDetector, family);
  if (base.masqueradeAll) put(markMasqChain, [clusterIP, inSet('CLUSTER-IP', 'dst,dst')]);
  else if (detected !== undefined) put(markMasqChain, [clusterIP, inSet('CLUSTER-IP', 'dst,dst')], detected.isNotLocal);
  // All addresses of Services are the node's own: the kernel takes the destination for the source as well.
  else put(markMasqChain, [clusterIP, inSet('CLUSTER-IP', 'src,dst')]);
  put(markMasqChain, [comment('external IPs'), inSet('EXTERNAL-IP', 'dst,dst')]);
  put(markMasqChain, [comment('external IPs of policy Local'), inSet('EXTERNAL-IP-LOCAL', 'dst,dst'), fromNode]);
  put(nodePortChain, ['addrtype --dst-type LOCAL']);
  for (const set of ['CLUSTER-IP', 'LOAD-BALANCER', 'EXTERNAL-IP', 'EXTERNAL-IP-LOCAL'] as const) {
    put('ACCEPT', [inSet(set, 'dst,dst')]);
  }
  return rules;
}

function nodePortRules(inSet: InSet): string[] {
  const rules: string[] = [];
  for (const [protocol, suffix, how] of [
    ['tcp', 'TCP', 'dst'],
    ['udp', 'UDP', 'dst'],
    ['sctp', 'SCTP-HASH', 'dst,dst'],
  ] as const) {
    const here = inSet(`NODE-PORT-LOCAL-${suffix}`, how);
    rules.push(ruleText({ protocol, matches: [here, fromNode], target: markMasqChain }));
    rules.push(ruleText({ protocol, matches: [here], target: 'RETURN' }));
    rules.push(ruleText({ protocol, matches: [inSet(`NODE-PORT-${suffix}`, how)], target: markMasqChain }));
  }
  return rules;
}

/** What comes in for an address of a Service: before IPVS sees it. The node's own packets do not pass here. */
function filterRules(base: BaseRules, inSet: InSet): string[] {
  const put = (target: string, matches: readonly string[], parts: RuleParts = {}): string =>
    ruleText({ ...parts, matches, target });
  const isOutside = localMatch(base.localDetector, base.family)?.isNotLocal ?? {};
  return [
    // New connections alone: an endpoint that is being ended may have others.
    put('DROP', [comment('policy Local without an endpoint here'), fresh, inSet('NO-LOCAL', 'dst,dst')]),
    put('DROP', [comment('from outside, policy Local'), fresh, inSet('NO-LOCAL-OUTSIDE', 'dst,dst')], isOutside),
    put('RETURN', [inSet('LOAD-BALANCER', 'dst,dst')]),
    put('RETURN', [inSet('CLUSTER-IP', 'dst,dst')]),
    put('RETURN', [inSet('EXTERNAL-IP', 'dst,dst')]),
    put('RETURN', [inSet('EXTERNAL-IP-LOCAL', 'dst,dst')]),
    put('RETURN', [inSet('HEALTH-CHECK-NODE-PORT', 'dst')]),
    // Or all of the node's own ports would answer on the addresses of Services (kubernetes/kubernetes#72236).
    put(rejectTarget(base.family), [fresh, inSet('IPVS-IPS', 'dst')]),
  ];
}

function rejectTarget(family: IPFamily): string {
  return `REJECT --reject-with ${family === 'IPv4' ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`;
}

function jumpRules(): JumpRule[] {
  const jump = (table: Table, from: string, to: string, text: string, ...before: string[]): JumpRule => ({
    table,
    from,
    to,
    rule: ruleText({ matches: [...before, comment(text)], target: to }),
  });
  return [
    jump('filter', 'INPUT', filterChain, 'kubernetes ipvs access filter'),
    jump('filter', 'INPUT', proxyFirewallChain, 'kube-proxy firewall rules', fresh),
    jump('filter', 'INPUT', nodePortChain, 'kubernetes health check rules'),
    jump('filter', 'FORWARD', proxyFirewallChain, 'kube-proxy firewall rules', fresh),
    jump('filter', 'FORWARD', forwardChain, 'kubernetes forwarding rules'),
    jump('filter', 'OUTPUT', outFilterChain, 'kubernetes ipvs access filter'),
    jump('nat', 'PREROUTING', servicesChain, 'kubernetes service portals'),
    jump('nat', 'OUTPUT', servicesChain, 'kubernetes service portals'),
    jump('nat', 'POSTROUTING', postroutingChain, 'kubernetes postrouting rules'),
  ];
}
