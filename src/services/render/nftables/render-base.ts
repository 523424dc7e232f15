import type { BaseRules } from '../../port.ts';
import { addressRanges } from './address-ranges.ts';
import { container } from './containers.ts';
import { localSource, markRule, markText, wordsOf } from './words.ts';

export interface Chain {
  readonly name: string;
  /** `type … hook … priority …; policy accept;` for a chain that the kernel itself enters. */
  readonly hook?: string;
  /** As nft prints them. */
  readonly rules: readonly string[];
}

/** Names of chains that other rules lead to. */
const servicesChain = 'services';
const dispatchChain = 'dispatch';
const masqueradingChain = 'masquerading';
const endpointsCheckChain = 'service-endpoints-check';
const nodePortsCheckChain = 'nodeport-endpoints-check';
const clusterIpsCheckChain = 'cluster-ips-check';
const firewallCheckChain = 'firewall-check';

// Bits of ct state and ct status as `nft -n` prints them (nf_conntrack_common.h).
const isNew = 'ct state 0x8';
const isInvalid = 'ct state 0x1';
const isDnat = 'ct status 0x20';

/** Every chain that belongs to no Service, in an order in which each leads only to earlier ones. Pure. */
export function renderBase(base: BaseRules): readonly Chain[] {
  const { ip } = wordsOf(base.family);
  const frontend = `${ip} daddr . meta l4proto . th dport`;
  const mark = markText(base);
  return [
    { name: firewallCheckChain, rules: [`${frontend} vmap @${container.firewallIps}`] },
    {
      name: endpointsCheckChain,
      rules: [`${frontend} @${container.refusedServices} reject`, `${frontend} @${container.droppedServices} drop`],
    },
    {
      name: nodePortsCheckChain,
      rules: [
        `${spaced(nodePortScope(base))}meta l4proto . th dport @${container.refusedNodePorts} reject`,
        `${spaced(nodePortScope(base))}meta l4proto . th dport @${container.droppedNodePorts} drop`,
      ],
    },
    // A port of a cluster IP that the Service does not have; those that it has were translated before.
    {
      name: clusterIpsCheckChain,
      rules: [
        `${ip} daddr @${container.clusterIps} reject`,
        // An address of the range that no Service has: it would leave the node by the default route, and come back.
        ...(base.serviceCIDRs.length === 0
          ? []
          : [`${ip} daddr ${addressRanges(base.serviceCIDRs, base.family)} drop`]),
      ],
    },
    // The priority is where a packet can carry a number from one rule to the next; `endpointRule` takes it away again.
    { name: dispatchChain, rules: [`meta priority vmap @${container.serviceChains}`] },
    {
      name: servicesChain,
      rules: [
        ...masqueradeForeign(base),
        `meta priority set ${frontend} map @${container.serviceIps} goto ${dispatchChain}`,
        `${spaced(toNode(base))}meta priority set meta l4proto . th dport map @${container.nodePorts} goto ${dispatchChain}`,
      ],
    },
    {
      name: masqueradingChain,
      rules: [
        // The mark goes, or a packet that comes by again would be masqueraded twice.
        `meta mark & ${mark} != 0x00000000 meta mark set meta mark ^ ${mark} masquerade fully-random`,
        `${isDnat} ${ip} saddr . ${ip} daddr @${container.hairpin} masquerade fully-random`,
      ],
    },
    hook('filter-prerouting-pre-dnat', 'filter', 'prerouting', -110, [`${isNew} jump ${firewallCheckChain}`]),
    hook('filter-output-pre-dnat', 'filter', 'output', -110, [`${isNew} jump ${firewallCheckChain}`]),
    hook('filter-input', 'filter', 'input', 0, [
      ...localnetRules(base),
      `${isNew} jump ${nodePortsCheckChain}`,
      `${isNew} jump ${endpointsCheckChain}`,
    ]),
    hook('filter-forward', 'filter', 'forward', 0, [
      // An INVALID packet would go on with its address untranslated, and the client's kernel would answer with a reset
      // (kubernetes/kubernetes#74839).
      ...(base.tcpBeLiberal ? [] : [`${isInvalid} drop`]),
      `${isNew} jump ${endpointsCheckChain}`,
      `${isNew} jump ${clusterIpsCheckChain}`,
    ]),
    hook('filter-output', 'filter', 'output', 0, [
      `${isNew} jump ${endpointsCheckChain}`,
      `${isNew} jump ${clusterIpsCheckChain}`,
    ]),
    hook('nat-output', 'nat', 'output', -100, [`jump ${servicesChain}`]),
    hook('nat-postrouting', 'nat', 'postrouting', 100, [`jump ${masqueradingChain}`]),
    hook('nat-prerouting', 'nat', 'prerouting', -100, [`jump ${servicesChain}`]),
  ];
}

/** The node's own addresses on which node ports answer, as elements of the set of them. */
export function nodePortAddresses(base: BaseRules): readonly string[] {
  return base.nodePorts.kind === 'addresses' ? base.nodePorts.addresses : [];
}

function hook(name: string, type: string, at: string, priority: number, rules: readonly string[]): Chain {
  return { name, hook: `type ${type} hook ${at} priority ${priority}; policy accept;`, rules };
}

function masqueradeForeign(base: BaseRules): string[] {
  const { ip } = wordsOf(base.family);
  const toCluster = `${ip} daddr @${container.clusterIps}`;
  if (base.masqueradeAll) return [`${toCluster} ${markRule(base)}`];
  const foreign = localSource(base.localDetector, base, true);
  return foreign === '' ? [] : [`${foreign} ${toCluster} ${markRule(base)}`];
}

function nodePortScope(base: BaseRules): string {
  const { ip, loopback } = wordsOf(base.family);
  if (base.nodePorts.kind === 'addresses') return `${ip} daddr @${container.nodePortIps}`;
  return base.nodePorts.loopback ? '' : `${ip} daddr != ${loopback}`;
}

/** route_localnet lets others reach 127.0.0.0/8; this keeps them out (CVE-2020-8558). */
function localnetRules(base: BaseRules): string[] {
  if (!base.localhostNodePorts || base.family !== 'IPv4') return [];
  return ['ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct state != { 0x2, 0x4 } ct status ! 0x20 drop'];
}

function toNode(base: BaseRules): string {
  const scope = nodePortScope(base);
  return base.nodePorts.kind === 'addresses' ? scope : `${spaced('fib daddr type 2')}${scope}`.trimEnd();
}

function spaced(text: string): string {
  return text === '' ? '' : `${text} `;
}
