import type { Clock } from '../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../kit/emitter.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import { type KubeObject, keyOf } from '../model/meta.ts';
import type { ResourceType } from '../model/resource.ts';
import type { ApiClient, Change, Selection, View } from './port.ts';
import { afterInput, nextStep, type ReflectorState, reflectorStart, retryDelay } from './reflector.ts';

export interface WatchCacheOptions<Raw extends KubeObject, T> extends Selection {
  readonly type: ResourceType;
  readonly namespace?: string;
  /** What is kept of an object; undefined keeps it out of the view. Must not hold on to `raw` if memory matters. */
  readonly project: (raw: Raw) => T | undefined;
  /** Objects a page. Default 500. */
  readonly pageSize?: number;
  /** One watch of a hundred like it: that the server is away, the watches of whole kinds say. */
  readonly isOneOfMany?: boolean;
}

export interface WatchCacheDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: WatchCacheMetrics | undefined;
  readonly random?: () => number;
}

/** Shared by all caches of a process: the metrics are told apart by the label `resource`. */
export class WatchCacheMetrics {
  readonly lists;
  readonly watches;
  readonly failures;
  readonly events;
  readonly objects;

  constructor(metrics: Metrics) {
    const labels = ['resource'];
    this.lists = metrics.counter('reflector_lists_total', 'Lists that were completed.', labels);
    this.watches = metrics.counter('reflector_watches_total', 'Watches that were started.', labels);
    this.failures = metrics.counter('reflector_failures_total', 'Lists and watches that failed.', labels);
    this.events = metrics.counter('reflector_events_total', 'Objects that came by watch.', labels);
    this.objects = metrics.gauge('reflector_objects', 'Objects in the cache.', labels);
  }
}

interface Entry<T> {
  readonly version: string;
  /** undefined while a page is staged: what stands in the view already has this version and is kept. */
  readonly value: T;
}

/**
 * Lists objects of one kind page by page, then follows them by watch, for as long as it runs. The view changes whole:
 * during a relist it keeps what it had, and then differs by exactly what changed. Nothing that the server does ends it.
 */
export class WatchCache<Raw extends KubeObject, T> implements View<T> {
  private readonly options: WatchCacheOptions<Raw, T>;
  private readonly deps: WatchCacheDeps;
  private readonly changes: Emitter<Change<T>>;
  private readonly random: () => number;
  private readonly labels: { readonly resource: string };
  private entries = new Map<string, Entry<T>>();
  private staged: Map<string, Entry<T>> | undefined;
  private waiters: (() => void)[] = [];
  private isSynced = false;
  private failure: CodedError | undefined;
  /** What the log was told of last and is not over yet. */
  private told: CodedError['code'] | undefined;

  constructor(options: WatchCacheOptions<Raw, T>, deps: WatchCacheDeps) {
    this.options = options;
    this.deps = deps;
    this.random = deps.random ?? Math.random;
    this.labels = { resource: options.type.plural };
    this.changes = new Emitter((error) =>
      deps.logger.error({ ...this.labels, error: messageOf(error) }, 'a listener of the watch cache threw'),
    );
  }

  get synced(): boolean {
    return this.isSynced;
  }

  /** What went wrong last, until a list or watch works again. */
  get lastFailure(): CodedError | undefined {
    return this.failure;
  }

  get size(): number {
    return this.entries.size;
  }

  get(key: string): T | undefined {
    return this.entries.get(key)?.value;
  }

  *values(): IterableIterator<T> {
    for (const entry of this.entries.values()) yield entry.value;
  }

  subscribe(listener: (change: Change<T>) => void): Unsubscribe {
    return this.changes.subscribe(listener);
  }

  whenSynced(signal?: AbortSignal): Promise<void> {
    if (this.isSynced) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.waiters = this.waiters.filter((waiter) => waiter !== onSynced);
        reject(signal?.reason);
      };
      const onSynced = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      this.waiters.push(onSynced);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Runs until `signal` aborts; what is in the view stays readable after that. */
  async run(signal: AbortSignal): Promise<void> {
    let state = reflectorStart;
    let atLeastMs = 0;
    while (!signal.aborted) {
      const step = nextStep(state);
      if (step.wait) {
        try {
          const delay = retryDelay(
            state.failures,
            this.random(),
            atLeastMs,
            isUnreachable(this.failure) ? 5000 : 30_000,
          );
          await this.deps.clock.sleep(delay, signal);
        } catch {
          return;
        }
      }
      try {
        atLeastMs = 0;
        state =
          step.do === 'list'
            ? await this.list(state, step, signal)
            : await this.watch(state, step.resourceVersion, signal, (next) => {
                state = next;
              });
      } catch (error) {
        if (signal.aborted) return;
        const failure = error instanceof CodedError ? error : new CodedError('Internal', messageOf(error), {}, error);
        atLeastMs = Number(failure.metadata['retryAfterMs'] ?? 0);
        state = this.failed(state, failure);
      }
    }
  }

  private async list(
    state: ReflectorState,
    step: { continueToken: string | undefined; paged: boolean },
    signal: AbortSignal,
  ): Promise<ReflectorState> {
    const { type, namespace, labelSelector, fieldSelector, pageSize = 500 } = this.options;
    if (step.continueToken === undefined || this.staged === undefined) this.staged = new Map();
    const staged = this.staged;
    const page = await this.deps.api.listEach<Raw>(
      type,
      {
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
        ...(step.paged ? { limit: pageSize } : {}),
        ...(step.continueToken === undefined ? {} : { continue: step.continueToken }),
      },
      (raw) => {
        const key = keyOf(raw);
        const version = raw.metadata.resourceVersion ?? '';
        const known = this.entries.get(key);
        const entry = known !== undefined && known.version === version ? known : this.projected(raw, version);
        if (entry !== undefined) staged.set(key, entry);
      },
      signal,
    );
    const next = afterInput(state, {
      type: 'page',
      resourceVersion: page.resourceVersion ?? '',
      continueToken: page.continue,
    });
    if (next.at === 'watching') this.swap(staged);
    return next;
  }

