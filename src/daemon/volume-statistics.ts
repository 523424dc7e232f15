import type { EventRecorder } from '../cluster/port.ts';
import type { Pod } from '../model/pod.ts';
import type { PodVolumes } from '../pods/volumes/pod-volumes.ts';
import { VolumeStatistics } from '../pods/volumes/volume-statistics.ts';
import { VolumeStatisticsMetrics } from '../pods/volumes/volume-statistics-metrics.ts';
import type { Foundation } from './foundation.ts';

/** How full the volumes of pods are; nothing is measured before its `run`. */
export function openVolumeStatistics(
  { config, metrics, clock, log }: Foundation,
  parts: {
    readonly pods: () => Iterable<Pod>;
    readonly volumes: Pick<PodVolumes, 'measurable'>;
    readonly events: EventRecorder;
  },
): VolumeStatistics {
  const statistics: VolumeStatistics = new VolumeStatistics(
    { everyMs: config.eviction.volumeStatsMs },
    {
      pods: parts.pods,
      measurable: (uid) => parts.volumes.measurable(uid),
      events: parts.events,
      metrics: new VolumeStatisticsMetrics(metrics, () => statistics.claims()),
      clock,
      log: log.child({ part: 'volumes' }),
    },
  );
  return statistics;
}
