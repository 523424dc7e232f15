import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../../kit/clock.ts';
import { drained } from '../../kit/drained.ts';
import type { ApiStatus, KubeObject } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType } from '../../model/resource.ts';
import type { StoredEvent } from '../port.ts';
import type { WalStore } from '../store/wal-store.ts';
import { type Encoding, encodeObject } from './encode-object.ts';
import { expired, statusOf } from './status-error.ts';

export interface WatchRequest {
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly matches: ((object: KubeObject) => boolean) | undefined;
  readonly encoding: Encoding;
  /** Changes after this version; undefined: first what is there now. */
  readonly since: number | undefined;
  readonly bookmarks: boolean;
  /** sendInitialEvents: a bookmark says where the initial objects end. */
  readonly markInitialEnd: boolean;
  readonly timeoutMs: number;
}

/** What the test suite may do to a watch (see Faults). */
export interface WatchFaults {
  onEvent(watch: {
    readonly type: ResourceType;
    readonly namespace: string | undefined;
  }): 'deliver' | 'drop' | 'tear' | 'gone' | 'withhold';
}

export interface WatchHubDeps {
  readonly store: WalStore;
  readonly clock: Clock;
  readonly faults?: WatchFaults | undefined;
}

interface Watcher {
  readonly request: WatchRequest;
  readonly response: ServerResponse;
  /** Everything up to this version was sent or did not concern it. */
  cursor: number;
  /** False while it catches up: it then reads from the history instead of being told. */
  live: boolean;
  headersSent: boolean;
  readonly endsAt: number;
  bookmarkAt: number;
  /** Since when its connection has taken nothing; it is cut off after a while. */
  stalledSince: number | undefined;
}

const TICK_MS = 1_000;
const BOOKMARK_MS = 60_000;
const STALL_MS = 30_000;
const INITIAL_CHUNK = 64;
// An annotation of the bookmark that ends the initial objects (KEP-3157).
const INITIAL_END = 'k8s.io/initial-events-end';

type Kind = 'ADDED' | 'MODIFIED' | 'DELETED';

/**
 * All open watches. Each change is encoded once for all of them and written at once. A watch whose connection does not
 * keep up is not buffered for: it reads on from the store's history when its connection takes more, and ends with 410
 * when the history no longer reaches back to where it stands. One timer serves them all.
 */
export class WatchHub {
  private readonly deps: WatchHubDeps;
  private readonly watchers = new Map<string, Set<Watcher>>();
  private readonly unsubscribe: () => void;
  private timer: Timer | undefined;
  private closed = false;
  /** Texts of the change that is being told, by what they show of it. */
  private texts = new Map<string, string>();
  private told: StoredEvent | undefined;

  constructor(deps: WatchHubDeps) {
    this.deps = deps;
    this.unsubscribe = deps.store.subscribe((event) => this.tell(event));
  }

  get size(): number {
    let size = 0;
    for (const set of this.watchers.values()) size += set.size;
    return size;
  }

