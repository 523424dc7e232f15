import type { BaseRules } from '../../port.ts';
import {
  canaryChain,
  externalServicesChain,
  forwardChain,
  kubeletFirewallChain,
  markMasqChain,
  nodePortsChain,
  postroutingChain,
  proxyFirewallChain,
  servicesChain,
  type Table,
} from './chains.ts';
import { comment, host, mark, ruleText } from './rule-text.ts';

export interface BaseChain {
  readonly table: Table;
  readonly name: string;
  readonly rules: readonly string[];
}

/** A rule in a built-in chain that leads to one of our chains. */
export interface JumpRule {
  readonly table: Table;
  /** INPUT, FORWARD, … */
  readonly from: string;
  readonly to: string;
  readonly rule: string;
}

export interface RenderedBase {
  readonly chains: readonly BaseChain[];
  /** In the order in which the rules of one built-in chain stand, from its head on. */
  readonly jumps: readonly JumpRule[];
  /** The last rules of the nat table's KUBE-SERVICES, after those of all Services. */
  readonly servicesTail: readonly string[];
}

/** Everything that belongs to no Service, in kube-proxy's layout. Pure. */
export function renderBase(base: BaseRules): RenderedBase {
  const masqueradeMark = mark(base.masqueradeBit);
  const marked = `mark --mark ${masqueradeMark}/${masqueradeMark}`;
  const withFirewall = base.localhostNodePorts && base.family === 'IPv4';
  const canary = [ruleText({ matches: [comment('deckhand sees by this rule that nobody flushed its rules')] })];
  const chains: BaseChain[] = [
    { table: 'filter', name: canaryChain, rules: canary },
    { table: 'filter', name: forwardChain, rules: forwardRules(base, marked) },
    { table: 'nat', name: canaryChain, rules: canary },
    {
      table: 'nat',
      name: markMasqChain,
      rules: [ruleText({ target: `MARK --set-xmark ${masqueradeMark}/${masqueradeMark}` })],
    },
    {
      table: 'nat',
      name: postroutingChain,
      rules: [
        ruleText({ matches: [`mark ! --mark ${masqueradeMark}/${masqueradeMark}`], target: 'RETURN' }),
        // The mark goes, or a packet that comes by again would be masqueraded twice.
        ruleText({ target: `MARK --set-xmark ${masqueradeMark}/0x0` }),
        ruleText({
          matches: [comment('kubernetes service traffic requiring SNAT')],
          target: 'MASQUERADE --random-fully',
        }),
      ],
    },
  ];
  if (withFirewall) chains.push({ table: 'filter', name: kubeletFirewallChain, rules: [localnetRule()] });
  return { chains, jumps: jumpRules(withFirewall), servicesTail: servicesTail(base) };
}

function forwardRules(base: BaseRules, marked: string): string[] {
  const lines: string[] = [];
  // An INVALID packet would go on with its address untranslated, and the client's kernel would answer with a reset
  // (kubernetes/kubernetes#74839).
  if (!base.tcpBeLiberal) lines.push(ruleText({ matches: ['conntrack --ctstate INVALID'], target: 'DROP' }));
  lines.push(ruleText({ matches: [comment('kubernetes forwarding rules'), marked], target: 'ACCEPT' }));
  const established = 'conntrack --ctstate RELATED,ESTABLISHED';
  lines.push(ruleText({ matches: [comment('kubernetes forwarding conntrack rule'), established], target: 'ACCEPT' }));
  return lines;
}

/** route_localnet lets others reach 127.0.0.0/8; this rule keeps them out (CVE-2020-8558). The text is kubelet's. */
export function localnetRule(): string {
  const matches = [comment('block incoming localnet connections'), 'conntrack ! --ctstate RELATED,ESTABLISHED,DNAT'];
  return ruleText({ source: '! 127.0.0.0/8', destination: '127.0.0.0/8', matches, target: 'DROP' });
}

function servicesTail(base: BaseRules): string[] {
  const text = comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain');
  if (base.nodePorts.kind === 'addresses') {
    return base.nodePorts.addresses.map((address) =>
      ruleText({ destination: host(address), matches: [text], target: nodePortsChain }),
    );
  }
  const notLoopback = base.family === 'IPv4' ? '! 127.0.0.0/8' : '! ::1/128';
  return [
    ruleText({
      destination: base.nodePorts.loopback ? undefined : notLoopback,
      matches: [text, 'addrtype --dst-type LOCAL'],
      target: nodePortsChain,
    }),
  ];
}

function jumpRules(withFirewall: boolean): JumpRule[] {
  const fresh = 'conntrack --ctstate NEW';
  const jump = (table: Table, from: string, to: string, text: string, ...before: string[]): JumpRule => ({
    table,
    from,
    to,
    rule: ruleText({ matches: [...before, comment(text)], target: to }),
  });
  const firewall = (from: string): JumpRule[] =>
    withFirewall
      ? [{ table: 'filter', from, to: kubeletFirewallChain, rule: ruleText({ target: kubeletFirewallChain }) }]
      : [];
  const lbFirewall = (from: string): JumpRule =>
    jump('filter', from, proxyFirewallChain, 'kubernetes load balancer firewall', fresh);
  const portals = (from: string): JumpRule => jump('filter', from, servicesChain, 'kubernetes service portals', fresh);
  const visible = (from: string): JumpRule =>
    jump('filter', from, externalServicesChain, 'kubernetes externally-visible service portals', fresh);
  return [
    ...firewall('INPUT'),
    lbFirewall('INPUT'),
    jump('filter', 'INPUT', nodePortsChain, 'kubernetes health check service ports'),
    visible('INPUT'),
    lbFirewall('FORWARD'),
    jump('filter', 'FORWARD', forwardChain, 'kubernetes forwarding rules'),
    portals('FORWARD'),
    visible('FORWARD'),
    ...firewall('OUTPUT'),
    lbFirewall('OUTPUT'),
    portals('OUTPUT'),
    jump('nat', 'PREROUTING', servicesChain, 'kubernetes service portals'),
    jump('nat', 'OUTPUT', servicesChain, 'kubernetes service portals'),
    jump('nat', 'POSTROUTING', postroutingChain, 'kubernetes postrouting rules'),
  ];
}
