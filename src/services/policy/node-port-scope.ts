import { cidrContains, formatIp, isLoopback, parseCidr, parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import type { NodePortScope, ProxyFacts } from '../port.ts';

/**
 * Where node ports answer in one family (KubeProxyConfiguration.nodePortAddresses). `addresses` are the node's own,
 * in any spelling. Loopback is served on IPv4 alone, and only with localhostNodePorts.
 */
export function nodePortScope(
  family: IPFamily,
  facts: Pick<ProxyFacts, 'nodeIPs' | 'nodePortAddresses' | 'localhostNodePorts'>,
  addresses: readonly string[],
): NodePortScope {
  const loopback = facts.localhostNodePorts && family === 'IPv4';
  if (facts.nodePortAddresses.length === 0) return { kind: 'local', loopback };
  const chosen = new Set<string>();
  if (facts.nodePortAddresses.includes('primary')) {
    const primary = parseIp(facts.nodeIPs[family] ?? '');
    if (primary !== undefined) chosen.add(formatIp(primary));
  }
  const ranges = facts.nodePortAddresses.flatMap((text) => parseCidr(text) ?? []).filter((c) => c.family === family);
  if (ranges.some((range) => range.prefix === 0)) return { kind: 'local', loopback };
  for (const text of addresses) {
    const ip = parseIp(text);
    if (ip === undefined || ip.family !== family || (isLoopback(ip) && !loopback)) continue;
    if (ranges.some((range) => cidrContains(range, ip))) chosen.add(formatIp(ip));
  }
  return { kind: 'addresses', addresses: [...chosen].sort() };
}

/** What the node itself is reached at from elsewhere: canonical and sorted, without loopback and link-local addresses. */
export function nodeAddresses(family: IPFamily, addresses: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const text of addresses) {
    const ip = parseIp(text);
    if (ip === undefined || ip.family !== family || isLoopback(ip)) continue;
    const address = formatIp(ip);
    if (!/^fe[89ab]/.test(address)) found.add(address);
  }
  return [...found].sort();
}
