import type { ApiClient } from '../cluster/port.ts';
import { WatchCache, WatchCacheMetrics } from '../cluster/watch-cache.ts';
import type { KubeObject } from '../model/meta.ts';
import type { Pod } from '../model/pod.ts';
import { type ResourceType, resources } from '../model/resource.ts';
import type { EndpointSlice, Service } from '../model/service.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface Caches {
  readonly pods: WatchCache<Pod, Pod>;
  readonly services: WatchCache<Service, Service>;
  readonly slices: WatchCache<EndpointSlice, EndpointSlice>;
  readonly metrics: WatchCacheMetrics;
}

/** Starts the watches that the node lives by: its pods, and the Services and EndpointSlices of the cluster. */
export function startCaches(foundation: Foundation, api: ApiClient): Caches {
  const { clock, log, config } = foundation;
  const metrics = new WatchCacheMetrics(foundation.metrics);
  const start = <T extends KubeObject>(
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
    pods: start<Pod>(resources.pods, slim, { fieldSelector: `spec.nodeName=${config.nodeName}` }),
    services: start<Service>(resources.services, slim, { labelSelector: '!service.kubernetes.io/service-proxy-name' }),
    slices: start<EndpointSlice>(resources.endpointslices, slim, {
      labelSelector: '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name',
    }),
    metrics,
  };
}

/** managedFields are the larger half of many objects, and nothing on a node reads them. */
function slim<T extends KubeObject>(raw: T): T {
  const { managedFields: _, ...metadata } = raw.metadata;
  return { ...raw, metadata };
}
