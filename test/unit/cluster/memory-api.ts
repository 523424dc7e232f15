import { randomUUID } from 'node:crypto';
import type { ApiClient, ListOptions, PatchType, Selection, Target, WatchEvent } from '../../../src/cluster/port.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { type KubeList, type KubeObject, keyOf, type ListMeta } from '../../../src/model/meta.ts';
import { apiVersionOf, type ResourceType } from '../../../src/model/resource.ts';

type Json = Record<string, unknown>;
type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

interface HistoryEvent {
  readonly plural: string;
  readonly type: EventType;
  readonly version: number;
  readonly object: KubeObject;
}

interface OpenWatch {
  readonly plural: string;
  readonly queue: (HistoryEvent | { bookmark: number } | { error: CodedError } | 'end')[];
  wake: () => void;
}

/** Merge keys of the lists that the strategic patches of these tests touch (core/v1 types.go, patchMergeKey). */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  conditions: 'type',
  addresses: 'type',
  podIPs: 'ip',
  hostIPs: 'ip',
  ownerReferences: 'uid',
};

/**
 * An API server's state and manners in memory: versions, conflicts, watches with a bounded history, paged lists from a
 * snapshot, preconditions, status as a subresource, grace. Every answer is a copy.
 */
export class MemoryApi implements ApiClient {
  /** Runs before each request and may throw: how a test injects faults. */
  onRequest: (request: { verb: string; type: ResourceType; target: Target; body?: unknown }) => unknown = () => {};
  now: () => number = Date.now;
  version = 100;
  private readonly objects = new Map<string, Map<string, KubeObject>>();
  private history: HistoryEvent[] = [];
  private compactedTo = 0;
  private readonly pages = new Map<string, { items: KubeObject[]; version: number }>();
  private readonly watches = new Set<OpenWatch>();

  get openWatches(): number {
    return this.watches.size;
  }

  // ── the server's side ──

  all<T extends KubeObject>(type: ResourceType): T[] {
    return [...this.table(type).values()].map((object) => structuredClone(object) as T);
  }

  find<T extends KubeObject>(type: ResourceType, key: string): T | undefined {
    const object = this.table(type).get(key);
    return object === undefined ? undefined : (structuredClone(object) as T);
  }

  /** Creates or replaces, as some other client would. */
  put<T extends KubeObject>(type: ResourceType, object: T): T {
    const key = keyOf(object);
    const previous = this.table(type).get(key);
    const stored: KubeObject = {
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      ...structuredClone(object),
      metadata: {
        ...structuredClone(object.metadata),
        uid: object.metadata.uid ?? previous?.metadata.uid ?? randomUUID(),
        creationTimestamp: previous?.metadata.creationTimestamp ?? this.time(),
      },
    };
    return this.store(type, key, stored, previous === undefined ? 'ADDED' : 'MODIFIED') as T;
  }

