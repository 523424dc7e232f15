import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import { matchesSet } from '../../model/selector.ts';
import type { EndpointSlice, Service } from '../../model/service.ts';
import type { Store, StoredEvent } from '../port.ts';
import {
  endpointFacts,
  MANAGED_BY,
  MANAGED_BY_LABEL,
  planSlices,
  SERVICE_NAME_LABEL,
  selectsPods,
} from './endpoint-slice-plan.ts';
import { generatedName } from './generated-name.ts';
import type { Controller } from './port.ts';

const ZONE_LABEL = 'topology.kubernetes.io/zone';

export interface EndpointSliceControllerDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/**
 * Keeps EndpointSlices of Services with selectors true to their pods. One run a Service, without delay: what changes
 * during a run is in the next. Slices that it does not manage it does not touch.
 */
export class EndpointSliceController implements Controller {
  private readonly store: Store;
  private readonly deps: EndpointSliceControllerDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: EndpointSliceControllerDeps) {
    this.deps = deps;
    this.store = deps.store;
    this.queue = new KeyedQueue(deps.clock, (key) => this.reconcile(key), {
      retry: { baseMs: 10, maxMs: 5_000 },
      onError: (service, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound', 'AlreadyExists');
        deps.log[expected ? 'debug' : 'warn'](
          { service, error: messageOf(error) },
          'EndpointSlices not written; retrying',
        );
      },
    });
  }

  start(): void {
    this.unsubscribe = this.store.subscribe((event) => this.follow(event));
    for (const service of this.store.list(resources.services)) this.queue.request(keyOf(service));
    // Slices whose Service went while nobody looked.
    for (const slice of this.store.list(resources.endpointslices)) this.requestOwnerOf(slice as EndpointSlice);
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, object, previous }: StoredEvent): void {
    switch (resource.plural) {
      case resources.services.plural:
        this.queue.request(keyOf(object));
        return;
      case resources.endpointslices.plural:
        this.requestOwnerOf(object as EndpointSlice);
        return;
      case resources.pods.plural:
        this.followPod(object as Pod, previous as Pod | undefined);
        return;
      case resources.nodes.plural:
        if (object.metadata.labels?.[ZONE_LABEL] === previous?.metadata.labels?.[ZONE_LABEL]) return;
        for (const service of this.store.list(resources.services)) this.queue.request(keyOf(service));
    }
  }

  private followPod(pod: Pod, previous: Pod | undefined): void {
    const gone = this.store.get(resources.pods, pod.metadata.namespace, pod.metadata.name ?? '') === undefined;
    if (!gone && previous !== undefined && isDeepStrictEqual(endpointFacts(pod), endpointFacts(previous))) return;
    for (const service of this.store.list(resources.services, pod.metadata.namespace) as Service[]) {
      const { selector } = service.spec;
      if (!selectsPods(service) || selector === undefined) continue;
      if (matchesSet(selector, pod.metadata.labels) || matchesSet(selector, previous?.metadata.labels)) {
        this.queue.request(keyOf(service));
      }
    }
  }

  private requestOwnerOf(slice: EndpointSlice): void {
    if (!isManaged(slice)) return;
    const service = slice.metadata.labels?.[SERVICE_NAME_LABEL];
    if (service) this.queue.request(`${slice.metadata.namespace}/${service}`);
  }

  private async reconcile(key: string): Promise<undefined> {
    const [namespace = '', name = ''] = key.split('/');
    const service = this.store.get(resources.services, namespace, name) as Service | undefined;
    const slices = (this.store.list(resources.endpointslices, namespace) as EndpointSlice[]).filter(
      (slice) => isManaged(slice) && slice.metadata.labels?.[SERVICE_NAME_LABEL] === name,
    );
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
      await Promise.all(slices.map((slice) => this.remove(slice)));
      return undefined;
    }
    // Without a selector nothing is made, and what was made while there was one is taken away.
    const { create, update, remove } = selectsPods(service)
      ? planSlices({
          service,
          slices,
          pods: this.store.list(resources.pods, namespace) as Pod[],
          zoneOf: (node) => this.store.get(resources.nodes, undefined, node)?.metadata.labels?.[ZONE_LABEL],
        })
      : { create: [], update: [], remove: slices };
    const namespaceGoing = this.store.get(resources.namespaces, undefined, namespace)?.metadata.deletionTimestamp;
    await Promise.all([
      ...(namespaceGoing === undefined ? create.map((slice) => this.create(slice)) : []),
      ...update.map((slice) => this.store.update(resources.endpointslices, slice)),
      ...remove.map((slice) => this.remove(slice)),
    ]);
    return undefined;
  }

  private async create(slice: EndpointSlice): Promise<void> {
    const name = generatedName(slice.metadata.generateName ?? '', this.deps.random);
    await this.store.create(resources.endpointslices, {
      ...slice,
      metadata: { ...slice.metadata, name },
    } as EndpointSlice);
  }

  private async remove({ metadata }: EndpointSlice): Promise<void> {
    try {
      await this.store.remove(resources.endpointslices, metadata.namespace, metadata.name ?? '');
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
    }
  }
}

function isManaged(slice: EndpointSlice): boolean {
  return slice.metadata.labels?.[MANAGED_BY_LABEL] === MANAGED_BY;
}
