import type { IPFamily } from '../../../model/service.ts';
import { kubeletFirewallChain } from './chains.ts';
import { localnetRule } from './render-base.ts';
import { comment, ruleText } from './rule-text.ts';

/** Its being there tells others, in whichever pod, which flavour of iptables this node uses (KEP-3178). */
export const hintChain = 'KUBE-IPTABLES-HINT';
export const kubeletCanaryChain = 'KUBE-KUBELET-CANARY';

const TABLES = ['mangle', 'nat', 'filter'] as const;
type Table = (typeof TABLES)[number];

/** The "-A" lines of chains; undefined: there is no such chain. */
export interface UtilChainsSeen {
  readonly hint: readonly string[] | undefined;
  readonly canaries: Readonly<Record<Table, readonly string[] | undefined>>;
  /** Those of table filter. */
  readonly firewall: readonly string[] | undefined;
  readonly input: readonly string[] | undefined;
  readonly output: readonly string[] | undefined;
}

const OURS = ruleText({ matches: [comment('deckhand keeps the chains of kubelet')] });
const JUMP = ruleText({ target: kubeletFirewallChain });
const localnet = `-A ${kubeletFirewallChain} ${localnetRule()}`;

/** Whether deckhand, and not kubelet, made them. */
export function areOurs({ canaries }: UtilChainsSeen): boolean {
  return canaries.mangle?.includes(`-A ${kubeletCanaryChain} ${OURS}`) ?? false;
}

/**
 * What is to be written so that kubelet's chains are there (kubelet_network_linux.go): the hint and the canaries, and on
 * IPv4 the rule that keeps others from 127.0.0.0/8. Empty: all of it is there.
 */
export function planUtilChains(family: IPFamily, seen: UtilChainsSeen): string {
  const lines: Record<Table, string[]> = { mangle: [], nat: [], filter: [] };
  if (seen.hint === undefined) lines.mangle.push(`:${hintChain} - [0:0]`);
  for (const table of TABLES) {
    if (seen.canaries[table] === undefined) lines[table].push(`:${kubeletCanaryChain} - [0:0]`);
  }
  if (!areOurs(seen)) lines.mangle.push(`-A ${kubeletCanaryChain} ${OURS}`);
  if (family === 'IPv4') {
    // Declared, it would lose what others put into it.
    if (seen.firewall === undefined) lines.filter.push(`:${kubeletFirewallChain} - [0:0]`);
    if (!seen.firewall?.includes(localnet)) lines.filter.push(localnet);
    if (!jumps(seen.input, 'INPUT')) lines.filter.push(`-I INPUT ${JUMP}`);
    if (!jumps(seen.output, 'OUTPUT')) lines.filter.push(`-I OUTPUT ${JUMP}`);
  }
  return textOf(lines);
}

/** What takes them away. */
export function planRemoval(seen: UtilChainsSeen): string {
  const lines: Record<Table, string[]> = { mangle: [], nat: [], filter: [] };
  if (seen.hint !== undefined) lines.mangle.push(`:${hintChain} - [0:0]`, `-X ${hintChain}`);
  for (const table of TABLES) {
    if (seen.canaries[table] === undefined) continue;
    lines[table].push(`:${kubeletCanaryChain} - [0:0]`, `-X ${kubeletCanaryChain}`);
  }
  if (seen.firewall !== undefined) {
    for (const from of ['INPUT', 'OUTPUT'] as const) {
      if (jumps(from === 'INPUT' ? seen.input : seen.output, from)) lines.filter.push(`-D ${from} ${JUMP}`);
    }
    lines.filter.unshift(`:${kubeletFirewallChain} - [0:0]`);
    lines.filter.push(`-X ${kubeletFirewallChain}`);
  }
  return textOf(lines);
}

function jumps(chain: readonly string[] | undefined, from: string): boolean {
  return chain?.includes(`-A ${from} ${JUMP}`) ?? false;
}

function textOf(lines: Readonly<Record<Table, readonly string[]>>): string {
  return TABLES.map((table) =>
    lines[table].length === 0 ? '' : `*${table}\n${lines[table].join('\n')}\nCOMMIT\n`,
  ).join('');
}
