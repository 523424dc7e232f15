import type { Metrics } from '../../kit/metrics.ts';
import type { MeasuredVolume, VolumeStatistics } from './volume-statistics.ts';

const GAUGES: readonly (readonly [string, string, (volume: MeasuredVolume) => number | undefined])[] = [
  ['capacity_bytes', 'Capacity in bytes of the volume', ({ capacityBytes }) => capacityBytes],
  ['available_bytes', 'Number of available bytes in the volume', ({ availableBytes }) => availableBytes],
  ['used_bytes', 'Number of used bytes in the volume', ({ usedBytes }) => usedBytes],
  ['inodes', 'Maximum number of inodes in the volume', ({ inodes }) => inodes],
  ['inodes_free', 'Number of free inodes in the volume', ({ inodesFree }) => inodesFree],
  ['inodes_used', 'Number of used inodes in the volume', ({ inodesUsed }) => inodesUsed],
  [
    'health_status_abnormal',
    'Abnormal volume health status: 1 when the volume is unhealthy, 0 when it is healthy',
    ({ condition }) => (condition === undefined ? undefined : Number(condition.abnormal)),
  ],
];
/** Seconds; the client library's own. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** kubelet_volume_stats_* of claims (collectors/volume_stats.go), and how long it takes to find out. */
export class VolumeStatisticsMetrics {
  private readonly duration;

  constructor(metrics: Metrics, claims: VolumeStatistics['claims']) {
    this.duration = metrics.histogram(
      'kubelet_volume_metric_collection_duration_seconds',
      'Duration in seconds to calculate volume stats',
      BUCKETS,
      ['metric_source'],
    );
    for (const [key, help, read] of GAUGES) {
      metrics.gauge(`kubelet_volume_stats_${key}`, help, ['namespace', 'persistentvolumeclaim'], (gauge) => {
        gauge.reset();
        for (const volume of claims()) {
          const value = read(volume);
          const { namespace, name } = volume.claim;
          if (value !== undefined) gauge.set({ namespace, persistentvolumeclaim: name }, value);
        }
      });
    }
  }

  took(source: string, seconds: number): void {
    this.duration.observe({ metric_source: source }, seconds);
  }
}
