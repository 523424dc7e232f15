import type { Clock } from '../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import { KeyedQueue, type RunResult } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import { keyOf } from '../model/meta.ts';
import type { Node } from '../model/node.ts';
import type { Pod } from '../model/pod.ts';
import { resources } from '../model/resource.ts';
import { isMirrorPod, podOrigin } from '../model/static-pod.ts';
import type { ApiClient, View } from './port.ts';

export interface MirrorPodsDeps {
  readonly api: ApiClient;
  /** This node's pods as the API has them. */
  readonly pods: View<Pod>;
  readonly statics: {
    staticPod(key: string): Pod | undefined;
    staticPods(): Iterable<Pod>;
    /** False until it is known which static pods there are. */
    readonly staticKnown: boolean;
    subscribe(listener: (change: { readonly key: string }) => void): () => void;
  };
  /** A static pod of this name ("namespace/name") is being ended on this node. */
  readonly isEnding: (key: string) => boolean;
  /** This node's Node as the API has it; undefined before it is registered. */
  readonly node: () => Node | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Metrics;
}

/** kubelet looks every 100 ms for its Node to be registered, and later with every sync of the pod. */
const RETRY = { baseMs: 100, maxMs: 10_000, jitter: 0.2 };
const ENDING_MS = 500;
/** Another pod has the name, or the node is being removed: nothing that soon passes. */
const BLOCKED_MS = 10_000;

/**
 * Keeps one mirror pod in the API for each static pod of this node (pkg/kubelet/pod/mirror_client.go, kubelet.go
 * tryReconcileMirrorPods): made when it is missing, made anew when it shows another version or somebody deletes it,
 * removed once its static pod is gone and has ended.
 */
export class MirrorPods {
  private readonly deps: MirrorPodsDeps;
  private readonly queue: KeyedQueue;
  private readonly stop = new AbortController();
  private readonly failing = new Set<string>();

  constructor(deps: MirrorPodsDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (key) => this.settle(key), {
      retry: RETRY,
      onError: (key, error) => this.failed(key, error),
    });
  }

  /** Waits for the API's list, then follows both sides until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { pods, statics, metrics } = this.deps;
    const onAbort = (): void => this.stop.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    const gauge = metrics?.gauge(
      'kubelet_mirror_pods',
      'The number of mirror pods the kubelet will try to create (one per admitted static pod)',
    );
    const count = (): void => gauge?.set([...pods.values()].filter(isMirrorPod).length);
    await pods.whenSynced(signal).catch(() => {});
    if (signal.aborted) return;
    const stops = [
      statics.subscribe(({ key }) => this.request(key)),
      pods.subscribe(({ key, previous, current }) => {
        if (![previous, current].some((pod) => pod !== undefined && isMirrorPod(pod))) return;
        this.request(key);
        count();
      }),
    ];
    this.requestAll();
    count();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    for (const stop of stops) stop();
    await this.queue.close();
  }

  /** Looks at all of them again: the sources have spoken, or the Node has come. */
  requestAll(): void {
    if (!this.deps.pods.synced) return;
    for (const pod of this.deps.statics.staticPods()) this.request(keyOf(pod));
    for (const pod of this.deps.pods.values()) if (isMirrorPod(pod)) this.request(keyOf(pod));
  }

  private request(key: string): void {
    if (!this.stop.signal.aborted) this.queue.request(key);
  }

  private async settle(key: string): Promise<RunResult> {
    const { pods, statics, isEnding } = this.deps;
    const wanted = statics.staticPod(key);
    const there = pods.get(key);
    if (wanted === undefined) {
      if (there === undefined || !isMirrorPod(there)) {
        this.queue.forget(key);
        this.failing.delete(key);
        return undefined;
      }
      if (!statics.staticKnown) return undefined;
      // Its containers may still be looked at, by way of the mirror pod.
      if (isEnding(key)) return { againInMs: ENDING_MS };
      await this.remove(there, 'its static pod is gone');
      return undefined;
    }
    if (there !== undefined && !isMirrorPod(there)) {
      throw new CodedError('AlreadyExists', `pod ${key} is in the API and is no mirror pod of this node`);
    }
    if (there !== undefined) {
      const current = there.metadata.annotations?.[podOrigin.mirror] === wanted.metadata.annotations?.[podOrigin.hash];
      if (current && there.metadata.deletionTimestamp === undefined) {
        this.failing.delete(key);
        return undefined;
      }
      if (!current && isEnding(key)) return { againInMs: ENDING_MS };
      await this.remove(there, current ? 'somebody deleted it' : 'it shows another version of its static pod');
    }
    return await this.create(wanted);
  }

  private async create(pod: Pod): Promise<RunResult> {
    const { api, node, log } = this.deps;
    const owner = node();
    const { name, namespace } = pod.metadata;
    const nodeUid = owner?.metadata.uid;
    if (owner === undefined || nodeUid === undefined || nodeUid === '') {
      throw new CodedError(
        'Unavailable',
        `creating mirror pod ${keyOf(pod)}: this node is not registered in the API yet`,
      );
    }
    if (owner.metadata.deletionTimestamp !== undefined) return { againInMs: BLOCKED_MS };
    const { uid: _uid, resourceVersion: _version, ...metadata } = pod.metadata;
    const mirror: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...metadata,
        annotations: {
          ...metadata.annotations,
          [podOrigin.mirror]: metadata.annotations?.[podOrigin.hash] ?? '',
        },
        // NodeRestriction lets a node create pods only as its own mirror pods, which it knows by this (KEP-1314).
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Node', name: owner.metadata.name ?? '', uid: nodeUid, controller: true },
        ],
      },
      spec: pod.spec,
    };
    try {
      await api.create(resources.pods, { namespace }, mirror, this.stop.signal);
      log.info({ pod: keyOf(pod), hash: pod.metadata.annotations?.[podOrigin.hash] }, 'created a mirror pod');
    } catch (error) {
      // The watch has not brought yet what is there.
      if (!hasCode(error, 'AlreadyExists')) throw error;
      const found = await api.get<Pod>(resources.pods, { namespace, name }, this.stop.signal);
      if (found.metadata.annotations?.[podOrigin.mirror] !== mirror.metadata.annotations?.[podOrigin.mirror])
        throw error;
    }
    this.failing.delete(keyOf(pod));
    return undefined;
  }

  private async remove(mirror: Pod, why: string): Promise<void> {
    const { api, log } = this.deps;
    const { name, namespace, uid } = mirror.metadata;
    const options = { gracePeriodSeconds: 0, ...(uid === undefined ? {} : { uid }) };
    try {
      await api.delete(resources.pods, { namespace, name }, options, this.stop.signal);
      log.info({ pod: keyOf(mirror), uid, why }, 'deleted a mirror pod');
    } catch (error) {
      // Gone, or another one has its name by now.
      if (!hasCode(error, 'NotFound', 'Conflict')) throw error;
    }
  }

  private failed(key: string, error: unknown): void {
    if (this.stop.signal.aborted) return;
    const first = !this.failing.has(key);
    this.failing.add(key);
    this.deps.log[first ? 'warn' : 'debug'](
      { pod: key, error: messageOf(error) },
      'a mirror pod could not be brought up to date; it is retried',
    );
  }
}
