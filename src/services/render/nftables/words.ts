import type { Protocol } from '../../../model/pod.ts';
import type { IPFamily } from '../../../model/service.ts';
import type { BaseRules, LocalDetector } from '../../port.ts';
import { addressRanges } from './address-ranges.ts';

/** Everything of ours is in this table, one for each address family; taking it away takes everything. */
export const tableName = 'deckhand';

/** Protocols by number: names depend on /etc/protocols, which small systems do not have. */
const protocolNumbers: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Words that differ between the two address families. */
export interface FamilyWords {
  readonly ip: 'ip' | 'ip6';
  readonly addressType: 'ipv4_addr' | 'ipv6_addr';
  readonly loopback: '127.0.0.0/8' | '::1';
}

export function wordsOf(family: IPFamily): FamilyWords {
  return family === 'IPv4'
    ? { ip: 'ip', addressType: 'ipv4_addr', loopback: '127.0.0.0/8' }
    : { ip: 'ip6', addressType: 'ipv6_addr', loopback: '::1' };
}

export function protocolNumber(protocol: Protocol): number {
  return protocolNumbers[protocol];
}

/**
 * In a rule with a transport port, nft wants to be told that there is one. Never one protocol alone: nft 1.0.6 would
 * remember it for the rest of the transaction and refuse every map of ports ("conflicting protocols").
 */
const withPorts = `meta l4proto { ${Object.values(protocolNumbers).join(', ')} }`;

/** Sends a packet to an endpoint, without the number that it has carried in its priority (see `dispatch`). */
export function endpointRule(to: string): string {
  return `meta priority set none ${withPorts} dnat ${to}`;
}

/** Sets the mark by which the masquerading chain knows a packet. The text is what the kernel's rule prints as. */
export function markRule(base: BaseRules): string {
  return `meta mark set meta mark | ${markText(base)}`;
}

export function markText(base: BaseRules): string {
  return `0x${(2 ** base.masqueradeBit).toString(16).padStart(8, '0')}`;
}

/** Matches packets from pods of this cluster (or, negated, all others); empty when nothing is known of them. */
export function localSource(detector: LocalDetector, base: BaseRules, negated: boolean): string {
  const { ip } = wordsOf(base.family);
  const not = negated ? '!= ' : '';
  switch (detector.kind) {
    case 'clusterCIDR': {
      const own = detector.cidrs.filter((cidr) => cidr.includes(':') === (base.family === 'IPv6'));
      return own.length === 0 ? '' : `${ip} saddr ${not}${addressRanges(own, base.family)}`;
    }
    case 'bridgeInterface':
      return `iifname ${not}"${detector.name}"`;
    case 'interfaceNamePrefix':
      return `iifname ${not}"${detector.prefix}*"`;
    case 'none':
      return '';
  }
}

export type Hash = (text: string) => Uint8Array;

/** 64 bits in hex: enough that no two texts of one cluster meet. */
export function shortHash(hash: Hash, text: string): string {
  return Array.from(hash(text).subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
