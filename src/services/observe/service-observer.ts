import type { Change, View } from '../../cluster/port.ts';
import type { Unsubscribe } from '../../kit/emitter.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import { keyOf } from '../../model/meta.ts';
import type { EndpointSlice, IPFamily, Service } from '../../model/service.ts';
import type { Problem, ServicePortRules } from '../model.ts';
import {
  isProxied,
  isProxiedSlice,
  type ServiceInput,
  serviceNameLabel,
  serviceRules,
} from '../policy/service-rules.ts';
import type { LocalEndpoints, ProxyFacts } from '../port.ts';

/** Written by the EndpointSlice controller: when the change that led to this version of the slice happened. */
const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

export interface ServiceObserverDeps {
  readonly services: View<Service>;
  readonly slices: View<EndpointSlice>;
  readonly localEndpoints?: LocalEndpoints | undefined;
}

export interface ServiceEvent {
  /** "namespace/name" of a Service whose rules may be others now. */
  readonly service: string;
  readonly cause: 'service' | 'endpoints';
  /** Milliseconds since the epoch, where the slice says so. */
  readonly triggeredAt?: number;
}

/**
 * Brings Services, their slices and this node's own knowledge together. It holds names alone, no copies of objects:
 * rules are worked out from the views when they are asked for.
 */
export class ServiceObserver {
  private readonly deps: ServiceObserverDeps;
  private facts: ProxyFacts;
  private readonly onEvent: (event: ServiceEvent) => void;
  private readonly slicesOf = new Map<string, Set<string>>();
  /** Pod IPs of this node to the slices that name them. */
  private readonly slicesAt = new Map<string, Set<string>>();
  private readonly unsubscribe: Unsubscribe[];

  constructor(facts: ProxyFacts, deps: ServiceObserverDeps, onEvent: (event: ServiceEvent) => void) {
    this.facts = facts;
    this.deps = deps;
    this.onEvent = onEvent;
    this.unsubscribe = [
      deps.services.subscribe((change) => this.onEvent({ service: change.key, cause: 'service' })),
      deps.slices.subscribe((change) => this.onSlice(change)),
    ];
    if (deps.localEndpoints !== undefined) {
      this.unsubscribe.push(deps.localEndpoints.subscribe((address) => this.onLocal(address)));
    }
    for (const slice of deps.slices.values()) this.index(slice);
  }

  close(): void {
    for (const unsubscribe of this.unsubscribe) unsubscribe();
  }

  /** Other facts of the node: the caller must ask for every Service's rules anew. */
  setFacts(facts: ProxyFacts): void {
    const moved = facts.nodeName !== this.facts.nodeName;
    this.facts = facts;
    if (!moved) return;
    this.slicesAt.clear();
    for (const slice of this.deps.slices.values()) this.index(slice);
  }

  /** Services that a proxy is for, by key. */
  *keys(): IterableIterator<string> {
    for (const service of this.deps.services.values()) if (isProxied(service)) yield keyOf(service);
  }

  /** What one Service leads to now; no rules when it is gone. */
  rules(
    key: string,
    family: IPFamily,
  ): { readonly rules: readonly ServicePortRules[]; readonly problems: readonly Problem[] } {
    const input = this.input(key, family);
    return input === undefined ? { rules: [], problems: [] } : serviceRules(input);
  }

  /** What the rules of one Service are worked out from; undefined when it is gone. */
  input(key: string, family: IPFamily): ServiceInput | undefined {
    const service = this.deps.services.get(key);
    if (service === undefined) return undefined;
    const names = [...(this.slicesOf.get(key) ?? [])].sort();
    return {
      service,
      slices: names.flatMap((name) => this.deps.slices.get(name) ?? []),
      family,
      facts: this.facts,
      local: (address) => this.deps.localEndpoints?.get(address),
    };
  }

  private onSlice(change: Change<EndpointSlice>): void {
    const { previous, current } = change;
    if (previous !== undefined) this.unindex(previous);
    if (current !== undefined) this.index(current);
    const services = new Set([previous, current].flatMap((slice) => serviceOf(slice) ?? []));
    const text = current?.metadata.annotations?.[triggerTimeAnnotation];
    const triggeredAt = text === undefined ? Number.NaN : Date.parse(text);
    for (const service of services) {
      this.onEvent({ service, cause: 'endpoints', ...(Number.isNaN(triggeredAt) ? {} : { triggeredAt }) });
    }
  }

  private onLocal(address: string): void {
    const services = new Set<string>();
    for (const name of this.slicesAt.get(address) ?? []) {
      const service = serviceOf(this.deps.slices.get(name));
      if (service !== undefined) services.add(service);
    }
    for (const service of services) this.onEvent({ service, cause: 'endpoints' });
  }

  private index(slice: EndpointSlice): void {
    const service = serviceOf(slice);
    if (service === undefined) return;
    const key = keyOf(slice);
    addTo(this.slicesOf, service, key);
    for (const address of this.localAddresses(slice)) addTo(this.slicesAt, address, key);
  }

  private unindex(slice: EndpointSlice): void {
    const service = serviceOf(slice);
    if (service === undefined) return;
    const key = keyOf(slice);
    removeFrom(this.slicesOf, service, key);
    for (const address of this.localAddresses(slice)) removeFrom(this.slicesAt, address, key);
  }

  private *localAddresses(slice: EndpointSlice): IterableIterator<string> {
    if (this.deps.localEndpoints === undefined) return;
    for (const endpoint of slice.endpoints ?? []) {
      if (endpoint.nodeName !== this.facts.nodeName) continue;
      const ip = parseIp(endpoint.addresses?.[0] ?? '');
      if (ip !== undefined) yield formatIp(ip);
    }
  }
}

function serviceOf(slice: EndpointSlice | undefined): string | undefined {
  if (slice === undefined || !isProxiedSlice(slice)) return undefined;
  const name = slice.metadata.labels?.[serviceNameLabel] ?? '';
  return keyOf({
    metadata: { ...(slice.metadata.namespace === undefined ? {} : { namespace: slice.metadata.namespace }), name },
  });
}

function addTo(map: Map<string, Set<string>>, key: string, value: string): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, new Set([value]));
  else values.add(value);
}

function removeFrom(map: Map<string, Set<string>>, key: string, value: string): void {
  const values = map.get(key);
  values?.delete(value);
  if (values?.size === 0) map.delete(key);
}
