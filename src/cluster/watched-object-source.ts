import type { Clock } from '../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../kit/emitter.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { KubeObject } from '../model/meta.ts';
import type { ResourceType } from '../model/resource.ts';
import type { ApiClient, ObjectSource } from './port.ts';
import { WatchCache, type WatchCacheMetrics } from './watch-cache.ts';

export interface WatchedObjectSourceOptions {
  /** How long `get` waits for the first list of an object. Default 5 s. */
  readonly firstGetMs?: number;
}

export interface WatchedObjectSourceDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: WatchCacheMetrics | undefined;
  readonly random?: () => number;
}

interface Watched {
  readonly owners: Set<string>;
  readonly cache: WatchCache<KubeObject, KubeObject>;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

/**
 * One watch (field selector metadata.name, which is all that the Node authorizer allows on Secrets and ConfigMaps) for
 * each object that an owner needs, shared by its owners. An immutable object is not watched any longer once it is known.
 */
export class WatchedObjectSource implements ObjectSource {
  private readonly options: WatchedObjectSourceOptions;
  private readonly deps: WatchedObjectSourceDeps;
  private readonly watched = new Map<string, Watched>();
  private readonly byOwner = new Map<string, Set<string>>();
  private readonly changes: Emitter<{ owners: ReadonlySet<string>; key: string }>;

  constructor(options: WatchedObjectSourceOptions, deps: WatchedObjectSourceDeps) {
    this.options = options;
    this.deps = deps;
    this.changes = new Emitter((error) =>
      deps.logger.error({ error: messageOf(error) }, 'a listener of the object source threw'),
    );
  }

  /** How many objects are held, watched or immutable. */
  get size(): number {
    return this.watched.size;
  }

  need(owner: string, type: ResourceType, namespace: string, name: string): void {
    const key = `${type.kind}/${namespace}/${name}`;
    let held = this.byOwner.get(owner);
    if (held === undefined) {
      held = new Set();
      this.byOwner.set(owner, held);
    }
    held.add(key);
    let entry = this.watched.get(key);
    if (entry === undefined) {
      entry = this.start(type, namespace, name, key);
      this.watched.set(key, entry);
    }
    entry.owners.add(owner);
  }

  release(owner: string, keep?: ReadonlySet<string>): void {
    const held = this.byOwner.get(owner);
    if (held === undefined) return;
    for (const key of held) {
      if (keep?.has(key)) continue;
      held.delete(key);
      const entry = this.watched.get(key);
      entry?.owners.delete(owner);
      if (entry?.owners.size === 0) {
        this.watched.delete(key);
        entry.stop.abort();
      }
    }
    if (held.size === 0) this.byOwner.delete(owner);
  }

  async get<T extends KubeObject>(
    type: ResourceType,
    namespace: string,
    name: string,
    signal?: AbortSignal,
  ): Promise<T> {
    const entry = this.watched.get(`${type.kind}/${namespace}/${name}`);
    if (entry !== undefined) {
      await this.firstSync(entry, type, namespace, name, signal);
      const known = entry.cache.get(`${namespace}/${name}`);
      if (known !== undefined) return known as T;
      // The watch may be a moment behind somebody who made the object just before the pod: ask before saying no.
    }
    return await this.direct<T>(type, namespace, name, signal);
  }

  subscribe(listener: (owners: ReadonlySet<string>, key: string) => void): Unsubscribe {
    return this.changes.subscribe(({ owners, key }) => listener(owners, key));
  }

  async close(): Promise<void> {
    const entries = [...this.watched.values()];
    this.watched.clear();
    this.byOwner.clear();
    for (const entry of entries) entry.stop.abort();
    await Promise.all(entries.map((entry) => entry.done));
  }

  private start(type: ResourceType, namespace: string, name: string, key: string): Watched {
    const { api, clock, logger, metrics, random } = this.deps;
    const cache = new WatchCache<KubeObject, KubeObject>(
      { type, namespace, fieldSelector: `metadata.name=${name}`, project: withoutManagedFields },
      { api, clock, logger, metrics, ...(random === undefined ? {} : { random }) },
    );
    const stop = new AbortController();
    const owners = new Set<string>();
    cache.subscribe(({ current }) => {
      this.changes.emit({ owners, key });
      if (current !== undefined && (current as { immutable?: boolean }).immutable === true) stop.abort();
    });
    return { owners, cache, stop, done: cache.run(stop.signal) };
  }

  private async firstSync(
    { cache }: Watched,
    type: ResourceType,
    namespace: string,
    name: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (cache.synced) return;
    const limitMs = this.options.firstGetMs ?? 5000;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = this.deps.clock.after(limitMs, onAbort);
    try {
      if (signal?.aborted) stop.abort();
      await cache.whenSynced(stop.signal);
    } catch {
      const why = cache.lastFailure?.message ?? `no list of it was complete within ${limitMs} ms`;
      throw new CodedError('Unavailable', `reading ${type.kind} ${namespace}/${name}: not known yet: ${why}`, {
        kind: type.kind,
        namespace,
        name,
      });
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  private async direct<T extends KubeObject>(
    type: ResourceType,
    namespace: string,
    name: string,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    try {
      return await this.deps.api.get<T>(type, { namespace, name }, signal);
    } catch (error) {
      const code = hasCode(error, 'NotFound') ? 'NotFound' : 'Unavailable';
      const what = code === 'NotFound' ? 'it does not exist' : `not known yet: ${messageOf(error)}`;
      throw new CodedError(
        code,
        `reading ${type.kind} ${namespace}/${name}: ${what}`,
        { kind: type.kind, namespace, name },
        error,
      );
    }
  }
}

function withoutManagedFields(raw: KubeObject): KubeObject {
  delete raw.metadata.managedFields;
  return raw;
}