  /** Answers a watch request; resolves when the watch runs (or has ended). */
  async open(request: WatchRequest, response: ServerResponse): Promise<void> {
    const { store, clock } = this.deps;
    const now = clock.monotonic();
    response.writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'no-cache, private',
      'transfer-encoding': 'chunked',
    });
    response.flushHeaders();
    const watcher: Watcher = {
      request,
      response,
      cursor: request.since ?? 0,
      live: false,
      headersSent: false,
      endsAt: now + request.timeoutMs,
      bookmarkAt: now + BOOKMARK_MS,
      stalledSince: undefined,
    };
    const key = keyOfType(request.type);
    const set = this.watchers.get(key) ?? new Set();
    this.watchers.set(key, set.add(watcher));
    response.on('close', () => this.drop(watcher));
    if (this.closed) {
      response.end();
      return;
    }
    this.timer ??= clock.after(TICK_MS, () => this.tick());
    try {
      if (request.since === undefined) {
        const { objects, version } = await store.durably(() => ({
          objects: store.list(request.type, request.namespace),
          version: store.resourceVersion,
        }));
        watcher.cursor = version;
        await this.sendInitial(watcher, objects);
      }
      await this.catchUp(watcher);
    } catch {
      // The client is gone, and its watcher with it.
      response.destroy();
    }
  }

  /** Ends the watches that `which` picks: politely, in the middle of a line, or with 410. For faults and shutdown. */
  end(how: 'close' | 'drop' | 'tear' | 'gone', which: (request: WatchRequest) => boolean = () => true): number {
    let count = 0;
    for (const set of this.watchers.values()) {
      for (const watcher of [...set]) {
        if (!which(watcher.request)) continue;
        this.endOne(watcher, how);
        count++;
      }
    }
    return count;
  }

  close(): void {
    this.closed = true;
    this.unsubscribe();
    this.timer?.cancel();
    this.end('close');
  }

  private endOne(watcher: Watcher, how: 'close' | 'drop' | 'tear' | 'gone'): void {
    const { response } = watcher;
    this.drop(watcher);
    if (how === 'gone') this.sendGone(watcher);
    else if (how === 'close') response.end();
    else if (how === 'drop') response.destroy();
    else response.write('{"type":"MODIFIED","object":{"kind":"', () => response.destroy());
  }

  private drop(watcher: Watcher): void {
    watcher.live = false;
    this.watchers.get(keyOfType(watcher.request.type))?.delete(watcher);
  }

  private isOpen(watcher: Watcher): boolean {
    return this.watchers.get(keyOfType(watcher.request.type))?.has(watcher) ?? false;
  }

  private tell(event: StoredEvent): void {
    const set = this.watchers.get(keyOfType(event.resource));
    if (set === undefined) return;
    for (const watcher of set) {
      if (!watcher.live || event.resourceVersion <= watcher.cursor) continue;
      if (!this.deliver(watcher, event)) {
        watcher.live = false;
        void this.resume(watcher);
      }
    }
  }

  /** False when the connection takes no more for now. */
  private deliver(watcher: Watcher, event: StoredEvent): boolean {
    const { request, response } = watcher;
    watcher.cursor = event.resourceVersion;
    const seen = transition(request, event);
    if (seen === undefined) return true;
    const fault = this.deps.faults?.onEvent(request) ?? 'deliver';
    if (fault === 'withhold') return true;
    if (fault !== 'deliver') {
      this.endOne(watcher, fault);
      return true;
    }
    return response.write(this.textOf(watcher, event, seen));
  }

  private textOf(watcher: Watcher, event: StoredEvent, kind: Kind): string {
    const { type, encoding } = watcher.request;
    if (this.told !== event) {
      this.told = event;
      this.texts = new Map();
    }
    const headers = !watcher.headersSent;
    watcher.headersSent = true;
    const key = `${kind} ${encoding.as} ${encoding.include} ${headers}`;
    const known = this.texts.get(key);
    if (known !== undefined) return known;
    let object = event.object;
    if (kind === 'DELETED' && event.type === 'MODIFIED' && event.previous !== undefined) {
      // It left the selection: the watcher gets what it knew, at the version of the change.
      const metadata = { ...event.previous.metadata, resourceVersion: String(event.resourceVersion) };
      object = { ...event.previous, metadata };
    }
    const text = `{"type":"${kind}","object":${encodeObject(type, object, encoding, this.deps.clock.now(), headers)}}\n`;
    this.texts.set(key, text);
    return text;
  }

  private async sendInitial(watcher: Watcher, objects: readonly KubeObject[]): Promise<void> {
    const { request } = watcher;
    const { type, encoding, matches } = request;
    const now = this.deps.clock.now();
    let text = '';
    let count = 0;
    for (const object of objects) {
      if (matches !== undefined && !matches(object)) continue;
      const headers = !watcher.headersSent;
      watcher.headersSent = true;
      text += `{"type":"ADDED","object":${encodeObject(type, object, encoding, now, headers)}}\n`;
      if (++count % INITIAL_CHUNK !== 0) continue;
      await this.send(watcher, text);
      text = '';
    }
    if (text !== '') await this.send(watcher, text);
    if (request.markInitialEnd) await this.send(watcher, bookmark(type, watcher.cursor, { [INITIAL_END]: 'true' }));
  }

  private async send(watcher: Watcher, text: string): Promise<void> {
    if (watcher.response.write(text)) {
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    watcher.stalledSince ??= this.deps.clock.monotonic();
    await drained(watcher.response);
    watcher.stalledSince = undefined;
  }

  private async resume(watcher: Watcher): Promise<void> {
    watcher.stalledSince = this.deps.clock.monotonic();
    try {
      await drained(watcher.response);
      watcher.stalledSince = undefined;
      await this.catchUp(watcher);
    } catch {
      this.drop(watcher);
    }
  }

  /** Sends what the history holds from where the watcher stands; then it is told of changes as they come. */
  private async catchUp(watcher: Watcher): Promise<void> {
    while (this.isOpen(watcher)) {
      const events = this.deps.store.eventsSince(watcher.cursor);
      if (events === undefined) {
        this.drop(watcher);
        this.sendGone(watcher);
        return;
      }
      let full = false;
      for (const event of events) {
        if (!this.isOpen(watcher)) return;
        if (!isOf(watcher.request, event)) {
          watcher.cursor = event.resourceVersion;
          continue;
        }
        if (this.deliver(watcher, event)) continue;
        full = true;
        break;
      }
      if (!full) {
        watcher.live = true;
        return;
      }
      watcher.stalledSince = this.deps.clock.monotonic();
      await drained(watcher.response);
      watcher.stalledSince = undefined;
    }
  }

  private sendGone(watcher: Watcher): void {
    const message = `too old resource version: ${watcher.cursor} (${this.deps.store.resourceVersion})`;
    const status: ApiStatus = statusOf(expired(message));
    watcher.response.end(`{"type":"ERROR","object":${JSON.stringify(status)}}\n`);
  }

  private tick(): void {
    const now = this.deps.clock.monotonic();
    // Everything up to here was told to the live watchers.
    const version = this.deps.store.committedVersion;
    for (const set of this.watchers.values()) {
      for (const watcher of [...set]) this.tickOne(watcher, now, version);
    }
    this.timer = this.size === 0 || this.closed ? undefined : this.deps.clock.after(TICK_MS, () => this.tick());
  }

  private tickOne(watcher: Watcher, now: number, version: number): void {
    const { request, response } = watcher;
    if (watcher.stalledSince !== undefined && now - watcher.stalledSince > STALL_MS) {
      this.endOne(watcher, 'drop');
      return;
    }
    if (!watcher.live) return;
    const ends = now >= watcher.endsAt;
    if (request.bookmarks && (ends || now >= watcher.bookmarkAt)) {
      watcher.bookmarkAt = now + BOOKMARK_MS;
      watcher.cursor = Math.max(watcher.cursor, version);
      const text = bookmark(request.type, watcher.cursor, undefined);
      if (!response.write(text) && !ends) {
        watcher.live = false;
        void this.resume(watcher);
      }
    }
    if (ends) this.endOne(watcher, 'close');
  }
}

/** What a change means to a watch that selects: objects come and go as they begin and cease to match. */
function transition(request: WatchRequest, event: StoredEvent): Kind | undefined {
  if (!isOf(request, event)) return undefined;
  const { matches } = request;
  if (matches === undefined) return event.type;
  const before = event.previous !== undefined && matches(event.previous);
  const after = event.type !== 'DELETED' && matches(event.object);
  if (before) return after ? 'MODIFIED' : 'DELETED';
  return after ? 'ADDED' : undefined;
}

function isOf(request: WatchRequest, { resource, object }: StoredEvent): boolean {
  if (resource.plural !== request.type.plural || resource.group !== request.type.group) return false;
  return request.namespace === undefined || object.metadata.namespace === request.namespace;
}

function keyOfType(type: ResourceType): string {
  return `${type.group}/${type.plural}`;
}

function bookmark(type: ResourceType, version: number, annotations: Record<string, string> | undefined): string {
  const object = {
    kind: type.kind,
    apiVersion: apiVersionOf(type),
    metadata: {
      resourceVersion: String(version),
      creationTimestamp: null,
      ...(annotations === undefined ? {} : { annotations }),
    },
  };
  return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
}
