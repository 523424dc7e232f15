import type { RuleWatch } from '../host/rule-watch/port.ts';
import type { Unsubscribe } from '../kit/emitter.ts';
import type { IPFamily } from '../model/service.ts';
import type { ServicePortRules } from './model.ts';

/**
 * What this node itself knows of a pod that runs here: `serving` (its readiness holds), `terminating` (it is being
 * stopped and still answers) or `not-ready` (it must get no new connection).
 */
export type LocalEndpointState = 'serving' | 'terminating' | 'not-ready';

/**
 * Read-only view of the readiness of this node's pods by pod IP, written by pods. For an endpoint on this node it goes
 * before the readiness in the EndpointSlice, so that the node's rules need not wait for the round trip over the API.
 */
export interface LocalEndpoints {
  /** undefined: nothing is known here, the slice decides. `address` is in the spelling of formatIp (model/cidr.ts). */
  get(address: string): LocalEndpointState | undefined;
  /** Told of each address whose state changed or was dropped, after the change. */
  subscribe(listener: (address: string) => void): Unsubscribe;
}

/** Answers load balancers whether this node has endpoints of a Service with externalTrafficPolicy Local. */
export interface HealthChecks {
  /** Of a Service ("namespace/name"). `port` 0: it has none (any more). `endpoints`: ready ones on this node. */
  set(family: IPFamily, service: string, port: number, endpoints: number): void;
}

/** How traffic from this cluster's pods is told from other traffic (KubeProxyConfiguration.detectLocalMode). */
export type LocalDetector =
  | { readonly kind: 'clusterCIDR'; readonly cidrs: readonly string[] }
  | { readonly kind: 'bridgeInterface'; readonly name: string }
  | { readonly kind: 'interfaceNamePrefix'; readonly prefix: string }
  | { readonly kind: 'none' };

/** Facts of this node and the proxy's settings: all that the rules depend on besides Services and EndpointSlices. */
export interface ProxyFacts {
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone. */
  readonly zone?: string | undefined;
  readonly nodeIPs: Readonly<Partial<Record<IPFamily, string>>>;
  /** CIDRs, or ["primary"]; empty: every local address (KubeProxyConfiguration.nodePortAddresses). */
  readonly nodePortAddresses: readonly string[];
  readonly localDetector: LocalDetector;
  readonly masqueradeAll: boolean;
  /** 0..31, kube-proxy's default is 14 (mark 0x4000). */
  readonly masqueradeBit: number;
  /** Node ports on 127.0.0.1; needs net.ipv4.conf.all.route_localnet=1. IPv4 only. */
  readonly localhostNodePorts: boolean;
  /** Ranges of cluster IPs (ServiceCIDR objects), both families. */
  readonly serviceCIDRs: readonly string[];
  /** Connections to an endpoint that is gone are broken off. Fixed while the loop lives. */
  readonly resetTcp?: boolean;
}

/** Where node ports answer, in one address family. */
export type NodePortScope =
  | { readonly kind: 'local'; readonly loopback: boolean }
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] };

/** The part of the rules that belongs to no Service. */
export interface BaseRules {
  readonly family: IPFamily;
  readonly nodePorts: NodePortScope;
  readonly localDetector: LocalDetector;
  readonly masqueradeAll: boolean;
  readonly masqueradeBit: number;
  readonly localhostNodePorts: boolean;
  /** net.netfilter.nf_conntrack_tcp_be_liberal is set: packets in state INVALID are let through. */
  readonly tcpBeLiberal: boolean;
  /** Of this family, canonical and sorted. Where the backend can, what goes to an address that no Service has is dropped. */
  readonly serviceCIDRs: readonly string[];
  /** This node's own addresses, canonical and sorted, without loopback; given to a backend that has `ownDevice`. */
  readonly nodeAddresses?: readonly string[];
}

export interface RuleChange {
  readonly base: BaseRules;
  /** Services by "namespace/name"; without rules: the Service is gone (or has nothing in this family). */
  readonly services: Iterable<readonly [service: string, rules: readonly ServicePortRules[]]>;
  /** True: `services` are all there are, every other Service's rules go. */
  readonly complete: boolean;
}

export interface SyncReport {
  /** Rule and chain operations written, 0 when the kernel already held everything. */
  readonly operations: number;
  /** Rules in the kernel that are ours, by table or map. */
  readonly totals: Readonly<Record<string, number>>;
  /** Rules written in this sync, by table or map. */
  readonly written: Readonly<Record<string, number>>;
  /** Services that the kernel refuses; they have no rules until they change or the next full sync. */
  readonly setAside: readonly { readonly service: string; readonly reason: string }[];
}

/** Rings when it is time to look at the kernel's rules, so that nobody need look for nothing. */
export type Alarm = Pick<RuleWatch, 'hears' | 'subscribe'>;

/**
 * The rules of one address family in the kernel. Used by one caller at a time. Throws CodedError: CommandFailed when
 * the kernel refuses a transaction, Unavailable when it may pass by itself (a lock that is held).
 */
export interface ProxyBackend {
  readonly name: string;
  readonly family: IPFamily;
  /** A network device whose addresses are Services' and not the node's own. */
  readonly ownDevice?: string;
  /** True at start and after a failure: the next sync must be complete. */
  readonly needsComplete: boolean;
  sync(change: RuleChange, signal?: AbortSignal): Promise<SyncReport>;
  /** A quick look whether somebody flushed our rules; false drops what is believed. */
  intact(): Promise<boolean>;
  /** How often such a look is worth what it costs, in milliseconds, where no alarm works. */
  readonly checkMs: number;
  readonly alarm?: Alarm | undefined;
  /** Does what becomes due by itself; asked every now and then, no oftener than `intact`. */
  tend?(): Promise<void>;
  /** What would be written if all began anew, in the words of the tool, without writing it. */
  plan(change: RuleChange): Promise<readonly string[]>;
  /** Drops what is believed: the next sync reads the kernel back first. */
  forget(): void;
  /** Removes everything of ours and nothing of others. */
  cleanup(): Promise<void>;
}
