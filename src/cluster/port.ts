import type { Unsubscribe } from '../kit/emitter.ts';
import type { KubeList, KubeObject, ListMeta, ObjectReference } from '../model/meta.ts';
import type { PodStatus } from '../model/pod.ts';
import type { ResourceType } from '../model/resource.ts';

/** Where an object or a collection is. */
export interface Target {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

export interface Selection {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface ListOptions extends Selection {
  readonly namespace?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
}

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

/**
 * Requests to a Kubernetes API server. Throws CodedError with the code of the HTTP status: 400/422 InvalidObject, 401
 * Unauthorized, 403 Forbidden, 404 NotFound, 409 AlreadyExists or Conflict (by the Status's reason), 410 Gone, 429
 * TooManyRequests, 5xx and network failures Unavailable, time-outs DeadlineExceeded. Metadata carries `status`,
 * `reason`, `verb`, `path` and, where the server said so, `retryAfterMs`.
 */
export interface ApiClient {
  get<T extends KubeObject>(type: ResourceType, target: Target, signal?: AbortSignal): Promise<T>;
  /**
   * One page, handed over item by item while it comes in, so that it is never whole in memory; the signal aside, it fails
   * as `list` does, and then what was handed over is of no use. The resolved value is what the page says of itself.
   */
  listEach<T extends KubeObject>(
    type: ResourceType,
    options: ListOptions,
    onItem: (item: T) => void,
    signal?: AbortSignal,
  ): Promise<ListMeta>;
  /** One page. */
  list<T extends KubeObject>(type: ResourceType, options: ListOptions, signal?: AbortSignal): Promise<KubeList<T>>;
  create<T extends KubeObject>(type: ResourceType, target: Target, object: unknown, signal?: AbortSignal): Promise<T>;
  update<T extends KubeObject>(type: ResourceType, target: Target, object: T, signal?: AbortSignal): Promise<T>;
  patch<T extends KubeObject>(
    type: ResourceType,
    target: Target,
    patch: unknown,
    patchType: PatchType,
    signal?: AbortSignal,
  ): Promise<T>;
  /** `uid` is a precondition (409 when another object has the name now). */
  delete(
    type: ResourceType,
    target: Target,
    options?: { gracePeriodSeconds?: number; uid?: string },
    signal?: AbortSignal,
  ): Promise<void>;
  /** Events until the server closes the stream or the signal aborts; a 410 in the stream throws Gone. */
  watch<T extends KubeObject>(
    type: ResourceType,
    options: Selection & { namespace?: string; resourceVersion: string; timeoutSeconds?: number },
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>;
  close(): void;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface Change<T> {
  readonly key: string;
  readonly previous: T | undefined;
  /** undefined: deleted. */
  readonly current: T | undefined;
}

/** A read-only window on the objects of one kind that a cache keeps up to date. Keys are `namespace/name` (keyOf). */
export interface View<T> {
  /** True from the first complete list on; it stays true while the API is away. */
  readonly synced: boolean;
  /** Resolves when `synced` becomes true. */
  whenSynced(signal?: AbortSignal): Promise<void>;
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  readonly size: number;
  /** Told of each change after it is in the view; not told of what is in it already. */
  subscribe(listener: (change: Change<T>) => void): Unsubscribe;
}

/** Single objects (ConfigMaps, Secrets) kept fresh by one watch each while somebody needs them. */
export interface ObjectSource {
  /**
   * Starts (or shares) the watch of one object on behalf of `owner` (a pod's UID). Release with `release(owner)`. With
   * `onlyAtStart` nobody has to know of changes: the watch may end after a while, and begins anew with the next `get`.
   */
  need(owner: string, type: ResourceType, namespace: string, name: string, onlyAtStart?: boolean): void;
  /** Stops the watches that only this owner needs, except those in `keep` ("kind/namespace/name"). */
  release(owner: string, keep?: ReadonlySet<string>): void;
  /** The object; NotFound when the API says it does not exist; Unavailable when it is not known yet. */
  get<T extends KubeObject>(type: ResourceType, namespace: string, name: string, signal?: AbortSignal): Promise<T>;
  subscribe(listener: (owners: ReadonlySet<string>, key: string) => void): Unsubscribe;
}

/** Service account tokens for pods (TokenRequest), cached and renewed at 80 % of their life. */
export interface TokenSource {
  token(request: {
    readonly namespace: string;
    readonly serviceAccount: string;
    /** Refuse a token of another account of that name (a precondition). */
    readonly serviceAccountUid?: string;
    readonly podName: string;
    readonly podUid: string;
    readonly audience: string | undefined;
    readonly expirationSeconds: number;
  }): Promise<{ readonly token: string; readonly renewAt: number; readonly expiresAt?: number }>;
  /** Drops the tokens of a pod that is gone. */
  forget(podUid: string): void;
}

/**
 * The object in the API that shows a pod's status: the pod itself, for a static pod its mirror pod. undefined while there
 * is no such object: the status waits.
 */
export type StatusTarget = (uid: string) => { readonly uid: string; readonly mirror: boolean } | undefined;

/** The one writer of pod status: latest wins, coalesced per pod, retried until the API has it. */
export interface PodStatusWriter {
  set(pod: { namespace: string; name: string; uid: string }, status: PodStatus): void;
  /** Deletes the pod object with grace 0 and its UID as precondition, once its last status is written. */
  finalize(pod: { namespace: string; name: string; uid: string }): void;
  forget(uid: string): void;
}

/** Records events as kubelet does: aggregated, counted and rate-limited; it never throws and never blocks. */
export interface EventRecorder {
  /** `annotations` go with the event when it is made; they do not tell one event from another. */
  event(
    about: ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    annotations?: Readonly<Record<string, string>>,
  ): void;
}
