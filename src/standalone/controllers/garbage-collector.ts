import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject, OwnerReference } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType, resources } from '../../model/resource.ts';
import type { Store, StoredEvent } from '../port.ts';
import type { Controller, ObjectDeleter } from './port.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

export interface GarbageCollectorDeps {
  readonly store: Store;
  readonly deleter: ObjectDeleter;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Deletes objects all of whose owners are gone, and carries out the deletions `foreground` (dependents first) and
 * `orphan` (dependents stay). Owners of kinds that are not served are taken for living.
 */
export class GarbageCollector implements Controller {
  private readonly deps: GarbageCollectorDeps;
  private readonly queue: KeyedQueue;
  /** Keys of the objects that name an owner, by the owner's UID. */
  private readonly dependents = new Map<string, Set<string>>();
  private unsubscribe: (() => void) | undefined;

  constructor(deps: GarbageCollectorDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (key) => this.reconcile(key), {
      retry: { baseMs: 50, maxMs: 30_000 },
      onError: (object, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound');
        deps.log[expected ? 'debug' : 'warn']({ object, error: messageOf(error) }, 'garbage not collected; retrying');
      },
    });
  }

  start(): void {
    const { store } = this.deps;
    this.unsubscribe = store.subscribe((event) => this.follow(event));
    for (const type of Object.values(resources)) {
      for (const object of store.list(type)) this.look(type, object, undefined);
    }
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, object, previous, type }: StoredEvent): void {
    if (type !== 'DELETED') {
      this.look(resource, object, previous);
      return;
    }
    const key = objectKey(resource, object);
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const siblings = this.dependents.get(uid);
      siblings?.delete(key);
      if (siblings?.size === 0) this.dependents.delete(uid);
      // A foreground deletion of the owner waits for this one.
      this.requestOwner(object.metadata.namespace, object.metadata.ownerReferences);
    }
    this.queue.forget(key);
    for (const dependent of this.dependents.get(object.metadata.uid ?? '') ?? []) this.queue.request(dependent);
  }

  private look(type: ResourceType, object: KubeObject, previous: KubeObject | undefined): void {
    const { ownerReferences = [], finalizers = [], deletionTimestamp } = object.metadata;
    const key = objectKey(type, object);
    for (const { uid } of previous?.metadata.ownerReferences ?? []) this.dependents.get(uid)?.delete(key);
    for (const { uid } of ownerReferences) {
      const siblings = this.dependents.get(uid) ?? new Set<string>();
      this.dependents.set(uid, siblings.add(key));
    }
    const ordered = deletionTimestamp !== undefined && (finalizers.includes(FOREGROUND) || finalizers.includes(ORPHAN));
    const owned = ownerReferences.length > 0 && ownerReferences !== previous?.metadata.ownerReferences;
    if (ordered || owned) this.queue.request(key);
  }

  private requestOwner(namespace: string | undefined, owners: readonly OwnerReference[] | undefined): void {
    for (const owner of owners ?? []) {
      const type = typeOf(owner);
      if (type !== undefined) this.queue.request(keyFor(type, type.namespaced ? namespace : undefined, owner.name));
    }
  }

  private async reconcile(key: string): Promise<undefined> {
    const [plural = '', namespace = '', name = ''] = key.split('/');
    const type = Object.values(resources).find((candidate) => candidate.plural === plural);
    if (type === undefined) return undefined;
    const object = this.deps.store.get(type, namespace === '' ? undefined : namespace, name);
    if (object === undefined) return undefined;
    const { metadata } = object;
    if (metadata.deletionTimestamp !== undefined) {
      if (metadata.finalizers?.includes(ORPHAN) === true) await this.orphan(type, object);
      else if (metadata.finalizers?.includes(FOREGROUND) === true) await this.deleteDependents(type, object);
      return undefined;
    }
    const owners = metadata.ownerReferences ?? [];
    if (owners.length === 0) return undefined;
    const living = owners.filter((owner) => this.isAlive(owner, metadata.namespace));
    if (living.length === 0) {
      const uid = metadata.uid === undefined ? {} : { uid: metadata.uid };
      await this.deps.deleter.delete(type, metadata.namespace, name, uid);
    } else if (living.length < owners.length) {
      const next = { ...object, metadata: { ...metadata, ownerReferences: living } };
      await this.deps.deleter.updateOrRemove(type, next);
    }
    return undefined;
  }

  private isAlive(owner: OwnerReference, namespace: string | undefined): boolean {
    const type = typeOf(owner);
    if (type === undefined) return true;
    const found = this.deps.store.get(type, type.namespaced ? namespace : undefined, owner.name);
    if (found === undefined || found.metadata.uid !== owner.uid) return false;
    // An owner that waits for its dependents does not keep them.
    const { deletionTimestamp, finalizers } = found.metadata;
    return !(deletionTimestamp !== undefined && finalizers?.includes(FOREGROUND) === true);
  }

  private async deleteDependents(type: ResourceType, owner: KubeObject): Promise<void> {
    const keys = this.dependentsOf(owner);
    // Those that do not block have been asked to go; only blocking ones are waited for.
    for (const key of keys) this.queue.request(key);
    const waits = keys.some((key) =>
      this.at(key)?.metadata.ownerReferences?.some(
        ({ uid, blockOwnerDeletion }) => uid === owner.metadata.uid && blockOwnerDeletion === true,
      ),
    );
    if (!waits) await this.withoutFinalizer(type, owner, FOREGROUND);
  }

  private async orphan(type: ResourceType, owner: KubeObject): Promise<void> {
    for (const key of this.dependentsOf(owner)) {
      const dependent = this.at(key);
      const [plural = ''] = key.split('/');
      const dependentType = Object.values(resources).find((candidate) => candidate.plural === plural);
      if (dependent === undefined || dependentType === undefined) continue;
      const ownerReferences = (dependent.metadata.ownerReferences ?? []).filter(
        ({ uid }) => uid !== owner.metadata.uid,
      );
      await this.deps.store.update(dependentType, {
        ...dependent,
        metadata: { ...dependent.metadata, ownerReferences },
      });
    }
    await this.withoutFinalizer(type, owner, ORPHAN);
  }

  private async withoutFinalizer(type: ResourceType, object: KubeObject, finalizer: string): Promise<void> {
    const finalizers = (object.metadata.finalizers ?? []).filter((other) => other !== finalizer);
    await this.deps.deleter.updateOrRemove(type, { ...object, metadata: { ...object.metadata, finalizers } });
  }

  private dependentsOf(owner: KubeObject): string[] {
    return [...(this.dependents.get(owner.metadata.uid ?? '') ?? [])];
  }

  private at(key: string): KubeObject | undefined {
    const [plural = '', namespace = '', name = ''] = key.split('/');
    const type = Object.values(resources).find((candidate) => candidate.plural === plural);
    return type === undefined ? undefined : this.deps.store.get(type, namespace === '' ? undefined : namespace, name);
  }
}

function typeOf(owner: OwnerReference): ResourceType | undefined {
  return Object.values(resources).find((type) => type.kind === owner.kind && apiVersionOf(type) === owner.apiVersion);
}

function objectKey(type: ResourceType, { metadata }: KubeObject): string {
  return keyFor(type, metadata.namespace, metadata.name);
}

function keyFor(type: ResourceType, namespace = '', name = ''): string {
  return `${type.plural}/${namespace}/${name}`;
}
