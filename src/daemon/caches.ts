import { CompactEndpointSlice } from '../cluster/compact-endpoint-slice.ts';
import type { ApiClient } from '../cluster/port.ts';
import { slimService } from '../cluster/slim-service.ts';
import { WatchCache, WatchCacheMetrics } from '../cluster/watch-cache.ts';
import type { KubeObject } from '../model/meta.ts';
import type { Node } from '../model/node.ts';
import type { ServiceCIDR } from '../model/objects.ts';
import type { Pod } from '../model/pod.ts';
import { type ResourceType, resources } from '../model/resource.ts';
import type { EndpointSlice, Service } from '../model/service.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface Caches {
  /** This Node alone. */
  readonly node: WatchCache<Node, Node>;
  readonly pods: WatchCache<Pod, Pod>;
  readonly services: WatchCache<Service, Service>;
  readonly slices: WatchCache<EndpointSlice, EndpointSlice>;
  readonly serviceCIDRs: WatchCache<ServiceCIDR, ServiceCIDR>;
  readonly metrics: WatchCacheMetrics;
}

/** Starts the watches that the node lives by: itself, its pods, and the Services and EndpointSlices of the cluster. */
export function startCaches(foundation: Foundation, clients: { main: ApiClient; services: ApiClient }): Caches {
  const { clock, log, config } = foundation;
  const metrics = new WatchCacheMetrics(foundation.metrics);
  const start = <T extends KubeObject>(
    api: ApiClient,
    type: ResourceType,
    project: (raw: T) => T | undefined,
    selection: { fieldSelector?: string; labelSelector?: string } = {},
  ): WatchCache<T, T> => {
    const logger = log.child({ part: `watch ${type.plural}` });
    const cache = new WatchCache<T, T>({ type, project, ...selection }, { api, clock, logger, metrics });
    runPart(foundation, `watch of ${type.plural}`, (signal) => cache.run(signal));
    return cache;
  };
  return {
    node: start<Node>(clients.main, resources.nodes, slim, { fieldSelector: `metadata.name=${config.nodeName}` }),
    pods: start<Pod>(clients.main, resources.pods, slim, { fieldSelector: `spec.nodeName=${config.nodeName}` }),
    services: start<Service>(clients.services, resources.services, slimService, {
      labelSelector: '!service.kubernetes.io/service-proxy-name',
    }),
    slices: start<EndpointSlice>(
      clients.services,
      resources.endpointslices,
      (raw) => CompactEndpointSlice.of(raw, config.nodeName),
      { labelSelector: '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name' },
    ),
    serviceCIDRs: start<ServiceCIDR>(clients.services, resources.servicecidrs, slim),
    metrics,
  };
}

/** managedFields are the larger half of many objects, and nothing on a node reads them. */
function slim<T extends KubeObject>(raw: T): T {
  const { managedFields: _, ...metadata } = raw.metadata;
  return { ...raw, metadata };
}
