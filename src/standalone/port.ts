import type { KubeObject } from '../model/meta.ts';
import type { ResourceType } from '../model/resource.ts';

export interface StoredEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly resource: ResourceType;
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
  /** The store-wide version of this change; also the object's resourceVersion. */
  readonly resourceVersion: number;
}

/**
 * The embedded API's objects, in memory and in one write-ahead file. Synchronous for readers; objects that come out are
 * frozen: copy before changing. Writers get optimistic concurrency by resourceVersion. `uid`, `creationTimestamp`,
 * `resourceVersion` and `generation` are the store's to set.
 */
export interface Store {
  readonly resourceVersion: number;
  get(type: ResourceType, namespace: string | undefined, name: string): KubeObject | undefined;
  /** In the order of namespace/name. */
  list(type: ResourceType, namespace?: string): KubeObject[];
  /** Throws AlreadyExists. Resolves when the change is on disk. */
  create(type: ResourceType, object: KubeObject): Promise<KubeObject>;
  /** Throws NotFound, and Conflict when the object carries a resourceVersion that is not the current one. */
  update(type: ResourceType, object: KubeObject): Promise<KubeObject>;
  /** Removes at once, whatever finalizers and grace say (those are the layer's above). */
  remove(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject>;
  /** Told of each change after it is durable, in order. */
  subscribe(listener: (event: StoredEvent) => void): () => void;
  /** Changes after `since` from a bounded history, or undefined when it reaches too far back (410 Gone). */
  eventsSince(since: number): StoredEvent[] | undefined;
}

/** A mistake in an object, in the words of apimachinery's field errors. */
export interface FieldError {
  /** Such as spec.containers[0].image */
  readonly field: string;
  readonly reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueDuplicate'
    | 'FieldValueForbidden'
    | 'FieldValueTypeInvalid'
    | 'FieldValueNotFound'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany';
  /** Says what is there and what was expected. */
  readonly message: string;
}

/**
 * What the API does to an object on its way in, in this order. All are pure but `allocate`.
 */
export interface Admission {
  /** Unknown fields, wrong types: structural mistakes, before anything else looks at the object. */
  structural(type: ResourceType, object: unknown): FieldError[];
  /** Fills Kubernetes' defaults (pkg/apis/core/v1/defaults.go and peers) in place of absent fields; returns a copy. */
  defaults<T extends KubeObject>(type: ResourceType, object: T): T;
  /** Rules of meaning (pkg/apis/core/validation); `previous` set on update, with immutability. */
  validate(
    type: ResourceType,
    object: KubeObject,
    previous: KubeObject | undefined,
    subresource?: string,
  ): FieldError[];
  /** Names, addresses and ports that the cluster hands out, node binding; throws CodedError when there is none left. */
  allocate(type: ResourceType, object: KubeObject, previous: KubeObject | undefined): KubeObject;
}
