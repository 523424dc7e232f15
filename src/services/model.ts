import type { Protocol } from '../model/pod.ts';
import type { IPFamily } from '../model/service.ts';

/** An endpoint that traffic can be sent to. `address` is spelled as formatIp does. */
export interface Target {
  readonly address: string;
  readonly port: number;
  /** It runs on this node. */
  readonly local: boolean;
}

/** An address that clients use. A node port answers on the node's own addresses (BaseRules.nodePorts). */
export type Frontend =
  | { readonly kind: 'clusterIP'; readonly address: string; readonly port: number }
  | { readonly kind: 'externalIP'; readonly address: string; readonly port: number }
  | { readonly kind: 'loadBalancerIP'; readonly address: string; readonly port: number }
  | { readonly kind: 'nodePort'; readonly port: number };

/** `Cluster`: any usable endpoint. `Local`: those on this node alone. */
export type TrafficPolicy = 'Cluster' | 'Local';

/**
 * `forward`: to the endpoints of the policy. `reject`: no usable endpoint anywhere, the client is told at once.
 * `drop`: there are endpoints, but none that this policy allows here.
 */
export type Decision = 'forward' | 'reject' | 'drop';

/**
 * What one port of one Service leads to in one address family, in no backend's words.
 *
 * Rules that hold for every port and are therefore not written down per port: an endpoint that is its own client gets
 * its traffic masqueraded (hairpin); external traffic under policy Cluster is masqueraded; under policy Local,
 * traffic from this cluster's pods and from the node itself is sent by policy Cluster all the same, the node's own
 * masqueraded.
 */
export interface ServicePortRules {
  /** "namespace/name:port", or "namespace/name" for a port without a name (upstream ServicePortName). */
  readonly name: string;
  /** "namespace/name" */
  readonly service: string;
  readonly family: IPFamily;
  readonly protocol: Protocol;
  readonly frontends: readonly Frontend[];
  /** 0: no session affinity. */
  readonly affinitySeconds: number;
  /** For traffic to the cluster IP. */
  readonly internalPolicy: TrafficPolicy;
  readonly internal: Decision;
  /** For traffic to all other frontends. */
  readonly externalPolicy: TrafficPolicy;
  readonly external: Decision;
  /** Usable endpoints under each policy, sorted by "address:port"; empty where the policy is not in use. */
  readonly cluster: readonly Target[];
  readonly local: readonly Target[];
  /** The union of both. */
  readonly reachable: readonly Target[];
  /** Canonical CIDRs of this family from which load-balancer IPs take traffic; empty: from everywhere. */
  readonly sourceRanges: readonly string[];
  /** The source ranges include this node's address. */
  readonly sourceRangesHaveNode: boolean;
  /** 0: none. */
  readonly healthCheckNodePort: number;
  /** How many pods of this node are ready behind it; 0 without such a port. */
  readonly healthCheckEndpoints: number;
  /**
   * For UDP: "address:port" of every endpoint that still answers, the terminating ones too. For TCP, where connections
   * are to be broken off: of every endpoint that is there at all. Else empty.
   */
  readonly serving: readonly string[];
}

/** Something wrong with one object; the rest of the object, and every other object, is used all the same. */
export interface Problem {
  readonly kind: 'Service' | 'EndpointSlice';
  /** "namespace/name" */
  readonly object: string;
  readonly message: string;
}

/** "address:port", "[address]:port" for IPv6. */
export function targetText(target: { readonly address: string; readonly port: number }): string {
  return target.address.includes(':') ? `[${target.address}]:${target.port}` : `${target.address}:${target.port}`;
}

export function hasEndpoints(rules: ServicePortRules): boolean {
  return rules.internal !== 'reject' || rules.external !== 'reject';
}

export function isExternallyAccessible(rules: Pick<ServicePortRules, 'frontends'>): boolean {
  return rules.frontends.some((frontend) => frontend.kind !== 'clusterIP');
}
