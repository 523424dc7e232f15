import type { IPFamily } from '../../../model/service.ts';
import { wordsOf } from './words.ts';

/** A set or map with a fixed name, of elements that we write. */
export interface Container {
  readonly kind: 'set' | 'map';
  readonly name: string;
  /** What stands between the braces, as nft prints it. */
  readonly definition: string;
}

export const container = {
  /** address . protocol . port → the number of the chain for a cluster IP, external IP or load-balancer IP. */
  serviceIps: 'service-ips',
  /** protocol . port → the same for node ports. */
  nodePorts: 'service-nodeports',
  /**
   * Number → chain. Whenever an element that leads to a chain is added, the kernel walks everything that leads anywhere
   * in the table (nft_table_validate: 40 ms with 44,000 Services), so that no large map may have chains for values.
   */
  serviceChains: 'service-chains',
  /** Frontends without any endpoint are refused, those without one that their policy allows here dropped. */
  refusedServices: 'refused-services',
  refusedNodePorts: 'refused-nodeports',
  droppedServices: 'dropped-services',
  droppedNodePorts: 'dropped-nodeports',
  /** Load-balancer IPs with source ranges. */
  firewallIps: 'firewall-ips',
  clusterIps: 'cluster-ips',
  nodePortIps: 'nodeport-ips',
  /** An endpoint's address twice: it talks to itself by way of a Service. */
  hairpin: 'hairpin-connections',
} as const;

/**
 * Endpoints are in numbered maps, a map for each place: the n-th endpoint of every frontend is in the n-th map. `own`:
 * those of policy Local for traffic from outside, where a frontend has both. (One map with the number in its key would
 * do, but nft 1.0.6 cannot change anything beside a map whose key is a random number: "conflicting protocols".)
 */
export function endpointsMap(by: 'vip' | 'np', own: boolean, index: number): string {
  return `${own ? 'local-' : ''}${by === 'np' ? 'nodeport-' : ''}endpoints/${index}`;
}

export function isEndpointsMap(name: string): boolean {
  return /^(local-)?(nodeport-)?endpoints\/\d+$/.test(name);
}

export function endpointsMapDefinition(name: string, family: IPFamily): string {
  const { addressType } = wordsOf(family);
  const address = name.includes('nodeport-') ? '' : `${addressType} . `;
  return `type ${address}inet_proto . inet_service : ${addressType} . inet_service`;
}

/** The sets and maps that are always there. */
export function containersOf(family: IPFamily): readonly Container[] {
  const { addressType } = wordsOf(family);
  const frontend = `${addressType} . inet_proto . inet_service`;
  const map = (name: string, definition: string): Container => ({ kind: 'map', name, definition });
  const set = (name: string, type: string): Container => ({ kind: 'set', name, definition: `type ${type}` });
  return [
    map(container.serviceIps, `type ${frontend} : classid`),
    map(container.nodePorts, 'type inet_proto . inet_service : classid'),
    map(container.serviceChains, 'type classid : verdict'),
    set(container.refusedServices, frontend),
    set(container.refusedNodePorts, 'inet_proto . inet_service'),
    set(container.droppedServices, frontend),
    set(container.droppedNodePorts, 'inet_proto . inet_service'),
    map(container.firewallIps, `type ${frontend} : verdict`),
    set(container.clusterIps, addressType),
    set(container.nodePortIps, addressType),
    set(container.hairpin, `${addressType} . ${addressType}`),
  ];
}
