import type { HostAddress } from '../host/machine/port.ts';
import type { NodeAddress } from '../model/node.ts';

/**
 * The node's IP addresses, primary first: those that were configured, else the first address of the interface with the
 * default route, else the first one that is not loopback (IPv4 before IPv6, as kubelet's nodestatus.NodeAddress does
 * without a cloud provider). Empty on a machine that has loopback only.
 */
export function nodeIPs(configured: readonly string[], addresses: readonly HostAddress[]): readonly string[] {
  if (configured.length > 0) return configured;
  const usable = addresses.filter((address) => !address.loopback && !address.linkLocal);
  const best =
    usable.find((address) => address.defaultRoute && address.family === 4) ??
    usable.find((address) => address.defaultRoute) ??
    usable.find((address) => address.family === 4) ??
    usable[0];
  return best === undefined ? [] : [best.address];
}

export function nodeAddresses(ips: readonly string[], nodeName: string): NodeAddress[] {
  return [
    ...ips.map((address): NodeAddress => ({ type: 'InternalIP', address })),
    { type: 'Hostname', address: nodeName },
  ];
}
