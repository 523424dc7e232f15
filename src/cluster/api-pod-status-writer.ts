import type { BackoffOptions } from '../kit/backoff.ts';
import type { Clock, Timer } from '../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import type { Pod, PodStatus } from '../model/pod.ts';
import { resources } from '../model/resource.ts';
import { mergedStatus, restartPolicies, statusPatch } from './pod-status-patch.ts';
import type { ApiClient, PodStatusWriter, View } from './port.ts';

/** status_manager.go, syncPeriod: everything is compared with the API's copy this often. */
const RESYNC_MS = 10_000;
const RETRY: BackoffOptions = { baseMs: 200, maxMs: 10_000, jitter: 0.3 };

type PodIdentity = Parameters<PodStatusWriter['set']>[0];

interface Entry {
  readonly pod: PodIdentity;
  wanted: PodStatus | undefined;
  finalize: boolean;
  /** When the status that is not written yet was set (monotonic). */
  since: number | undefined;
  /**
   * The answer to our last patch. It goes before the view's copy as long as the view still shows the version that the
   * patch was computed from: the watch has not brought it yet.
   */
  answered: { readonly viewVersion: string | undefined; readonly pod: Pod } | undefined;
}

export interface PodStatusWriterDeps {
  readonly api: ApiClient;
  /** This node's pods as the API has them, status included. */
  readonly pods: View<Pod>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
  readonly random?: () => number;
}

/** Writes pod statuses as strategic merge patches of the differences, one pod at a time, until the API has them. */
export class ApiPodStatusWriter implements PodStatusWriter {
  private readonly deps: PodStatusWriterDeps;
  private readonly entries = new Map<string, Entry>();
  private readonly queue: KeyedQueue;
  private readonly stop = new AbortController();
  private readonly duration: { observe(seconds: number): void } | undefined;
  private timer: Timer | undefined;

  constructor(deps: PodStatusWriterDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (uid) => this.write(uid), {
      retry: { ...RETRY, ...(deps.random === undefined ? {} : { random: deps.random }) },
      onError: (uid, error) => this.onError(uid, error),
    });
    this.duration = deps.metrics?.histogram(
      'kubelet_pod_status_sync_duration_seconds',
      'Time from a changed pod status until the API has it.',
      [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60],
    );
    this.resyncLater();
  }

  /** Pods whose latest status the API may not have yet. */
  get unwritten(): number {
    let count = 0;
    for (const entry of this.entries.values()) if (entry.since !== undefined) count++;
    return count;
  }

  set(pod: PodIdentity, status: PodStatus): void {
    const entry = this.entry(pod);
    entry.wanted = status;
    entry.since ??= this.deps.clock.monotonic();
    this.queue.request(pod.uid);
  }

  finalize(pod: PodIdentity): void {
    this.entry(pod).finalize = true;
    this.queue.request(pod.uid);
  }

  forget(uid: string): void {
    this.entries.delete(uid);
    this.queue.forget(uid);
  }

  /** Stops at once; what is not written yet is lost here and computed anew by the next process. */
  async close(): Promise<void> {
    this.timer?.cancel();
    this.stop.abort();
    await this.queue.close();
  }

  private entry(pod: PodIdentity): Entry {
    let entry = this.entries.get(pod.uid);
    if (entry === undefined) {
      entry = { pod, wanted: undefined, finalize: false, since: undefined, answered: undefined };
      this.entries.set(pod.uid, entry);
    }
    return entry;
  }

  private async write(uid: string): Promise<undefined> {
    const entry = this.entries.get(uid);
    if (entry === undefined) return;
    try {
      const wanted = entry.wanted;
      const patch = this.patchOf(entry);
      if (patch !== undefined) await this.send(entry, patch);
      // A newer status may have been set meanwhile: its own run follows.
      if (entry.wanted !== wanted) return;
      if (entry.since !== undefined) this.duration?.observe((this.deps.clock.monotonic() - entry.since) / 1000);
      entry.since = undefined;
      if (entry.finalize) await this.remove(entry);
    } catch (error) {
      if (!hasCode(error, 'NotFound', 'Conflict')) throw error;
      // The pod is gone, or another one has its name (the UID in the patch did not match): nobody waits for this.
      this.drop(entry, messageOf(error));
    }
  }

  private patchOf(entry: Entry): object | undefined {
    if (entry.wanted === undefined) return undefined;
    const current = this.current(entry);
    if (current === undefined) throw new CodedError('NotFound', `pod ${nameOf(entry.pod)} is not in the API any more`);
    const before = current.status ?? {};
    return statusPatch(entry.pod.uid, before, mergedStatus(before, entry.wanted, restartPolicies(current)));
  }

  private async send(entry: Entry, patch: object): Promise<void> {
    const { namespace, name } = entry.pod;
    const viewVersion = this.inView(entry)?.metadata.resourceVersion;
    const target = { namespace, name, subresource: 'status' };
    const pod = await this.deps.api.patch<Pod>(resources.pods, target, patch, 'strategic', this.stop.signal);
    entry.answered = { viewVersion, pod };
    this.deps.logger.debug({ pod: nameOf(entry.pod), phase: pod.status?.phase }, 'wrote pod status');
  }

  private async remove(entry: Entry): Promise<void> {
    const { namespace, name, uid } = entry.pod;
    await this.deps.api.delete(resources.pods, { namespace, name }, { gracePeriodSeconds: 0, uid }, this.stop.signal);
    this.deps.logger.info({ pod: nameOf(entry.pod), uid }, 'deleted the pod from the API after its last status');
    this.forget(uid);
  }

  private drop(entry: Entry, why: string): void {
    this.deps.logger.debug({ pod: nameOf(entry.pod), uid: entry.pod.uid, why }, 'dropped the status of a pod');
    this.entries.delete(entry.pod.uid);
  }

  /** The API's copy, as far as is known here; undefined when the pod is not there (any more). */
  private current(entry: Entry): Pod | undefined {
    const seen = this.inView(entry);
    const { answered } = entry;
    if (seen !== undefined && answered?.viewVersion === seen.metadata.resourceVersion) return answered?.pod ?? seen;
    return seen;
  }

  private inView(entry: Entry): Pod | undefined {
    const seen = this.deps.pods.get(nameOf(entry.pod));
    return seen?.metadata.uid === entry.pod.uid ? seen : undefined;
  }

  private resyncLater(): void {
    this.timer = this.deps.clock.after(RESYNC_MS, () => {
      this.resync();
      this.resyncLater();
    });
  }

  private resync(): void {
    for (const [uid, entry] of this.entries) {
      // What the view has moved on from is of no use any more.
      if (entry.answered !== undefined && this.current(entry) !== entry.answered.pod) entry.answered = undefined;
      if (entry.since !== undefined || entry.finalize) continue;
      try {
        if (this.patchOf(entry) !== undefined) this.queue.request(uid);
      } catch (error) {
        if (this.deps.pods.synced) this.drop(entry, messageOf(error));
      }
    }
  }

  private onError(uid: string, error: unknown): void {
    if (this.stop.signal.aborted) return;
    const pod = this.entries.get(uid)?.pod;
    this.deps.logger.warn(
      { pod: pod === undefined ? undefined : nameOf(pod), uid, error: messageOf(error) },
      'could not write a pod status; it is retried',
    );
  }
}

function nameOf(pod: { namespace: string; name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}