  remove(type: ResourceType, key: string): void {
    const object = this.table(type).get(key);
    if (object === undefined) return;
    this.table(type).delete(key);
    this.record(
      type,
      { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } },
      'DELETED',
    );
  }

  /** Forgets history: watches from before and unfinished lists get 410. */
  compact(): void {
    this.history = [];
    this.compactedTo = this.version;
    this.pages.clear();
  }

  dropWatches(error?: CodedError): void {
    for (const watch of this.watches) {
      watch.queue.push(error === undefined ? 'end' : { error });
      watch.wake();
    }
  }

  bookmark(): void {
    for (const watch of this.watches) {
      watch.queue.push({ bookmark: this.version });
      watch.wake();
    }
  }

  // ── ApiClient ──

  async get<T extends KubeObject>(type: ResourceType, target: Target): Promise<T> {
    await this.onRequest({ verb: 'get', type, target });
    return structuredClone(this.must(type, target)) as T;
  }

  async list<T extends KubeObject>(
    type: ResourceType,
    options: Selection & { namespace?: string; limit?: number; continue?: string },
  ): Promise<KubeList<T>> {
    await this.onRequest({ verb: 'list', type, target: { namespace: options.namespace } });
    let source: { items: KubeObject[]; version: number } | undefined;
    if (options.continue === undefined) {
      const items = [...this.table(type).values()].filter((object) => selects(options, object));
      items.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
      source = { items, version: this.version };
    } else {
      source = this.pages.get(options.continue);
      if (source === undefined) throw failure('Gone', 410, 'Expired', 'the continue token is too old');
      this.pages.delete(options.continue);
    }
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    const items = source.items.slice(0, limit).map((object) => structuredClone(object) as T);
    const rest = source.items.slice(limit);
    const metadata: { resourceVersion: string; continue?: string } = { resourceVersion: String(source.version) };
    if (rest.length > 0) {
      metadata.continue = randomUUID();
      this.pages.set(metadata.continue, { items: rest, version: source.version });
    }
    return { apiVersion: apiVersionOf(type), kind: `${type.kind}List`, metadata, items };
  }

  async listEach<T extends KubeObject>(
    type: ResourceType,
    options: ListOptions,
    onItem: (item: T) => void,
  ): Promise<ListMeta> {
    const page = await this.list<T>(type, options);
    for (const item of page.items) onItem(item);
    return page.metadata;
  }

  async create<T extends KubeObject>(type: ResourceType, target: Target, object: unknown): Promise<T> {
    await this.onRequest({ verb: 'create', type, target, body: object });
    if (target.subresource === 'token') return this.token(type, target, object) as unknown as T;
    const body = structuredClone(object) as KubeObject;
    const { namespace = target.namespace, name } = body.metadata;
    if (name === undefined) throw failure('InvalidObject', 422, 'Invalid', 'metadata.name: Required value');
    if (type.namespaced && namespace === undefined) {
      throw failure('InvalidObject', 400, 'BadRequest', 'a namespace is required');
    }
    const key = keyOf({ metadata: { ...(namespace === undefined ? {} : { namespace }), name } });
    if (this.table(type).has(key)) {
      throw failure('AlreadyExists', 409, 'AlreadyExists', `${type.plural} "${name}" already exists`);
    }
    return this.put(type, {
      ...body,
      metadata: { ...body.metadata, ...(namespace === undefined ? {} : { namespace }) },
    }) as T;
  }

  async update<T extends KubeObject>(type: ResourceType, target: Target, object: T): Promise<T> {
    await this.onRequest({ verb: 'update', type, target, body: object });
    const current = this.must(type, target);
    const { resourceVersion } = object.metadata;
    if (resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion) {
      throw failure('Conflict', 409, 'Conflict', 'the object has been modified');
    }
    return this.store(type, keyOf(current), { ...structuredClone(object) }, 'MODIFIED') as T;
  }

  async patch<T extends KubeObject>(
    type: ResourceType,
    target: Target,
    patch: unknown,
    patchType: PatchType,
  ): Promise<T> {
    await this.onRequest({ verb: 'patch', type, target, body: patch });
    if (patchType !== 'merge' && patchType !== 'strategic') {
      throw failure('Unimplemented', 415, 'UnsupportedMediaType', `${patchType} patches are not in this fake`);
    }
    const current = this.must(type, target);
    const asked = structuredClone(patch) as Json & { metadata?: Json };
    for (const field of ['uid', 'resourceVersion'] as const) {
      const wanted = asked.metadata?.[field];
      if (wanted !== undefined && wanted !== current.metadata[field]) {
        throw failure('Conflict', 409, 'Conflict', `precondition failed: ${field} in the patch is ${String(wanted)}`);
      }
    }
    const merged = merge(current as unknown as Json, asked, patchType === 'strategic') as unknown as KubeObject & Json;
    const status = (current as unknown as Json)['status'];
    const result: KubeObject & Json =
      target.subresource === 'status'
        ? { ...(current as KubeObject & Json), metadata: merged.metadata, status: merged['status'] }
        : type.plural === 'pods' || type.plural === 'nodes'
          ? { ...merged, ...(status === undefined ? {} : { status }) }
          : merged;
    result.metadata = {
      ...result.metadata,
      ...(current.metadata.uid === undefined ? {} : { uid: current.metadata.uid }),
    };
    // Like etcd3's store: a write that changes nothing makes no version and no event.
    if (JSON.stringify(result) === JSON.stringify(current)) return structuredClone(current) as T;
    return this.store(type, keyOf(current), result, 'MODIFIED') as T;
  }

  async delete(
    type: ResourceType,
    target: Target,
    options: { gracePeriodSeconds?: number; uid?: string } = {},
  ): Promise<void> {
    await this.onRequest({ verb: 'delete', type, target, body: options });
    const current = this.must(type, target);
    if (options.uid !== undefined && options.uid !== current.metadata.uid) {
      throw failure('Conflict', 409, 'Conflict', `precondition failed: UID ${options.uid}`);
    }
    if (type.plural === 'pods' && options.gracePeriodSeconds !== 0) {
      const metadata = { ...current.metadata, deletionTimestamp: this.time() };
      this.store(type, keyOf(current), { ...current, metadata }, 'MODIFIED');
    } else this.remove(type, keyOf(current));
  }

  async *watch<T extends KubeObject>(
    type: ResourceType,
    options: Selection & { namespace?: string; resourceVersion: string },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    await this.onRequest({ verb: 'watch', type, target: { namespace: options.namespace } });
    const since = Number(options.resourceVersion);
    if (since < this.compactedTo) throw failure('Gone', 410, 'Expired', `too old resource version: ${since}`);
    const watch: OpenWatch = {
      plural: type.plural,
      queue: this.history.filter((event) => event.plural === type.plural && event.version > since),
      wake: () => {},
    };
    const onAbort = (): void => watch.wake();
    signal.addEventListener('abort', onAbort);
    this.watches.add(watch);
    try {
      while (!signal.aborted) {
        const next = watch.queue.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            watch.wake = resolve;
          });
        } else if (next === 'end') return;
        else if ('error' in next) throw next.error;
        else if ('bookmark' in next) yield { type: 'BOOKMARK', resourceVersion: String(next.bookmark) };
        else if (selects(options, next.object)) yield { type: next.type, object: structuredClone(next.object) as T };
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.watches.delete(watch);
    }
  }

  close(): void {
    this.dropWatches();
  }

  private token(type: ResourceType, target: Target, body: unknown): Json {
    const account = this.must(type, { namespace: target.namespace, name: target.name });
    const { spec } = body as { spec: { audiences?: string[]; expirationSeconds?: number } };
    const seconds = spec.expirationSeconds ?? 3600;
    if (seconds < 600)
      throw failure('InvalidObject', 422, 'Invalid', 'may not specify a duration less than 10 minutes');
    const expires = this.now() + seconds * 1000;
    return {
      kind: 'TokenRequest',
      metadata: {},
      spec,
      status: {
        token: `${account.metadata.name}.${++this.version}`,
        expirationTimestamp: new Date(expires).toISOString().replace(/\.\d+Z/, 'Z'),
      },
    };
  }

  private must(type: ResourceType, target: Target): KubeObject {
    const key = keyOf({
      metadata: {
        ...(target.namespace === undefined ? {} : { namespace: target.namespace }),
        name: target.name ?? '',
      },
    });
    const object = this.table(type).get(key);
    if (object === undefined) throw failure('NotFound', 404, 'NotFound', `${type.plural} "${target.name}" not found`);
    return object;
  }

  private store(type: ResourceType, key: string, object: KubeObject, event: EventType): KubeObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } };
    this.table(type).set(key, stored);
    this.record(type, stored, event);
    return structuredClone(stored);
  }

  private record(type: ResourceType, object: KubeObject, event: EventType): void {
    const entry: HistoryEvent = { plural: type.plural, type: event, version: this.version, object };
    this.history.push(entry);
    for (const watch of this.watches) {
      if (watch.plural !== type.plural) continue;
      watch.queue.push(entry);
      watch.wake();
    }
  }

  private table(type: ResourceType): Map<string, KubeObject> {
    let table = this.objects.get(type.plural);
    if (table === undefined) {
      table = new Map();
      this.objects.set(type.plural, table);
    }
    return table;
  }

  private time(): string {
    return new Date(this.now()).toISOString().replace(/\.\d+Z/, 'Z');
  }
}

