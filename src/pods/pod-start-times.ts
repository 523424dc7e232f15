import type { Metrics } from '../kit/metrics.ts';
import type { Pod, PodStatus } from '../model/pod.ts';
import { isStaticPod } from '../model/static-pod.ts';
import { parseTime } from '../model/time.ts';
import type { PodRuntime } from './observe/pod-runtime.ts';

/** Seconds; kubelet pkg/kubelet/metrics podStartupDurationBuckets. */
const BUCKETS = [
  0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
];

interface Start {
  pullsUnderWay: number;
  pullSince: number;
  pullMs: number;
  initMs: number;
  /** The status that this node wrote had all containers running. */
  told: boolean;
}

/**
 * kubelet_pod_start_sli_duration_seconds and its kin (pod_startup_latency_tracker.go): from a pod's creation until a watch
 * shows all its containers started. The SLI leaves out pulls and init containers, and pods whose volumes are more than
 * configuration and scratch. Times are milliseconds since the epoch.
 */
export class PodStartTimes {
  private readonly sli;
  private readonly total;
  private readonly firstNetwork;
  private readonly starts = new Map<string, Start>();
  private networkSeen = false;

  constructor(metrics: Metrics) {
    this.sli = metrics.histogram(
      'kubelet_pod_start_sli_duration_seconds',
      'From creation to all containers seen started by watch, without pulls and init containers.',
      BUCKETS,
    );
    this.total = metrics.histogram(
      'kubelet_pod_start_total_duration_seconds',
      'From creation to all containers seen started by watch, pulls and init containers included.',
      BUCKETS,
    );
    this.firstNetwork = metrics.gauge(
      'kubelet_first_network_pod_start_sli_duration_seconds',
      'What the SLI was of the first pod with a network of its own.',
    );
  }

  /** A pod of the API that this process meets: its start is followed unless it began before. */
  met(pod: Pod): void {
    if (isStaticPod(pod) || pod.status?.startTime !== undefined || isUnschedulable(pod.status)) return;
    this.starts.set(pod.metadata.uid ?? '', { pullsUnderWay: 0, pullSince: 0, pullMs: 0, initMs: 0, told: false });
  }

  pullBegan(uid: string, now: number): void {
    const start = this.starts.get(uid);
    if (start !== undefined && start.pullsUnderWay++ === 0) start.pullSince = now;
  }

  pullEnded(uid: string, now: number): void {
    const start = this.starts.get(uid);
    if (start !== undefined && --start.pullsUnderWay === 0) start.pullMs += now - start.pullSince;
  }

  /** The status of which the API is told. */
  told(pod: Pod, status: PodStatus, runtime: PodRuntime): void {
    const start = this.starts.get(pod.metadata.uid ?? '');
    if (start === undefined || start.told || !hasStarted(status)) return;
    start.told = true;
    const names = new Set((pod.spec.initContainers ?? []).map(({ name }) => name));
    for (const { name, state, startedAt, finishedAt } of runtime.containers) {
      if (names.has(name) && state === 'EXITED') start.initMs += Math.max(0, finishedAt - startedAt);
    }
  }

  /** The pod as the API shows it. */
  watched(pod: Pod, now: number): void {
    const uid = pod.metadata.uid ?? '';
    const start = this.starts.get(uid);
    const created = parseTime(pod.metadata.creationTimestamp);
    if (start === undefined || pod.status === undefined) return;
    const { phase } = pod.status;
    if (phase === 'Failed' || phase === 'Succeeded') this.starts.delete(uid);
    else if (start.told && hasStarted(pod.status) && created !== undefined) {
      this.starts.delete(uid);
      this.observe(pod, start, now - created);
    }
  }

  forget(uid: string): void {
    this.starts.delete(uid);
  }

  private observe(pod: Pod, { pullMs, initMs }: Start, totalMs: number): void {
    this.total.observe(totalMs / 1000);
    if (isStateful(pod)) return;
    const seconds = (totalMs - pullMs - initMs) / 1000;
    this.sli.observe(seconds);
    if (pod.spec.hostNetwork === true || this.networkSeen) return;
    this.networkSeen = true;
    this.firstNetwork.set(seconds);
  }
}

function hasStarted({ containerStatuses = [] }: PodStatus): boolean {
  return (
    containerStatuses.length > 0 && containerStatuses.every(({ state }) => state?.running?.startedAt !== undefined)
  );
}

function isUnschedulable(status: PodStatus | undefined): boolean {
  return (status?.conditions ?? []).some(
    ({ type, status: is, reason }) => type === 'PodScheduled' && is === 'False' && reason === 'Unschedulable',
  );
}

/** Anything but secrets, config maps, the downward API and scratch. */
function isStateful({ spec }: Pod): boolean {
  return (spec.volumes ?? []).some(
    ({ secret, configMap, downwardAPI, emptyDir, projected }) =>
      secret === undefined &&
      configMap === undefined &&
      downwardAPI === undefined &&
      emptyDir === undefined &&
      projected === undefined,
  );
}
