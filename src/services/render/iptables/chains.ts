/** Names are kube-proxy's (pkg/proxy/iptables/proxier.go): tools and people know them. */
export type Table = 'filter' | 'nat';

export const servicesChain = 'KUBE-SERVICES';
export const externalServicesChain = 'KUBE-EXTERNAL-SERVICES';
export const nodePortsChain = 'KUBE-NODEPORTS';
export const postroutingChain = 'KUBE-POSTROUTING';
export const markMasqChain = 'KUBE-MARK-MASQ';
export const forwardChain = 'KUBE-FORWARD';
export const proxyFirewallChain = 'KUBE-PROXY-FIREWALL';
export const canaryChain = 'KUBE-PROXY-CANARY';
/** kubelet's chain, with kubelet's rule; written only while localhost node ports make it necessary. */
export const kubeletFirewallChain = 'KUBE-FIREWALL';

export const servicePrefix = 'KUBE-SVC-';
export const localPrefix = 'KUBE-SVL-';
export const externalPrefix = 'KUBE-EXT-';
export const firewallPrefix = 'KUBE-FW-';
export const endpointPrefix = 'KUBE-SEP-';

/** Chains that hold one or two rules of every Service. They are edited rule by rule, never rewritten for a change. */
export const dispatchChains: Readonly<Record<Table, readonly string[]>> = {
  filter: [servicesChain, externalServicesChain, nodePortsChain, proxyFirewallChain],
  nat: [servicesChain, nodePortsChain],
};

const single: ReadonlySet<string> = new Set([
  servicesChain,
  externalServicesChain,
  nodePortsChain,
  postroutingChain,
  markMasqChain,
  forwardChain,
  proxyFirewallChain,
  canaryChain,
  kubeletFirewallChain,
]);

const prefixes = [servicePrefix, localPrefix, externalPrefix, firewallPrefix, endpointPrefix];

/** A chain that belongs to one Service. */
export function isServiceChain(chain: string): boolean {
  return prefixes.some((prefix) => chain.startsWith(prefix));
}

export function isOwnChain(chain: string): boolean {
  return chain.startsWith('KUBE-') && (single.has(chain) || isServiceChain(chain));
}
