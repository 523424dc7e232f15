import type { Metrics } from '../kit/metrics.ts';
import type { Container, Pod } from '../model/pod.ts';
import type { RuntimeCache } from './observe/runtime-cache.ts';
import { PodPopulation } from './pod-population.ts';
import { PodStartTimes } from './pod-start-times.ts';
import { StepError } from './step-error.ts';
import { WorkerTimes } from './worker-times.ts';

/** How runtimes begin the refusal to mount an image (cri-api ErrImageVolumeMountFailed). */
const MOUNT = /^ImageVolumeMountFailed/;
/** Seconds; kubelet pkg/kubelet/metrics. */
const START_BUCKETS = [0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600];

/** What the pods room counts, by kubelet's names. */
export class PodMetrics {
  readonly startedPods;
  readonly startedPodErrors;
  readonly startedUserNamespacedPods;
  readonly startedUserNamespacedPodErrors;
  readonly startedContainers;
  readonly startedContainerErrors;
  readonly restartedContainers;
  readonly podStart;
  readonly refusedPods;
  readonly preemptions;
  private readonly imageVolumesRequested;
  private readonly imageVolumesMounted;
  private readonly imageVolumesFailed;
  readonly containersPerPod;
  readonly restartedPods;
  readonly orphanedRuntimePods;
  readonly population: PodPopulation;
  readonly workers: WorkerTimes;
  readonly starts: PodStartTimes;

  constructor(metrics: Metrics, runtime: Pick<RuntimeCache, 'uids' | 'get'>) {
    this.startedPods = metrics.counter('kubelet_started_pods_total', 'Sandboxes that were started.');
    this.startedPodErrors = metrics.counter(
      'kubelet_started_pods_errors_total',
      'Sandboxes that could not be started.',
    );
    this.startedUserNamespacedPods = metrics.counter(
      'kubelet_started_user_namespaced_pods_total',
      'Sandboxes with a user namespace of their own that were started.',
    );
    this.startedUserNamespacedPodErrors = metrics.counter(
      'kubelet_started_user_namespaced_pods_errors_total',
      'Sandboxes with a user namespace of their own that could not be started.',
    );
    const type = ['container_type'];
    this.startedContainers = metrics.counter('kubelet_started_containers_total', 'Containers that were started.', type);
    this.startedContainerErrors = metrics.counter(
      'kubelet_started_containers_errors_total',
      'Containers that could not be created or started.',
      [...type, 'code'],
    );
    this.restartedContainers = metrics.counter(
      'deckhand_restarted_containers_total',
      'Containers started again after an exit.',
    );
    this.podStart = metrics.histogram(
      'kubelet_pod_start_duration_seconds',
      'From when the pod was first seen on this node to when it was first Ready or ended.',
      START_BUCKETS,
    );
    this.refusedPods = metrics.counter(
      'kubelet_admission_rejections_total',
      'Pods that this node refused, by reason.',
      ['reason'],
    );
    this.preemptions = metrics.counter(
      'kubelet_preemptions',
      'Pods killed to make room for critical ones, by the resource that was short.',
      ['preemption_signal'],
    );
    this.imageVolumesRequested = metrics.counter(
      'kubelet_image_volume_requested_total',
      'Number of requested image volumes.',
    );
    this.imageVolumesMounted = metrics.counter(
      'kubelet_image_volume_mounted_succeed_total',
      'Number of successful image volume mounts.',
    );
    this.imageVolumesFailed = metrics.counter(
      'kubelet_image_volume_mounted_errors_total',
      'Number of failed image volume mounts.',
    );
    this.containersPerPod = metrics.histogram(
      'kubelet_containers_per_pod_count',
      'Containers of the pods that this node was given.',
      [1, 2, 4, 8, 16],
    );
    this.restartedPods = metrics.counter(
      'kubelet_restarted_pods_total',
      'Pods that came back under their UID while they were being ended.',
      ['static'],
    );
    this.orphanedRuntimePods = metrics.counter(
      'kubelet_orphaned_runtime_pods_total',
      'Pods that the runtime had and nobody knew of.',
    );
    this.population = new PodPopulation(metrics);
    this.workers = new WorkerTimes(metrics);
    this.starts = new PodStartTimes(metrics);
    metrics.gauge('kubelet_running_pods', 'Pods that have a ready sandbox.', [], (gauge) => {
      const ready = runtime.uids().filter((uid) => runtime.get(uid)?.sandboxes.some(({ state }) => state === 'READY'));
      gauge.set(ready.length);
    });
    metrics.gauge('kubelet_running_containers', 'Containers by state.', ['container_state'], (gauge) => {
      const counts = { created: 0, running: 0, exited: 0, unknown: 0 };
      for (const uid of runtime.uids()) {
        for (const { state } of runtime.get(uid)?.containers ?? []) {
          counts[state.toLowerCase() as keyof typeof counts]++;
        }
      }
      for (const [state, count] of Object.entries(counts)) gauge.set({ container_state: state }, count);
    });
  }

  /** A container was started, or could not be; kubelet counts what the runtime says it could not mount. */
  imageVolumes(pod: Pod, container: Container, error?: unknown): void {
    const names = new Set((pod.spec.volumes ?? []).flatMap(({ name, image }) => (image === undefined ? [] : [name])));
    this.imageVolumesRequested.inc(names.size);
    const mounts = (container.volumeMounts ?? []).filter(({ name }) => names.has(name)).length;
    const failed = error instanceof StepError && error.reason === 'CreateContainerError' && MOUNT.test(error.message);
    (failed ? this.imageVolumesFailed : this.imageVolumesMounted).inc(mounts);
  }
}
