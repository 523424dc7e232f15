import {
  canaryChain,
  forwardChain,
  isOwnChain,
  kubeletFirewallChain,
  markMasqChain,
  postroutingChain,
  proxyFirewallChain,
  servicesChain,
  type Table,
} from '../iptables/chains.ts';

export const nodePortChain = 'KUBE-NODE-PORT';
export const loadBalancerChain = 'KUBE-LOAD-BALANCER';
export const sourceRangesChain = 'KUBE-SOURCE-RANGES-FIREWALL';
export const filterChain = 'KUBE-IPVS-FILTER';
export const outFilterChain = 'KUBE-IPVS-OUT-FILTER';

/** Those that iptables mode does not have. */
const ipvsAlone: ReadonlySet<string> = new Set([
  nodePortChain,
  loadBalancerChain,
  sourceRangesChain,
  filterChain,
  outFilterChain,
]);

export function isIpvsAlone(chain: string): boolean {
  return ipvsAlone.has(chain);
}

/** Chains of this mode and of iptables mode, whose names are the same; kubelet's chain stays with kubelet. */
export function isManagedChain(chain: string): boolean {
  return chain !== kubeletFirewallChain && (ipvsAlone.has(chain) || isOwnChain(chain));
}

const wanted: Readonly<Record<Table, readonly string[]>> = {
  filter: [
    canaryChain,
    forwardChain,
    nodePortChain,
    proxyFirewallChain,
    sourceRangesChain,
    filterChain,
    outFilterChain,
  ],
  nat: [canaryChain, servicesChain, postroutingChain, nodePortChain, loadBalancerChain, markMasqChain],
};

export function isWantedChain(table: Table, chain: string): boolean {
  return wanted[table].includes(chain);
}
