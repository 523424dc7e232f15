import type { Change, EventRecorder, View } from '../../cluster/port.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { isMirrorPod, podOrigin } from '../../model/static-pod.ts';
import { containerReference } from '../act/references.ts';
import type { PodSources, StaticSource } from './port.ts';
import { isStaticPodUid } from './static-pod-uid.ts';

export interface MergedPodsOptions {
  /** The sources that are configured beside the API. */
  readonly sources: readonly StaticSource[];
}

export interface MergedPodsDeps {
  /** The pods bound to this node as the API has them, mirror pods among them. */
  readonly api: View<Pod>;
  readonly events: EventRecorder;
  readonly log: Logger;
}

type Origin = 'api' | 'checkpoint' | StaticSource;

interface Entry {
  readonly pod: Pod;
  readonly origin: Origin;
}

/**
 * The pods that this node is to run, from all sources in one view (pkg/kubelet/config/config.go). Mirror pods are not
 * among them. Two sources may have pods of one name: `values` has both, `get` the one that came first.
 *
 * The view opens (`synced`) when its owner says so; until every source has spoken once (`complete`) nothing is known to
 * be unwanted.
 */
export class MergedPods implements View<Pod>, PodSources {
  private readonly options: MergedPodsOptions;
  private readonly deps: MergedPodsDeps;
  private readonly byUid = new Map<string, Entry>();
  private readonly uids = new Map<string, string[]>();
  private readonly spoken = new Set<StaticSource>();
  private readonly changes: Emitter<Change<Pod>>;
  private readonly completions: Emitter<void>;
  private readonly unsubscribe: Unsubscribe;
  private waiters: (() => void)[] = [];
  private opened = false;
  private apiKnown = false;

  constructor(options: MergedPodsOptions, deps: MergedPodsDeps) {
    this.options = options;
    this.deps = deps;
    const onError = (error: unknown): void =>
      deps.log.error({ error: messageOf(error) }, 'a listener of the pods threw');
    this.changes = new Emitter(onError);
    this.completions = new Emitter(onError);
    this.unsubscribe = deps.api.subscribe((change) => this.fromApi(change));
    for (const pod of deps.api.values()) this.fromApi({ key: keyOf(pod), previous: undefined, current: pod });
  }

  close(): void {
    this.unsubscribe();
  }

  // ── what the sources say ──────────────────────────────────────────────────────────────────────────────────────────

  /** All pods that a file or URL source has now. */
  setStatic(source: StaticSource, pods: readonly Pod[]): void {
    const wanted = new Map<string, Pod>();
    const names = new Set<string>();
    for (const pod of pods) {
      const key = keyOf(pod);
      if (names.has(key)) this.refuseTwin(source, pod);
      else wanted.set(pod.metadata.uid ?? '', pod);
      names.add(key);
    }
    for (const [uid, entry] of [...this.byUid]) if (entry.origin === source && !wanted.has(uid)) this.remove(uid);
    for (const [uid, pod] of wanted) {
      const before = this.byUid.get(uid)?.pod;
      if (before !== undefined && contentOf(before) === contentOf(pod)) continue;
      this.put(this.withHistory(pod, before), source);
    }
    this.spoken.add(source);
    this.tellIfComplete();
  }

  /** The pods of the checkpoint, which stand in for the API's until its own list is there. */
  setCheckpoint(pods: readonly Pod[]): void {
    if (this.apiKnown) return;
    for (const pod of pods) if (!this.byUid.has(pod.metadata.uid ?? '')) this.put(pod, 'checkpoint');
  }

  /** The API's list is complete: what only the checkpoint knows is gone. */
  apiListed(): void {
    if (this.apiKnown) return;
    this.apiKnown = true;
    for (const [uid, { origin }] of [...this.byUid]) if (origin === 'checkpoint') this.remove(uid);
    this.tellIfComplete();
  }

  /** Lets readers begin. Static pods that run already get the status that their mirror pods have of them. */
  open(): void {
    if (this.opened) return;
    this.opened = true;
    for (const [uid, { pod, origin }] of this.byUid) {
      if (origin === 'file' || origin === 'http')
        this.byUid.set(uid, { pod: this.withHistory(pod, undefined), origin });
    }
    for (const resolve of this.waiters.splice(0)) resolve();
    this.tellIfComplete();
  }

  private fromApi({ previous, current }: Change<Pod>): void {
    const before = previous === undefined || isMirrorPod(previous) ? undefined : previous.metadata.uid;
    const now = current === undefined || isMirrorPod(current) ? undefined : current;
    if (before !== undefined && before !== now?.metadata.uid && this.byUid.get(before)?.origin === 'api') {
      this.remove(before);
    }
    if (now !== undefined) this.put(now, 'api');
  }

  private refuseTwin(source: StaticSource, pod: Pod): void {
    const { name = '', namespace = '', uid = '' } = pod.metadata;
    const text = `Error validating pod ${name}_${namespace}(${uid}) from ${source} due to duplicate pod name "${name}", ignoring`;
    this.deps.events.event(containerReference(pod), 'Warning', 'FailedValidation', text);
    this.deps.log.warn({ pod: keyOf(pod), uid, source }, 'two static pods have the same name; the first one counts');
  }

