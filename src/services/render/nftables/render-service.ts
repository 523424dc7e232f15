import type { Decision, Frontend, ServicePortRules, Target } from '../../model.ts';
import type { BaseRules } from '../../port.ts';
import { addressRanges } from './address-ranges.ts';
import { container, endpointsMap } from './containers.ts';
import type { Chain } from './render-base.ts';
import { balanceChains, externalChain, localExternalChain } from './shared-chains.ts';
import { renderSticky, type StickyRules } from './sticky.ts';
import { type Hash, protocolNumber, shortHash, wordsOf } from './words.ts';

/** One element of a set or map. */
export interface Element {
  readonly container: string;
  readonly key: string;
  /** undefined in a set. */
  readonly value: string | undefined;
}

export interface RenderedService {
  readonly elements: readonly Element[];
  /** Chains that the elements lead to, each after those that it leads to itself. Equal names mean equal rules. */
  readonly chains: readonly Chain[];
  /** Those of the chains that frontends lead to, by number. */
  readonly entries: readonly string[];
  /** Dynamic sets of clients (session affinity), which the kernel fills. */
  readonly affinitySets: readonly string[];
}

/** The order in which the endpoints of one list stand in the maps: what was there keeps its place where it can. */
export type Places = (list: 'cluster' | 'local', targets: readonly Target[]) => readonly Target[];

/** The number by which a chain is found (container.serviceChains), as nft prints it: "1a2b:3c4d". */
export type Numbers = (chain: string) => string;

/**
 * One port of a Service in the flat layout: a frontend is one element that leads to a chain shared by all frontends
 * with as many endpoints; each endpoint is one element in the map of its place. Changing one endpoint changes one or
 * two elements, however many Services there are. Pure. `hash` is SHA-256.
 */
export function renderService(
  port: ServicePortRules,
  base: BaseRules,
  places: Places,
  numberOf: Numbers,
  hash: Hash,
): RenderedService {
  const elements: Element[] = [];
  const chains: Chain[] = [];
  const entries = new Set<string>();
  // Chains have no places to keep: they are in the order of the model, so that a restart finds them as they are wanted.
  const isSticky = port.affinitySeconds > 0;
  const lists = isSticky
    ? { cluster: port.cluster, local: port.local }
    : { cluster: places('cluster', port.cluster), local: places('local', port.local) };
  const sticky = isSticky ? renderSticky(port, lists, hash) : undefined;
  if (sticky !== undefined) chains.push(...sticky.chains);
  for (const frontend of port.frontends) {
    const key = frontendKey(frontend, port);
    const decision = frontend.kind === 'clusterIP' ? port.internal : port.external;
    if (frontend.kind === 'clusterIP') {
      elements.push({ container: container.clusterIps, key: frontend.address, value: undefined });
    }
    elements.push(...refusals(frontend, key, decision));
    // Under policy Local without an endpoint here, this cluster's own traffic is still served.
    const usesCluster = port.externalPolicy === 'Local' && port.cluster.length > 0;
    if (decision !== 'forward' && !(decision === 'drop' && frontend.kind !== 'clusterIP' && usesCluster)) continue;
    const target = entryOf(frontend, port, base, lists, sticky);
    if (target === undefined) continue;
    chains.push(...target.chains);
    entries.add(target.entry);
    elements.push({
      container: isNodePort(frontend) ? container.nodePorts : container.serviceIps,
      key,
      value: numberOf(target.entry),
    });
    if (sticky === undefined) elements.push(...endpointElements(frontend, key, port, lists));
    if (frontend.kind === 'loadBalancerIP') {
      const firewall = firewallOf(frontend.address, port, base, hash);
      if (firewall !== undefined) {
        chains.push(firewall);
        elements.push({ container: container.firewallIps, key, value: `goto ${firewall.name}` });
      }
    }
  }
  for (const { address } of port.reachable.filter((target) => target.local)) {
    elements.push({ container: container.hairpin, key: `${address} . ${address}`, value: undefined });
  }
  return { elements, chains, entries: [...entries], affinitySets: sticky?.sets ?? [] };
}

