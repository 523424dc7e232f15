import type { Metrics } from '../../kit/metrics.ts';

/** Seconds; kubelet pkg/kubelet/metrics imagePullDurationBuckets. */
const PULL_BUCKETS = [1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600];
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Larger than so many bytes, by kubelet's names. */
const SIZES: readonly (readonly [number, string])[] = [
  [100 * GIB, 'GT100GB'],
  [60 * GIB, '60GB-100GB'],
  [40 * GIB, '40GB-60GB'],
  [30 * GIB, '30GB-40GB'],
  [20 * GIB, '20GB-30GB'],
  [10 * GIB, '10GB-20GB'],
  [5 * GIB, '5GB-10GB'],
  [GIB, '1GB-5GB'],
  [500 * MIB, '500MB-1GB'],
  [100 * MIB, '100MB-500MB'],
  [10 * MIB, '10MB-100MB'],
  [0, '0-10MB'],
];

/** What is counted of images, by kubelet's names. */
export class ImageMetrics {
  readonly pullDuration;
  readonly ensureRequests;
  readonly mustPullChecks;
  readonly intents;
  readonly records;

  constructor(metrics: Metrics) {
    this.pullDuration = metrics.histogram(
      'kubelet_image_pull_duration_seconds',
      'How long pulls took, waiting included, by size of the image.',
      PULL_BUCKETS,
      ['image_size_in_bytes'],
    );
    this.ensureRequests = metrics.counter(
      'kubelet_image_manager_ensure_image_requests_total',
      'Images that containers asked for.',
      ['pull_policy', 'present_locally', 'pull_required'],
    );
    this.mustPullChecks = metrics.counter(
      'kubelet_imagemanager_image_mustpull_checks_total',
      'How often it was checked whether a pod must prove access to an image that is here already.',
      ['result'],
    );
    this.intents = metrics.gauge('kubelet_imagemanager_ondisk_pullintents', 'Pulls that were begun and not ended.');
    this.records = metrics.gauge('kubelet_imagemanager_ondisk_pulledrecords', 'Images with a record of their pull.');
  }
}

/** The label that an image of so many bytes has. */
export function imageSizeLabel(bytes: number): string {
  return SIZES.find(([over]) => bytes > over)?.[1] ?? 'N/A';
}
