import type { Metrics } from '../kit/metrics.ts';

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export type WorkerOperation = 'create' | 'update' | 'sync' | 'kill' | 'terminated';

/**
 * kubelet_pod_worker_*: how long a pod waits for its first run, and how long runs take. A run here starts steps and goes;
 * it is over for this purpose when a later one finds nothing
 * more to do. Times are of a monotonic clock, in
 * milliseconds.
 */
export class WorkerTimes {
  private readonly duration;
  private readonly startDuration;
  private readonly firstSeen = new Map<string, number>();
  private readonly open = new Map<string, { readonly operation: WorkerOperation; readonly since: number }>();

  constructor(metrics: Metrics) {
    this.duration = metrics.histogram(
      'kubelet_pod_worker_duration_seconds',
      'How long a run of one pod took with the steps that it began.',
      BUCKETS,
      ['operation_type'],
    );
    this.startDuration = metrics.histogram(
      'kubelet_pod_worker_start_duration_seconds',
      'From when a pod was first heard of to its first run.',
      BUCKETS,
    );
  }

  /** Somebody asked for a run of a pod that has had none. */
  seen(uid: string, now: number): void {
    if (!this.firstSeen.has(uid)) this.firstSeen.set(uid, now);
  }

  /** Its first run begins. */
  began(uid: string, now: number): void {
    const since = this.firstSeen.get(uid);
    if (since !== undefined) this.startDuration.observe((now - since) / 1000);
    this.firstSeen.delete(uid);
  }

  /**
   * A run from `since` to `now`; `busy`: steps of the pod go on. Their ends make it run again, so that the run that finds
   * nothing more to do ends what an earlier one began.
   */
  ran(uid: string, operation: WorkerOperation, { since, now }: Span, busy: boolean): void {
    const open = this.open.get(uid);
    if (busy) {
      if (open === undefined) this.open.set(uid, { operation, since });
      return;
    }
    this.open.delete(uid);
    this.duration.observe({ operation_type: open?.operation ?? operation }, (now - (open?.since ?? since)) / 1000);
  }

  forget(uid: string): void {
    this.firstSeen.delete(uid);
    this.open.delete(uid);
  }
}

interface Span {
  readonly since: number;
  readonly now: number;
}
