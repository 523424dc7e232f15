import type { IPFamily } from './service.ts';

/** An IP address: four bytes (IPv4) or eight 16-bit groups (IPv6), most significant first. */
export interface Ip {
  readonly family: IPFamily;
  readonly words: readonly number[];
}

export interface Cidr extends Ip {
  /** 0..32 or 0..128; the bits below it are zero in `words`. */
  readonly prefix: number;
}

/**
 * Reads an address; undefined when it is none. As Kubernetes' own parser for stored objects (netutils.ParseIPSloppy)
 * it takes leading zeros in IPv4 parts as decimal, and an IPv4-mapped IPv6 address as the IPv4 address.
 */
export function parseIp(text: string): Ip | undefined {
  if (!text.includes(':')) {
    const bytes = parseIpv4(text);
    return bytes === undefined ? undefined : { family: 'IPv4', words: bytes };
  }
  const groups = parseIpv6(text);
  if (groups === undefined) return undefined;
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (!mapped) return { family: 'IPv6', words: groups };
  const [high = 0, low = 0] = groups.slice(6);
  return { family: 'IPv4', words: [high >> 8, high & 0xff, low >> 8, low & 0xff] };
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes: number[] = [];
  for (const part of parts) {
    if (!/^\d+$/.test(part)) return undefined;
    const byte = Number(part);
    if (byte > 255) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] ?? '', halves.length === 1);
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  const tail = groupsOf(halves[1] ?? '', true);
  // "::" stands for one group of zeros at least.
  if (tail === undefined || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function groupsOf(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes('.')) {
      const bytes = parseIpv4(part);
      if (bytes === undefined) return undefined;
      const [a = 0, b = 0, c = 0, d = 0] = bytes;
      groups.push((a << 8) | b, (c << 8) | d);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

/** The one spelling of an address: dotted decimal, or RFC 5952 (lower case, longest run of zeros as "::"). */
export function formatIp(ip: Ip): string {
  if (ip.family === 'IPv4') return ip.words.join('.');
  let bestStart = -1;
  let bestLength = 1;
  let start = -1;
  for (let index = 0; index <= 8; index++) {
    if (index < 8 && ip.words[index] === 0) {
      if (start < 0) start = index;
    } else if (start >= 0) {
      if (index - start > bestLength) {
        bestStart = start;
        bestLength = index - start;
      }
      start = -1;
    }
  }
  const hex = ip.words.map((word) => word.toString(16));
  if (bestStart < 0) return hex.join(':');
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`;
}

/** Reads "address/prefix" and clears the host bits; undefined when it is none. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (ip === undefined || !/^\d{1,3}$/.test(length)) return undefined;
  let prefix = Number(length);
  if (ip.family === 'IPv4' && text.includes(':')) prefix -= 96;
  if (prefix < 0 || prefix > bitsOf(ip.family)) return undefined;
  return { family: ip.family, words: masked(ip, prefix), prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr)}/${cidr.prefix}`;
}

export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (cidr.family !== ip.family) return false;
  const words = masked(ip, cidr.prefix);
  return words.every((word, index) => word === cidr.words[index]);
}

export function isLoopback(ip: Ip): boolean {
  if (ip.family === 'IPv4') return ip.words[0] === 127;
  return ip.words[7] === 1 && ip.words.slice(0, 7).every((word) => word === 0);
}

function bitsOf(family: IPFamily): number {
  return family === 'IPv4' ? 32 : 128;
}

function masked(ip: Ip, prefix: number): number[] {
  const width = ip.family === 'IPv4' ? 8 : 16;
  return ip.words.map((word, index) => {
    const kept = Math.min(Math.max(prefix - index * width, 0), width);
    return word & ((0xffff << (width - kept)) & (width === 8 ? 0xff : 0xffff));
  });
}
