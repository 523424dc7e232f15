import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Namespace } from '../../model/objects.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { Admission, Store, StoredEvent } from '../port.ts';
import type { Controller, ObjectDeleter } from './port.ts';

export const INITIAL_NAMESPACES: readonly string[] = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
const FINALIZER = 'kubernetes';
const ROOT_CA_NAME = 'kube-root-ca.crt';
const ROOT_CA_ANNOTATION = {
  'kubernetes.io/description':
    'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
};
const NAMESPACED: readonly ResourceType[] = Object.values(resources).filter(({ namespaced }) => namespaced);

export interface NamespaceControllerDeps {
  readonly store: Store;
  readonly admission: Pick<Admission, 'defaults' | 'allocate'>;
  readonly deleter: ObjectDeleter;
  readonly clock: Clock;
  readonly log: Logger;
  /** PEM text of the API's authority, for each namespace's kube-root-ca.crt. */
  readonly rootCa: string;
}

/**
 * Makes the first namespaces, gives each namespace its "default" ServiceAccount and the authority's certificate, and
 * empties a namespace that is being deleted before it lets it go.
 */
export class NamespaceController implements Controller {
  private readonly deps: NamespaceControllerDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: NamespaceControllerDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (name) => this.reconcile(name), {
      retry: { baseMs: 20, maxMs: 10_000 },
      onError: (namespace, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound', 'AlreadyExists');
        deps.log[expected ? 'debug' : 'warn'](
          { namespace, error: messageOf(error) },
          'namespace not settled; retrying',
        );
      },
    });
  }

  /** Resolves when the first namespaces are there. */
  async start(): Promise<void> {
    const { store } = this.deps;
    this.unsubscribe = store.subscribe((event) => this.follow(event));
    await Promise.all(
      INITIAL_NAMESPACES.map(async (name) => {
        if (store.get(resources.namespaces, undefined, name) !== undefined) return;
        await this.create(resources.namespaces, { metadata: { name } });
      }),
    );
    for (const { metadata } of store.list(resources.namespaces)) this.queue.request(metadata.name ?? '');
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, object, type }: StoredEvent): void {
    const { name = '', namespace } = object.metadata;
    if (resource.plural === resources.namespaces.plural) {
      if (type === 'DELETED') this.queue.forget(name);
      else this.queue.request(name);
      return;
    }
    if (namespace === undefined) return;
    const account = resource.plural === resources.serviceaccounts.plural && name === 'default';
    const bundle = resource.plural === resources.configmaps.plural && name === ROOT_CA_NAME;
    if (account || bundle || (type === 'DELETED' && this.isGoing(namespace))) this.queue.request(namespace);
  }

  private isGoing(name: string): boolean {
    return this.deps.store.get(resources.namespaces, undefined, name)?.metadata.deletionTimestamp !== undefined;
  }

  private async reconcile(name: string): Promise<undefined> {
    const namespace = this.deps.store.get(resources.namespaces, undefined, name) as Namespace | undefined;
    if (namespace === undefined) return undefined;
    if (namespace.metadata.deletionTimestamp === undefined) await this.furnish(name);
    else await this.empty(namespace, name);
    return undefined;
  }

  private async furnish(namespace: string): Promise<void> {
    const { store, rootCa } = this.deps;
    if (store.get(resources.serviceaccounts, namespace, 'default') === undefined) {
      await this.create(resources.serviceaccounts, { metadata: { namespace, name: 'default' } });
    }
    const wanted = { 'ca.crt': rootCa };
    const bundle = store.get(resources.configmaps, namespace, ROOT_CA_NAME) as
      | (KubeObject & { data?: Record<string, string> })
      | undefined;
    if (bundle === undefined) {
      const metadata = { namespace, name: ROOT_CA_NAME, annotations: ROOT_CA_ANNOTATION };
      await this.create(resources.configmaps, { metadata, data: wanted } as KubeObject);
    } else if (bundle.data?.['ca.crt'] !== rootCa && bundle.metadata.deletionTimestamp === undefined) {
      await store.update(resources.configmaps, { ...bundle, data: wanted } as KubeObject);
    }
  }

  private async empty(namespace: Namespace, name: string): Promise<void> {
    const { store, deleter } = this.deps;
    let left = 0;
    for (const type of NAMESPACED) {
      const objects = store.list(type, name);
      left += objects.length;
      await Promise.all(
        objects.map(({ metadata }) =>
          deleter.delete(type, name, metadata.name ?? '', metadata.uid === undefined ? {} : { uid: metadata.uid }),
        ),
      );
    }
    // What is left has grace or finalizers; its DELETED event brings us back. What went at once brings one too.
    if (left > 0 && NAMESPACED.some((type) => store.list(type, name).length > 0)) return;
    const finalizers = (namespace.spec?.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZER);
    const current = store.get(resources.namespaces, undefined, name) as Namespace | undefined;
    if (current === undefined) return;
    await deleter.updateOrRemove(resources.namespaces, {
      ...current,
      spec: { ...current.spec, finalizers },
    } as Namespace);
  }

  private async create(type: ResourceType, object: KubeObject): Promise<void> {
    const { store, admission } = this.deps;
    try {
      await store.create(type, admission.allocate(type, admission.defaults(type, object), undefined));
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
}
