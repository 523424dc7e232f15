import type { Clock } from '../../kit/clock.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { VolumeBook } from './volume-book.ts';

/** What kubelet calls what is done with volumes (operation_generator.go). */
export type VolumeOperation =
  | 'volume_mount'
  | 'volume_unmount'
  | 'unmount_device'
  | 'map_volume'
  | 'unmap_volume'
  | 'unmap_device'
  | 'verify_controller_attached_volume'
  | 'volume_fs_resize'
  | 'volume_apply_access_control';

/** Seconds (volume/util metrics.go). */
const BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600];

/** What is counted of volumes, by kubelet's names. Nothing here is migrated from an in-tree plugin to CSI. */
export class VolumeMetrics {
  readonly reconstructed;
  readonly notReconstructed;
  readonly forceCleaned;
  readonly notForceCleaned;
  private readonly clock: Pick<Clock, 'monotonic'>;
  private readonly operations;
  private readonly overall;

  constructor(metrics: Metrics, clock: Pick<Clock, 'monotonic'>) {
    this.clock = clock;
    this.operations = metrics.histogram('storage_operation_duration_seconds', 'Storage operation duration', BUCKETS, [
      'volume_plugin',
      'operation_name',
      'status',
      'migrated',
    ]);
    this.overall = metrics.histogram(
      'volume_operation_total_seconds',
      'Storage operation end to end duration in seconds',
      BUCKETS,
      ['plugin_name', 'operation_name'],
    );
    this.reconstructed = metrics.counter(
      'reconstruct_volume_operations_total',
      'Volumes of an earlier process that were looked for on disk at start, failures included.',
    );
    this.notReconstructed = metrics.counter(
      'reconstruct_volume_operations_errors_total',
      'Volumes of an earlier process that could not be taken up at start.',
    );
    this.forceCleaned = metrics.counter(
      'force_cleaned_failed_volume_operations_total',
      'Volumes that could not be taken up at start and were cleaned up, failures included.',
    );
    this.notForceCleaned = metrics.counter(
      'force_cleaned_failed_volume_operation_errors_total',
      'Volumes that could not be taken up at start and could not be cleaned up either.',
    );
  }

  /** Shows how many volumes there are. */
  count(metrics: Metrics, book: Pick<VolumeBook, 'counts'>): void {
    const labels = ['plugin_name', 'state'];
    metrics.gauge('volume_manager_total_volumes', 'Number of volumes in Volume Manager', labels, (gauge) => {
      gauge.reset();
      for (const { plugin, state, count } of book.counts()) gauge.set({ plugin_name: plugin, state }, count);
    });
  }

  /** Does `work` and notes how long it took and how it ended. */
  async timed<T>(plugin: string, operation: VolumeOperation, work: () => Promise<T>): Promise<T> {
    const since = this.clock.monotonic();
    let status = 'fail-unknown';
    try {
      const result = await work();
      status = 'success';
      return result;
    } finally {
      this.operations.observe(
        { volume_plugin: plugin, operation_name: operation, status, migrated: 'false' },
        (this.clock.monotonic() - since) / 1000,
      );
    }
  }

  /** From when a volume was wanted until it was there, all tries included. */
  mounted(plugin: string, sinceMs: number): void {
    const labels = { plugin_name: plugin, operation_name: 'overall_volume_mount' };
    this.overall.observe(labels, (this.clock.monotonic() - sinceMs) / 1000);
  }
}