export function failure(
  code: CodedError['code'],
  status: number,
  reason: string,
  message: string,
  retryAfterMs?: number,
): CodedError {
  return new CodedError(code, message, { status, reason, retryAfterMs });
}

function selects(selection: Selection & { namespace?: string }, object: KubeObject): boolean {
  if (selection.namespace !== undefined && object.metadata.namespace !== selection.namespace) return false;
  for (const term of selection.fieldSelector?.split(',') ?? []) {
    const [path = '', value] = term.split('=');
    const found = path.split('.').reduce<unknown>((at, part) => (at as Json | undefined)?.[part], object);
    if (found !== value) return false;
  }
  for (const term of selection.labelSelector?.split(',') ?? []) {
    if (term.startsWith('!')) {
      if (object.metadata.labels?.[term.slice(1)] !== undefined) return false;
    } else {
      const [label = '', value] = term.split('=');
      if (object.metadata.labels?.[label] !== value) return false;
    }
  }
  return true;
}

function merge(into: Json, patch: Json, strategic: boolean): Json {
  const result: Json = strategic && patch['$patch'] === 'replace' ? {} : { ...into };
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue;
    const mergeKey = MERGE_KEYS[key];
    if (value === null) delete result[key];
    else if (strategic && mergeKey !== undefined && Array.isArray(value)) {
      result[key] = mergeLists((result[key] ?? []) as Json[], value as Json[], mergeKey);
    } else if (typeof value === 'object' && !Array.isArray(value)) {
      // A directive for what is not there: the real one drops it with all that it came with (removeDirectives).
      if (strategic && result[key] === undefined && '$patch' in (value as Json)) continue;
      result[key] = merge((result[key] ?? {}) as Json, value as Json, strategic);
    } else result[key] = value;
  }
  return result;
}

function mergeLists(current: Json[], patch: Json[], mergeKey: string): Json[] {
  const replace = patch.some((item) => item['$patch'] === 'replace');
  const result = replace ? [] : [...current];
  for (const item of patch) {
    if (item['$patch'] === 'replace') continue;
    const at = result.findIndex((candidate) => candidate[mergeKey] === item[mergeKey]);
    if (item['$patch'] === 'delete') {
      if (at !== -1) result.splice(at, 1);
    } else if (at === -1) result.push(merge({}, item, true));
    else result[at] = merge(result[at] ?? {}, item, true);
  }
  return result;
}
