import type { HostAddress } from '../host/machine/port.ts';
import { formatIp, parseIp } from '../model/cidr.ts';
import type { NodeAddress } from '../model/node.ts';

/** What --node-ip, the machine and DNS say of this node's addresses. */
export interface AddressFacts {
  /** --node-ip: none, one, or one of each family; 0.0.0.0 and :: only ask for a family. */
  readonly configured: readonly string[];
  readonly nodeName: string;
  readonly addresses: readonly HostAddress[];
  /** What the node's name resolves to. */
  readonly resolved: readonly string[];
}

export type FoundIPs = { readonly ips: readonly string[] } | { readonly problem: string };

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Whether --node-ip names an address, and not only a family or nothing. */
export function isSpecified(address: string | undefined): address is string {
  return address !== undefined && !UNSPECIFIED.has(address);
}

/**
 * The node's IP addresses, primary first (kubelet nodestatus.NodeAddress): those that were configured, if the host has
 * them; else the node's name where it is an address, or what it resolves to; else the global address of the interface
 * with the default route. IPv4 goes before IPv6, unless --node-ip is ::. Without a default route kubelet knows none;
 * here any global address will do.
 */
export function nodeIPs({ configured, nodeName, addresses, resolved }: AddressFacts): FoundIPs {
  const given = configured.filter(isSpecified);
  for (const [index, address] of given.entries()) {
    const why = whyNoNodeIP(address, addresses);
    const which = index === 0 ? 'nodeIP' : 'secondaryNodeIP';
    if (why !== undefined) return { problem: `failed to validate ${which}: ${why}` };
  }
  if (given.length > 0) return { ips: given };
  const named = parseIp(nodeName);
  if (named !== undefined) return { ips: [formatIp(named)] };
  const families: readonly (4 | 6)[] = configured[0]?.includes(':') === true ? [6, 4] : [4, 6];
  const inDNS = resolved.filter((address) => whyNoNodeIP(address, addresses) === undefined);
  const byName = inDNS.find((address) => address.includes(':') === (families[0] === 6)) ?? inDNS[0];
  if (byName !== undefined) return { ips: [byName] };
  const usable = addresses.filter(isGlobal);
  for (const routed of [true, false]) {
    for (const family of families) {
      const ofFamily = usable.filter((address) => address.family === family);
      const found =
        ofFamily.find((address) => !address.loopback && address.defaultRoute === routed) ??
        // Hosts that route by BGP keep their one global address on lo (RFC 5549).
        (routed && addresses.some((address) => address.family === family && address.defaultRoute)
          ? ofFamily.find((address) => address.loopback)
          : undefined);
      if (found !== undefined) return { ips: [found.address] };
    }
  }
  return { problem: `can't get ip address of node ${nodeName}. error: no global address on any interface` };
}

/** status.addresses. A cloud provider that is not this process sets them itself, and what it has set stays. */
export function nodeAddresses(
  found: FoundIPs,
  options: { readonly nodeName: string; readonly nodeIPs: readonly string[]; readonly externalCloudProvider: boolean },
  previous: readonly NodeAddress[] | undefined,
): NodeAddress[] {
  const { nodeName, externalCloudProvider } = options;
  const hostname: NodeAddress = { type: 'Hostname', address: nodeName };
  if (externalCloudProvider && previous !== undefined && previous.length > 0) return [...previous];
  if (externalCloudProvider && options.nodeIPs.length === 0) return [hostname];
  // As kubelet: what was known stays while nothing can be found out.
  if ('problem' in found) return [...(previous ?? [])];
  return [...found.ips.map((address): NodeAddress => ({ type: 'InternalIP', address })), hostname];
}

/** The addresses that pods of this host's network have (kubelet's GetNodeHostIPs): one of each family at most. */
export function hostIPsOf(addresses: readonly NodeAddress[] | undefined): readonly string[] {
  const all = (['InternalIP', 'ExternalIP'] as const).flatMap((type) =>
    (addresses ?? []).filter((address) => address.type === type).map(({ address }) => address),
  );
  const [first] = all;
  if (first === undefined) return [];
  const other = all.find((address) => address.includes(':') !== first.includes(':'));
  return other === undefined ? [first] : [first, other];
}

/** kubelet's validateNodeIP. */
function whyNoNodeIP(text: string, addresses: readonly HostAddress[]): string | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return 'nodeIP must be a valid IP address';
  const address = formatIp(ip);
  if (isLoopback(address)) return "nodeIP can't be loopback address";
  if (isMulticast(address)) return "nodeIP can't be a multicast address";
  if (isLinkLocal(address)) return "nodeIP can't be a link-local unicast address";
  if (!isSpecified(address)) return "nodeIP can't be an all zeros address";
  const onHost = addresses.some((candidate) => {
    const parsed = parseIp(candidate.address);
    return parsed !== undefined && formatIp(parsed) === address;
  });
  return onHost ? undefined : `node IP: "${address}" not found in the host's network interfaces`;
}

function isGlobal({ address }: HostAddress): boolean {
  return !isLoopback(address) && !isMulticast(address) && !isLinkLocal(address) && isSpecified(address);
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function isMulticast(address: string): boolean {
  const first = Number(address.split('.', 1)[0]);
  return address.includes(':') ? /^ff/i.test(address) : first >= 224 && first <= 239;
}

function isLinkLocal(address: string): boolean {
  return address.includes(':') ? /^fe[89ab]/i.test(address) : address.startsWith('169.254.');
}