/** The key of a frontend in the maps: two frontends with the same key cannot both be served. */
export function frontendKey(frontend: Frontend, port: Pick<ServicePortRules, 'protocol'>): string {
  const where = `${protocolNumber(port.protocol)} . ${frontend.port}`;
  return frontend.kind === 'nodePort' ? where : `${frontend.address} . ${where}`;
}

type Lists = Readonly<Record<'cluster' | 'local', readonly Target[]>>;

function isNodePort(frontend: Frontend): boolean {
  return frontend.kind === 'nodePort';
}

function refusals(frontend: Frontend, key: string, decision: Decision): Element[] {
  if (decision === 'forward') return [];
  const { refusedNodePorts, refusedServices, droppedNodePorts, droppedServices } = container;
  const [refused, dropped] = isNodePort(frontend)
    ? [refusedNodePorts, droppedNodePorts]
    : [refusedServices, droppedServices];
  return [{ container: decision === 'drop' ? dropped : refused, key, value: undefined }];
}

/** Which list a frontend's traffic goes to, and which one of them is the list of this cluster's own traffic. */
function entryOf(
  frontend: Frontend,
  port: ServicePortRules,
  base: BaseRules,
  lists: Lists,
  sticky: StickyRules | undefined,
): { readonly entry: string; readonly chains: readonly Chain[] } | undefined {
  const by = isNodePort(frontend) ? 'np' : 'vip';
  const chains: Chain[] = [];
  const chainFor = (list: 'cluster' | 'local', own: boolean): Chain | undefined => {
    if (lists[list].length === 0) return undefined;
    if (sticky !== undefined) return sticky.lists[list];
    const balance = balanceChains(by, lists[list].length, own, base.family);
    chains.push(...balance);
    return balance.at(-1);
  };
  const enter = (chain: Chain): { readonly entry: string; readonly chains: readonly Chain[] } => {
    chains.push(chain);
    return { entry: chain.name, chains };
  };
  if (frontend.kind === 'clusterIP') {
    const chain = chainFor(port.internalPolicy === 'Local' ? 'local' : 'cluster', false);
    return chain === undefined ? undefined : enter(chain);
  }
  const cluster = chainFor('cluster', false);
  if (port.externalPolicy === 'Cluster') {
    if (cluster === undefined) return undefined;
    chains.push(cluster);
    return enter(externalChain(cluster, base));
  }
  const local = chainFor('local', true);
  for (const chain of [cluster, local]) if (chain !== undefined) chains.push(chain);
  return enter(localExternalChain(cluster, local, base));
}

function endpointElements(frontend: Frontend, key: string, port: ServicePortRules, lists: Lists): Element[] {
  const by = isNodePort(frontend) ? 'np' : 'vip';
  const placed = (own: boolean, targets: readonly Target[]): Element[] =>
    targets.map((target, index) => ({
      container: endpointsMap(by, own, index),
      key,
      value: `${target.address} . ${target.port}`,
    }));
  if (frontend.kind === 'clusterIP') return placed(false, lists[port.internalPolicy === 'Local' ? 'local' : 'cluster']);
  if (port.externalPolicy === 'Cluster') return placed(false, lists.cluster);
  return [...placed(false, lists.cluster), ...placed(true, lists.local)];
}

function firewallOf(address: string, port: ServicePortRules, base: BaseRules, hash: Hash): Chain | undefined {
  if (port.sourceRanges.length === 0) return undefined;
  // The node's own traffic to a load balancer leaves with that address where it is the node's (upstream, KEP-1860).
  const sources = port.sourceRangesHaveNode ? [...port.sourceRanges, address] : port.sourceRanges;
  const rule = `${wordsOf(base.family).ip} saddr != ${addressRanges(sources, base.family)} drop`;
  return { name: `firewall/${shortHash(hash, rule)}`, rules: [rule] };
}