  /** When it was met first, and its status as far as somebody remembers it: the last copy, or its mirror pod. */
  private withHistory(pod: Pod, before: Pod | undefined): Pod {
    const mirror = this.mirrorOf(pod);
    const seen = before?.metadata.annotations?.[podOrigin.seen] ?? mirror?.metadata.annotations?.[podOrigin.seen];
    const annotations = { ...pod.metadata.annotations, ...(seen === undefined ? {} : { [podOrigin.seen]: seen }) };
    const status = before?.status ?? mirror?.status ?? pod.status;
    return { ...pod, metadata: { ...pod.metadata, annotations }, ...(status === undefined ? {} : { status }) };
  }

  private put(pod: Pod, origin: Origin): void {
    const { uid } = pod.metadata;
    if (uid === undefined) return;
    const before = this.byUid.get(uid);
    // A UID is one pod; what this node's own files say of it counts.
    if (before !== undefined && origin === 'api' && before.origin !== 'api' && before.origin !== 'checkpoint') return;
    this.byUid.set(uid, { pod, origin });
    const key = keyOf(pod);
    if (before === undefined) this.uids.set(key, [...(this.uids.get(key) ?? []), uid]);
    this.changes.emit({ key, previous: before?.pod, current: pod });
  }

  private remove(uid: string): void {
    const entry = this.byUid.get(uid);
    if (entry === undefined) return;
    this.byUid.delete(uid);
    const key = keyOf(entry.pod);
    const left = this.uids.get(key)?.filter((other) => other !== uid) ?? [];
    if (left.length === 0) this.uids.delete(key);
    else this.uids.set(key, left);
    this.changes.emit({ key, previous: entry.pod, current: undefined });
  }

  // ── what readers see ──────────────────────────────────────────────────────────────────────────────────────────────

  get synced(): boolean {
    return this.opened;
  }

  get size(): number {
    return this.byUid.size;
  }

  get complete(): boolean {
    return this.opened && this.apiKnown && this.staticKnown;
  }

  get staticKnown(): boolean {
    return this.options.sources.every((source) => this.spoken.has(source));
  }

  /**
   * Whether a pod that is not here is unwanted. That of a static pod's UID is this node's own affair, and needs no API:
   * kubelet, after a restart, waits for the API here as well.
   */
  judges(uid: string): boolean {
    return this.complete || (this.opened && this.staticKnown && isStaticPodUid(uid));
  }

  onComplete(listener: () => void): Unsubscribe {
    return this.completions.subscribe(listener);
  }

  whenSynced(signal?: AbortSignal): Promise<void> {
    if (this.opened) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal?.reason);
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiters.push(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  async whenComplete(signal?: AbortSignal): Promise<void> {
    if (this.complete) return;
    await new Promise<void>((resolve, reject) => {
      const stop = this.onComplete(() => {
        stop();
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      const onAbort = (): void => {
        stop();
        reject(signal?.reason);
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  get(key: string): Pod | undefined {
    const [uid] = this.uids.get(key) ?? [];
    return uid === undefined ? undefined : this.byUid.get(uid)?.pod;
  }

  byUID(uid: string): Pod | undefined {
    return this.byUid.get(uid)?.pod;
  }

  *values(): IterableIterator<Pod> {
    for (const { pod } of this.byUid.values()) yield pod;
  }

  /** The pods that come from files and URLs. */
  *staticPods(): IterableIterator<Pod> {
    for (const { pod, origin } of this.byUid.values()) if (origin === 'file' || origin === 'http') yield pod;
  }

  /** The static pod of a name. */
  staticPod(key: string): Pod | undefined {
    for (const uid of this.uids.get(key) ?? []) {
      const entry = this.byUid.get(uid);
      if (entry?.origin === 'file' || entry?.origin === 'http') return entry.pod;
    }
    return undefined;
  }

  /** The mirror pod that shows exactly this static pod. */
  mirrorOf(pod: Pod): Pod | undefined {
    const mirror = this.deps.api.get(keyOf(pod));
    const shown = mirror?.metadata.annotations?.[podOrigin.mirror];
    return shown !== undefined && shown === pod.metadata.annotations?.[podOrigin.hash] ? mirror : undefined;
  }

  /** Where the status of a pod is to be written (cluster/port.ts StatusTarget). */
  statusTarget(uid: string): { readonly uid: string; readonly mirror: boolean } | undefined {
    const entry = this.byUid.get(uid);
    if (entry?.origin === 'file' || entry?.origin === 'http') {
      const mirrorUid = this.mirrorOf(entry.pod)?.metadata.uid;
      return mirrorUid === undefined ? undefined : { uid: mirrorUid, mirror: true };
    }
    // Known by the checkpoint alone: the status waits for the API's word on it.
    return entry?.origin === 'checkpoint' ? undefined : { uid, mirror: false };
  }

  subscribe(listener: (change: Change<Pod>) => void): Unsubscribe {
    return this.changes.subscribe(listener);
  }

  private tellIfComplete(): void {
    if (this.complete) this.completions.emit();
  }
}

/** What makes two copies of a static pod the same: all but its status and the time at which it was met. */
function contentOf(pod: Pod): string {
  const { [podOrigin.seen]: _, ...annotations } = pod.metadata.annotations ?? {};
  return JSON.stringify([pod.spec, { ...pod.metadata, annotations }]);
}