  private async watch(
    initial: ReflectorState,
    resourceVersion: string,
    signal: AbortSignal,
    save: (state: ReflectorState) => void,
  ): Promise<ReflectorState> {
    const { type, namespace, labelSelector, fieldSelector } = this.options;
    let state = initial;
    const started = this.deps.clock.monotonic();
    this.deps.metrics?.watches.inc(this.labels);
    const events = this.deps.api.watch<Raw>(
      type,
      {
        resourceVersion,
        // client-go draws 5 to 10 minutes, so that the watches of many nodes do not end together (reflector.go).
        timeoutSeconds: Math.round(300 + 300 * this.random()),
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
      },
      signal,
    );
    for await (const event of events) {
      if (signal.aborted) return state;
      const version = event.type === 'BOOKMARK' ? event.resourceVersion : event.object.metadata.resourceVersion;
      if (event.type !== 'BOOKMARK') this.applyEvent(event.type, event.object);
      // The position moves only after the event is in the view: a failure in between brings it again.
      if (version !== undefined && version !== '') {
        state = afterInput(state, { type: 'event', resourceVersion: version });
        save(state);
      }
      this.works();
    }
    return afterInput(state, { type: 'ended', lastedMs: this.deps.clock.monotonic() - started });
  }

  private applyEvent(type: 'ADDED' | 'MODIFIED' | 'DELETED', raw: Raw): void {
    this.deps.metrics?.events.inc(this.labels);
    const key = keyOf(raw);
    const previous = this.entries.get(key);
    const version = raw.metadata.resourceVersion ?? '';
    if (type !== 'DELETED' && previous?.version === version) return;
    const entry = type === 'DELETED' ? undefined : this.projected(raw, version);
    if (entry === undefined) this.entries.delete(key);
    else this.entries.set(key, entry);
    this.deps.metrics?.objects.set(this.labels, this.entries.size);
    this.tell(key, previous, entry);
  }

  private swap(staged: Map<string, Entry<T>>): void {
    const before = this.entries;
    this.entries = staged;
    this.staged = undefined;
    this.works();
    this.isSynced = true;
    this.deps.metrics?.lists.inc(this.labels);
    this.deps.metrics?.objects.set(this.labels, staged.size);
    for (const [key, previous] of before) {
      if (!staged.has(key)) this.tell(key, previous, undefined);
    }
    for (const [key, current] of staged) this.tell(key, before.get(key), current);
    for (const resolve of this.waiters.splice(0)) resolve();
  }

  private tell(key: string, previous: Entry<T> | undefined, current: Entry<T> | undefined): void {
    if (previous === current) return;
    this.changes.emit({ key, previous: previous?.value, current: current?.value });
  }

  private projected(raw: Raw, version: string): Entry<T> | undefined {
    try {
      const value = this.options.project(raw);
      return value === undefined ? undefined : { version, value };
    } catch (error) {
      // One object that makes no sense must not keep the others out.
      this.deps.logger.error(
        { ...this.labels, object: keyOf(raw), error: messageOf(error) },
        'left an object out of the watch cache that could not be read',
      );
      return undefined;
    }
  }

  private failed(state: ReflectorState, failure: CodedError): ReflectorState {
    // A server that could not be reached has refused nothing yet: after an outage "too old" (410) is listed anew at once.
    const answers = isUnreachable(this.failure) && !isUnreachable(failure);
    this.failure = failure;
    this.deps.metrics?.failures.inc(this.labels);
    const reason = failure.metadata['reason'];
    const next = afterInput(answers ? { ...state, failures: 0 } : state, {
      type: 'failed',
      code: failure.code,
      reason: typeof reason === 'string' ? reason : undefined,
    });
    if (next.at === 'empty') this.staged = undefined;
    // The first failure in a row is everyday life (a server restarts, a version expires), but a lack of rights does not
    // pass by itself. Each kind is told once until it is over.
    const lacksRights = failure.code === 'Unauthorized' || failure.code === 'Forbidden';
    const saidByOthers = this.options.isOneOfMany === true && isUnreachable(failure);
    const tell = (next.failures > 1 || lacksRights) && this.told !== failure.code && !saidByOthers;
    if (tell) this.told = failure.code;
    const { namespace, fieldSelector } = this.options;
    this.deps.logger[tell ? 'warn' : 'debug'](
      {
        ...this.labels,
        namespace,
        fieldSelector,
        code: failure.code,
        failures: next.failures,
        state: next.at,
        error: failure.message,
      },
      lacksRights
        ? 'list or watch was refused, is retried and is not told of again until it works'
        : 'list or watch failed, is retried and is not told of again until it works',
    );
    return next;
  }

  private works(): void {
    this.failure = undefined;
    if (this.told === undefined) return;
    this.deps.logger.info({ ...this.labels, after: this.told }, 'list and watch work again');
    this.told = undefined;
  }
}

/** No answer came at all. */
function isUnreachable(failure: CodedError | undefined): boolean {
  return failure?.code === 'Unavailable' && failure.metadata['status'] === undefined;
}
