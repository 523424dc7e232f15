import type { BackoffOptions } from '../kit/backoff.ts';
import type { Clock, Timer } from '../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import type { Pod, PodStatus } from '../model/pod.ts';
import { resources } from '../model/resource.ts';
import { mergedStatus, restartPolicies, statusPatch } from './pod-status-patch.ts';
import type { ApiClient, PodStatusWriter, StatusTarget, View } from './port.ts';

/** status_manager.go, syncPeriod: everything is compared with the API's copy this often. */
const RESYNC_MS = 10_000;
/** An API that comes back has all statuses within so long, each node's and pod's at another moment. */
const RETRY: BackoffOptions = { baseMs: 200, maxMs: 8000, jitter: 0.5 };

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
  /** The last patch and the version that the API had after it: what it drops is not sent over and over. */
  sent: { readonly text: string; readonly version: string | undefined } | undefined;
}

export interface PodStatusWriterDeps {
  readonly api: ApiClient;
  /** This node's pods as the API has them, status included. */
  readonly pods: View<Pod>;
  /** Default: each pod shows its own status. */
  readonly target?: StatusTarget;
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
      entry = { pod, wanted: undefined, finalize: false, since: undefined, answered: undefined, sent: undefined };
      this.entries.set(pod.uid, entry);
    }
    return entry;
  }

  private async write(uid: string): Promise<undefined> {
    const entry = this.entries.get(uid);
    if (entry === undefined) return;
    const target = this.targetOf(entry);
    if (target === undefined) {
      // A static pod without a mirror pod: the next resync looks again. Nobody waits for its end.
      if (entry.finalize) this.forget(uid);
      return;
    }
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
      // A mirror pod is made anew by whoever made it.
      if (target.mirror || !(hasCode(error, 'NotFound') || this.isAnother(entry, error))) throw error;
      // The pod is gone, or another one has its name (the UID in the patch did not match): nobody waits for this.
      this.drop(entry, messageOf(error));
    }
  }

  private patchOf(entry: Entry): object | undefined {
    if (entry.wanted === undefined) return undefined;
    const current = this.current(entry);
    if (current === undefined) throw new CodedError('NotFound', `pod ${nameOf(entry.pod)} is not in the API any more`);
    const before = current.status ?? {};
    const { uid = '', resourceVersion } = current.metadata;
    const patch = statusPatch(uid, before, mergedStatus(before, entry.wanted, restartPolicies(current)));
    if (patch === undefined) return undefined;
    const { sent } = entry;
    return sent?.version === resourceVersion && sent?.text === JSON.stringify(patch) ? undefined : patch;
  }

  private targetOf(entry: Entry): ReturnType<StatusTarget> {
    const { uid } = entry.pod;
    return this.deps.target === undefined ? { uid, mirror: false } : this.deps.target(uid);
  }

  /** The API refused for the UID's sake. Other conflicts are of two writers at once, and pass. */
  private isAnother(entry: Entry, error: unknown): boolean {
    if (!hasCode(error, 'Conflict')) return false;
    return this.inView(entry) === undefined || /\buid\b/i.test(messageOf(error));
  }

  private async send(entry: Entry, patch: object): Promise<void> {
    const { namespace, name } = entry.pod;
    const viewVersion = this.inView(entry)?.metadata.resourceVersion;
    const target = { namespace, name, subresource: 'status' };
    const pod = await this.deps.api.patch<Pod>(resources.pods, target, patch, 'strategic', this.stop.signal);
    entry.answered = { viewVersion, pod };
    entry.sent = { text: JSON.stringify(patch), version: pod.metadata.resourceVersion };
    this.deps.logger.debug({ pod: nameOf(entry.pod), phase: pod.status?.phase }, 'wrote pod status');
  }

  private async remove(entry: Entry): Promise<void> {
    const { namespace, name, uid } = entry.pod;
    if (this.targetOf(entry)?.mirror === true) return this.forget(uid);
    const current = this.current(entry);
    if (current === undefined && this.deps.pods.synced) return this.forget(uid);
    const { phase } = current?.status ?? {};
    if (phase !== 'Succeeded' && phase !== 'Failed') {
      throw new CodedError(
        'Aborted',
        `pod ${nameOf(entry.pod)} is ${phase} in the API; needs a final phase to be deleted`,
      );
    }
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
    return seen?.metadata.uid === this.targetOf(entry)?.uid ? seen : undefined;
  }

  private resyncLater(): void {
    this.timer = this.deps.clock.after(RESYNC_MS, () => {
      this.resync();
      this.resyncLater();
    });
  }

  /** Looks at once whether the API lacks anything: objects that statuses wait for have come. */
  lookAgain(): void {
    this.resync();
  }

  private resync(): void {
    for (const [uid, entry] of this.entries) {
      // What the view has moved on from is of no use any more.
      if (entry.answered !== undefined && this.current(entry) !== entry.answered.pod) entry.answered = undefined;
      const target = this.targetOf(entry);
      if (target === undefined) continue;
      // It may have waited for an object in the API (a static pod's mirror pod), which is there by now.
      if (this.deps.target !== undefined && entry.since !== undefined) this.queue.request(uid);
      if (entry.since !== undefined || entry.finalize) continue;
      try {
        if (this.patchOf(entry) !== undefined) this.queue.request(uid);
      } catch (error) {
        if (this.deps.pods.synced && !target.mirror) this.drop(entry, messageOf(error));
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
