import { formatCidr, parseCidr } from '../../../model/cidr.ts';
import type { IPFamily } from '../../../model/service.ts';
import type { LocalDetector } from '../../port.ts';

/**
 * Rules are written word for word as iptables-save prints them (address matches first, then protocol, then matches in
 * the order given, then the target; masks and defaults spelled out). That makes the text that is sent comparable with
 * the text that is read back, which is how a restarted deckhand finds that there is nothing to do.
 */
export interface RuleParts {
  /** Each with its "! " if negated, such as "! 10.0.0.0/8". */
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  readonly inInterface?: string | undefined;
  /** tcp, udp or sctp. */
  readonly protocol?: string | undefined;
  readonly matches?: readonly (string | undefined)[];
  /** Target and its options, without "-j". */
  readonly target?: string;
}

/** The rule without "-A CHAIN". */
export function ruleText(parts: RuleParts): string {
  const words: string[] = [];
  if (parts.source !== undefined) words.push(option('-s', parts.source));
  if (parts.destination !== undefined) words.push(option('-d', parts.destination));
  if (parts.inInterface !== undefined) words.push(option('-i', parts.inInterface));
  if (parts.protocol !== undefined) words.push(`-p ${parts.protocol}`);
  for (const match of parts.matches ?? []) if (match !== undefined) words.push(`-m ${match}`);
  if (parts.target !== undefined) words.push(`-j ${parts.target}`);
  return words.join(' ');
}

function option(flag: string, value: string): string {
  return value.startsWith('! ') ? `! ${flag} ${value.slice(2)}` : `${flag} ${value}`;
}

/** Quoted always: iptables-save quotes whatever has more than letters, digits, "_" and "-", and all of ours have. */
export function comment(text: string): string {
  return `comment --comment "${text}"`;
}

/** An address as a match: with the full prefix length. */
export function host(address: string): string {
  return address.includes(':') ? `${address}/128` : `${address}/32`;
}

/** The first `n` of equal shares as the kernel keeps it (xt_statistic: 31 bits, printed with 11 decimals). */
export function randomShare(n: number): string {
  const kernelValue = Math.round(2 ** 31 / n);
  return `statistic --mode random --probability ${(kernelValue / 2 ** 31).toFixed(11)}`;
}

/** xt_recent's options; the list has the name of the endpoint's chain. */
export function recent(family: IPFamily, action: string, list: string): string {
  const mask = family === 'IPv4' ? '255.255.255.255' : 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  return `recent ${action} --name ${list} --mask ${mask} --rsource`;
}

export function mark(bit: number): string {
  return `0x${(2 ** bit).toString(16)}`;
}

/**
 * Matches for traffic that comes, or does not come, from this cluster's pods; undefined where nothing can tell.
 * Several cluster CIDRs of one family would need a chain of their own; kube-proxy takes one per family, and so do we.
 */
export function localMatch(
  detector: LocalDetector,
  family: IPFamily,
): { readonly isLocal: RuleParts; readonly isNotLocal: RuleParts } | undefined {
  switch (detector.kind) {
    case 'none':
      return undefined;
    case 'bridgeInterface':
      return { isLocal: { inInterface: detector.name }, isNotLocal: { inInterface: `! ${detector.name}` } };
    case 'interfaceNamePrefix':
      return { isLocal: { inInterface: `${detector.prefix}+` }, isNotLocal: { inInterface: `! ${detector.prefix}+` } };
    case 'clusterCIDR': {
      const cidr = detector.cidrs.flatMap((text) => parseCidr(text) ?? []).find((one) => one.family === family);
      if (cidr === undefined) return undefined;
      const source = formatCidr(cidr);
      return { isLocal: { source }, isNotLocal: { source: `! ${source}` } };
    }
  }
}
