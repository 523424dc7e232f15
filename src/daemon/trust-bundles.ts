import type { ApiClient } from '../cluster/port.ts';
import { WatchCache, type WatchCacheMetrics } from '../cluster/watch-cache.ts';
import { FeatureGates } from '../config/feature-gates.ts';
import type { ClusterTrustBundle } from '../model/certificates.ts';
import type { Pod } from '../model/pod.ts';
import { resources } from '../model/resource.ts';
import { TrustBundles } from '../pods/volumes/trust-bundles.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface TrustBundlesParts {
  readonly api: ApiClient;
  readonly metrics: WatchCacheMetrics;
  readonly pods: () => Iterable<Pod>;
  /** Told of pods whose bundles may have changed. */
  readonly changed: (uids: readonly string[]) => void;
}

/** The cluster's bundles of certificates, watched once a pod has some; undefined where the gates are off. */
export function openTrustBundles(
  foundation: Foundation,
  { api, metrics, pods, changed }: TrustBundlesParts,
): TrustBundles | undefined {
  const { config, clock, log, closers } = foundation;
  if (!new FeatureGates(config.featureGates).enabled('ClusterTrustBundleProjection')) return undefined;
  let cache: WatchCache<ClusterTrustBundle, ClusterTrustBundle> | undefined;
  const view = (): WatchCache<ClusterTrustBundle, ClusterTrustBundle> => {
    if (cache !== undefined) return cache;
    const opened = new WatchCache<ClusterTrustBundle, ClusterTrustBundle>(
      {
        type: resources.clustertrustbundles,
        project: ({ metadata: { name = '', labels = {} }, spec }) => ({ metadata: { name, labels }, spec }),
      },
      { api, clock, logger: log.child({ part: 'watch clustertrustbundles' }), metrics },
    );
    runPart(foundation, 'watch of clustertrustbundles', (signal) => opened.run(signal));
    closers.add(
      'ClusterTrustBundle listener',
      opened.subscribe(() => changed([...pods()].filter(hasBundle).map(({ metadata }) => metadata.uid ?? ''))),
    );
    cache = opened;
    return opened;
  };
  return new TrustBundles({ view, clock });
}

function hasBundle({ spec }: Pod): boolean {
  return (spec.volumes ?? []).some(
    ({ projected }) => projected?.sources?.some(({ clusterTrustBundle }) => clusterTrustBundle !== undefined) === true,
  );
}
