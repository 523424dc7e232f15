import { formatIp, type Ip, parseCidr, parseIp } from '../../../model/cidr.ts';
import type { IPFamily } from '../../../model/service.ts';

interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * Addresses and CIDRs of one family as nft prints them in a rule: sorted, those that overlap or touch as one, "a-b"
 * where no prefix says it, a single address without a prefix. Written in any other way, a rule that is read back
 * would never be the rule that is wanted.
 */
export function addressRanges(texts: readonly string[], family: IPFamily): string {
  const bits = family === 'IPv4' ? 32 : 128;
  const ranges = texts.flatMap((text) => rangeOf(text, family, bits) ?? []);
  ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const merged: Range[] = [];
  for (const range of ranges) {
    const before = merged.at(-1);
    if (before === undefined || range.first > before.last + 1n) merged.push(range);
    else if (range.last > before.last) merged[merged.length - 1] = { first: before.first, last: range.last };
  }
  const printed = merged.map((range) => printRange(range, family, bits));
  return printed.length === 1 ? (printed[0] ?? '') : `{ ${printed.join(', ')} }`;
}

function rangeOf(text: string, family: IPFamily, bits: number): Range | undefined {
  const cidr = parseCidr(text);
  const ip = cidr ?? parseIp(text);
  if (ip === undefined || ip.family !== family) return undefined;
  const first = numberOf(ip);
  return { first, last: first + (1n << BigInt(bits - (cidr?.prefix ?? bits))) - 1n };
}

function printRange({ first, last }: Range, family: IPFamily, bits: number): string {
  const size = last - first + 1n;
  const start = formatIp(ipOf(first, family));
  if (size === 1n) return start;
  const isPrefix = (size & (size - 1n)) === 0n && first % size === 0n;
  return isPrefix ? `${start}/${bits + 1 - size.toString(2).length}` : `${start}-${formatIp(ipOf(last, family))}`;
}

function numberOf({ words, family }: Ip): bigint {
  const width = family === 'IPv4' ? 8n : 16n;
  return words.reduce((value, word) => (value << width) | BigInt(word), 0n);
}

function ipOf(value: bigint, family: IPFamily): Ip {
  const [count, width] = family === 'IPv4' ? [4, 8] : [8, 16];
  const mask = (1n << BigInt(width)) - 1n;
  const words = Array.from({ length: count }, (_, index) =>
    Number((value >> BigInt(width * (count - 1 - index))) & mask),
  );
  return { family, words };
}
