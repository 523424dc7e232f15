import type { Clock, Timer } from '../kit/clock.ts';
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
  /** What is read at container starts only is let go of when nobody has read it for this long. Default 5 minutes. */
  readonly idleMs?: number;
}

export interface WatchedObjectSourceDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: WatchCacheMetrics | undefined;
  readonly random?: () => number;
}

interface Watched {
  readonly type: ResourceType;
  readonly namespace: string;
  readonly name: string;
  readonly owners: Set<string>;
  /** Those owners that have to know of changes. */
  readonly followers: Set<string>;
  usedAt: number;
  /** undefined: idle, and nothing is kept of the object. */
  running: Running | undefined;
}

interface Running {
  readonly cache: WatchCache<KubeObject, KubeObject>;
  /** Aborted: an immutable object, which is known and not watched any longer. */
  stop: AbortController;
  done: Promise<void>;
}

/** Often enough beside the idle time. */
const SWEEP_MS = 60_000;
/** kubelet: five times its sync period, at least a minute (watch_based_manager.go). */
const IDLE_MS = 5 * 60_000;

/**
 * One watch (field selector metadata.name, which is all that the Node authorizer allows on Secrets and ConfigMaps) for
 * each object that an owner needs, shared by its owners. An immutable object is not watched any longer once it is known,
 * and neither is one that only container starts read and that none has read for a while.
 */
export class WatchedObjectSource implements ObjectSource {
  private readonly options: WatchedObjectSourceOptions;
  private readonly deps: WatchedObjectSourceDeps;
  private readonly watched = new Map<string, Watched>();
  private readonly byOwner = new Map<string, Set<string>>();
  private sweeper: Timer | undefined;
  private readonly changes: Emitter<{ owners: ReadonlySet<string>; key: string }>;

  constructor(options: WatchedObjectSourceOptions, deps: WatchedObjectSourceDeps) {
    this.options = options;
    this.deps = deps;
    this.changes = new Emitter((error) =>
      deps.logger.error({ error: messageOf(error) }, 'a listener of the object source threw'),
    );
  }

  /** How many objects are held, watched or not. */
  get size(): number {
    return this.watched.size;
  }

  need(owner: string, type: ResourceType, namespace: string, name: string, onlyAtStart = false): void {
    const key = `${type.kind}/${namespace}/${name}`;
    let held = this.byOwner.get(owner);
    if (held === undefined) {
      held = new Set();
      this.byOwner.set(owner, held);
    }
    held.add(key);
    let entry = this.watched.get(key);
    if (entry === undefined) {
      const sets = { owners: new Set<string>(), followers: new Set<string>() };
      entry = { type, namespace, name, ...sets, usedAt: this.deps.clock.monotonic(), running: undefined };
      this.watched.set(key, entry);
      this.sweepLater();
    }
    const isNew = !entry.owners.has(owner);
    entry.owners.add(owner);
    if (!onlyAtStart) entry.followers.add(owner);
    const { running } = entry;
    if (running === undefined) this.start(entry, key);
    else if (isNew && running.stop.signal.aborted) void this.recheck(entry, running);
  }

  release(owner: string, keep?: ReadonlySet<string>): void {
    const held = this.byOwner.get(owner);
    if (held === undefined) return;
    for (const key of held) {
      if (keep?.has(key)) continue;
      held.delete(key);
      const entry = this.watched.get(key);
      entry?.owners.delete(owner);
      entry?.followers.delete(owner);
      if (entry?.owners.size === 0) {
        this.watched.delete(key);
        entry.running?.stop.abort();
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
    const key = `${type.kind}/${namespace}/${name}`;
    const entry = this.watched.get(key);
    if (entry !== undefined) {
      entry.usedAt = this.deps.clock.monotonic();
      const { cache } = entry.running ?? this.start(entry, key);
      await this.firstSync(cache, type, namespace, name, signal);
      const known = cache.get(`${namespace}/${name}`);
      if (known !== undefined) return known as T;
      // The watch may be a moment behind somebody who made the object just before the pod: ask before saying no.
    }
    return await this.direct<T>(type, namespace, name, signal);
  }

  subscribe(listener: (owners: ReadonlySet<string>, key: string) => void): Unsubscribe {
    return this.changes.subscribe(({ owners, key }) => listener(owners, key));
  }

  async close(): Promise<void> {
    this.sweeper?.cancel();
    const entries = [...this.watched.values()];
    this.watched.clear();
    this.byOwner.clear();
    for (const { running } of entries) running?.stop.abort();
    await Promise.all(entries.map(({ running }) => running?.done));
  }

  private start(entry: Watched, key: string): Running {
    const { api, clock, logger, metrics, random } = this.deps;
    const { type, namespace, name, owners } = entry;
    const cache = new WatchCache<KubeObject, KubeObject>(
      { type, namespace, fieldSelector: `metadata.name=${name}`, project: withoutManagedFields, isOneOfMany: true },
      { api, clock, logger, metrics, ...(random === undefined ? {} : { random }) },
    );
    const stop = new AbortController();
    const running: Running = { cache, stop, done: Promise.resolve() };
    cache.subscribe(({ current }) => {
      this.changes.emit({ owners, key });
      if (current !== undefined && (current as { immutable?: boolean }).immutable === true) running.stop.abort();
    });
    entry.running = running;
    running.done = cache.run(stop.signal);
    return running;
  }

  /** An immutable object may have been deleted and made anew since it was read: somebody new shall not get the old one. */
  private async recheck({ type, namespace, name, owners }: Watched, running: Running): Promise<void> {
    const known = running.cache.get(`${namespace}/${name}`);
    try {
      const found = await this.deps.api.get(type, { namespace, name });
      if (found.metadata.resourceVersion === known?.metadata.resourceVersion) return;
    } catch (error) {
      // While the API is away, what is known is the best there is.
      if (!hasCode(error, 'NotFound')) return;
    }
    if (owners.size === 0 || !running.stop.signal.aborted) return;
    running.stop = new AbortController();
    running.done = running.cache.run(running.stop.signal);
  }

  private sweepLater(): void {
    this.sweeper ??= this.deps.clock.after(SWEEP_MS, () => {
      this.sweeper = undefined;
      const idleSince = this.deps.clock.monotonic() - (this.options.idleMs ?? IDLE_MS);
      for (const entry of this.watched.values()) {
        if (entry.followers.size > 0 || entry.usedAt > idleSince) continue;
        entry.running?.stop.abort();
        entry.running = undefined;
      }
      if (this.watched.size > 0) this.sweepLater();
    });
  }

  private async firstSync(
    cache: WatchCache<KubeObject, KubeObject>,
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
