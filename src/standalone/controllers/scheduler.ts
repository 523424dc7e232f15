import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import type { Store, StoredEvent } from '../port.ts';
import type { Controller, ObjectDeleter } from './port.ts';

export interface SchedulerDeps {
  readonly store: Store;
  readonly deleter: ObjectDeleter;
  readonly clock: Clock;
  readonly log: Logger;
  /** ObjectAdmission.bind: the pod with its node, or with the condition that says why it has none. */
  readonly bind: (pod: Pod) => Pod;
}

/**
 * Binds pods that could not be bound when they were made: when the node changes, when room becomes free, when their
 * own rules change. Pods that are deleted before they ran anywhere are removed, since no node will confirm it.
 */
export class Scheduler implements Controller {
  private readonly deps: SchedulerDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: SchedulerDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (key) => this.reconcile(key), {
      retry: { baseMs: 20, maxMs: 10_000 },
      onError: (pod, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound');
        deps.log[expected ? 'debug' : 'warn']({ pod, error: messageOf(error) }, 'pod not scheduled; retrying');
      },
    });
  }

  start(): void {
    this.unsubscribe = this.deps.store.subscribe((event) => this.follow(event));
    this.requestWaiting();
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, object, previous, type }: StoredEvent): void {
    if (resource.plural === resources.nodes.plural) this.requestWaiting();
    if (resource.plural !== resources.pods.plural) return;
    const pod = object as Pod;
    if (type === 'DELETED') this.queue.forget(keyOf(pod));
    else if (!pod.spec.nodeName) this.queue.request(keyOf(pod));
    const freed = type === 'DELETED' || (isOver(pod) && previous !== undefined && !isOver(previous as Pod));
    if (freed) this.requestWaiting();
  }

  private requestWaiting(): void {
    for (const pod of this.deps.store.list(resources.pods) as Pod[]) {
      if (!pod.spec.nodeName) this.queue.request(keyOf(pod));
    }
  }

  private async reconcile(key: string): Promise<undefined> {
    const { store, deleter, bind } = this.deps;
    const [namespace = '', name = ''] = key.split('/');
    const pod = store.get(resources.pods, namespace, name) as Pod | undefined;
    if (pod === undefined || pod.spec.nodeName) return undefined;
    if (pod.metadata.deletionTimestamp !== undefined) {
      const uid = pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid };
      if ((pod.metadata.finalizers?.length ?? 0) === 0) {
        await deleter.delete(resources.pods, namespace, name, { gracePeriodSeconds: 0, ...uid });
      }
      return undefined;
    }
    const next = bind(pod);
    if (next !== pod) await store.update(resources.pods, next);
    return undefined;
  }
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}
