import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../../kit/clock.ts';
import { Emitter } from '../../kit/emitter.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject, ObjectMeta } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType, resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Store, StoredEvent } from '../port.ts';
import { adopt } from './adopt.ts';
import { EventHistory } from './event-history.ts';
import { cutPage, type Page, rewind } from './list-page.ts';
import { countsGeneration, nextGeneration, ownFields } from './object-metadata.ts';
import { type Entry, ObjectTable } from './object-table.ts';
import { quarantine, refuseQuarantined } from './quarantine.ts';
import { CorruptWal, readWal, WAL_HEADER } from './read-wal.ts';
import { diskStorage, type Storage } from './storage.ts';
import { StoreLock } from './store-lock.ts';
import { WalFile } from './wal-file.ts';
import { encodeRecord, type WalRecord } from './wal-record.ts';

export interface WalStoreOptions {
  /** The write-ahead file; its folder is made when missing. */
  readonly path: string;
  readonly types?: readonly ResourceType[];
  /** How many changes are kept for watches that resume. Default 1024. */
  readonly historySize?: number;
  /** The file is rewritten when this many bytes, and more than the live objects take, are garbage. Default 4 MiB. */
  readonly compactAtBytes?: number;
}

export interface WalStoreDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly storage?: Storage;
}

/** A change that is in memory but not yet known to be on disk. */
interface Pending {
  readonly event: StoredEvent;
  readonly key: string;
  readonly table: ObjectTable;
  readonly before: Entry | undefined;
  readonly record: WalRecord;
  bytes: Buffer;
  readonly sync: boolean;
  resolve(object: KubeObject): void;
  reject(error: unknown): void;
}

// Skipped after an unclean stop; more than could have been written unsynced within LAZY_SYNC_MS.
const VERSION_GAP = 10_000;
/** Events and Leases are acknowledged when they are written and synced at the latest after this time. */
const LAZY_SYNC_MS = 1_000;
// Small enough that telling the watchers of one batch does not hold up the event loop.
const MAX_BATCH_BYTES = 512 * 1024;
const MAX_BATCH = 256;
const REPAIR_RETRY_MS = 1_000;
const COMPACTION_CHUNK = 200;

const LAZY_KINDS: ReadonlySet<string> = new Set(['Event', 'Lease']);

/**
 * The embedded API's objects: in memory once, frozen, and in one write-ahead file of checksummed lines.
 *
 * A change is visible to readers at once and acknowledged when it is on disk; all changes that arrive during one fsync
 * share the next. When a write fails (a full disk), the changes of that batch and those built on them are undone in
 * memory, their writers get Unavailable, and the next write tries again. Events and Leases are acknowledged when written,
 * and synced with the next batch or within a second: a crash of the process loses none, a power failure that second.
 */
export class WalStore implements Store {
  private readonly options: Required<WalStoreOptions>;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly storage: Storage;
  private readonly lock: StoreLock;
  private readonly tables = new Map<string, ObjectTable>();
  private readonly typesByKey = new Map<string, ResourceType>();
  private readonly history: EventHistory;
  private readonly emitter: Emitter<StoredEvent>;
  private file: WalFile;
  private version = 0;
  private liveBytes = 0;
  private compactBeyond = 0;
  private queue: Pending[] = [];
  private inFlight: Pending[] = [];
  private waiters: { readonly version: number; readonly wake: () => void }[] = [];
  /** Everything up to this version is on disk, or undone. */
  private committed = 0;
  private failures = 0;
  private flushing: Promise<void> | undefined;
  private unsynced = false;
  private syncDue = false;
  private lazyTimer: Timer | undefined;
  private repairTimer: Timer | undefined;
  private compaction: Promise<void> | undefined;
  private compacted: WalFile | undefined;
  private tail: Buffer[] | undefined;
  private closed = false;

  private constructor(
    options: Required<WalStoreOptions>,
    deps: Required<WalStoreDeps>,
    lock: StoreLock,
    file: WalFile,
  ) {
    this.options = options;
    this.clock = deps.clock;
    this.log = deps.log;
    this.storage = deps.storage;
    this.lock = lock;
    this.file = file;
    this.history = new EventHistory(options.historySize);
    this.emitter = new Emitter<StoredEvent>((error) =>
      deps.log.error({ error: messageOf(error) }, 'a listener of the store failed'),
    );
    for (const type of options.types) {
      this.tables.set(typeKey(type), new ObjectTable());
      this.typesByKey.set(typeKey(type), type);
    }
  }

  /**
   * Reads the file (or makes it). A torn tail is cut off with a log line. Throws InvalidObject when durable records are
   * damaged, after setting the file aside as PATH.corrupt, and as long as that is there; Unavailable when another
   * process has the store open.
   */
  static async open(options: WalStoreOptions, deps: WalStoreDeps): Promise<WalStore> {
    const full: Required<WalStoreOptions> = {
      types: Object.values(resources),
      historySize: 1024,
      compactAtBytes: 4 * 1024 * 1024,
      ...options,
    };
    const storage = deps.storage ?? diskStorage;
    await mkdir(dirname(full.path), { recursive: true, mode: 0o700 });
    const lock = await StoreLock.take(`${full.path}.lock`);
    try {
      await refuseQuarantined(full.path);
      const handle = await storage.open(full.path, constants.O_RDWR | constants.O_CREAT, 0o600);
      await storage.remove(`${full.path}.new`);
      const store = new WalStore(full, { ...deps, storage }, lock, new WalFile(full.path, handle, 0, 0));
      try {
        await store.load(handle);
      } catch (error) {
        await handle.close();
        if (error instanceof CorruptWal) await quarantine(storage, full.path, error, deps.log);
        throw error;
      }
      return store;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get resourceVersion(): number {
    return this.version;
  }

  /** False from a failed fsync until the file is rewritten: writers are refused. */
  get writable(): boolean {
    return !this.closed && this.file.broken === undefined;
  }

  /** Everything up to this version was told to subscribers (or undone). */
  get committedVersion(): number {
    return this.committed;
  }

  /** Bytes of the write-ahead file, and those of them that hold current objects. */
  get size(): { readonly fileBytes: number; readonly liveBytes: number } {
    return { fileBytes: this.file.position, liveBytes: this.liveBytes };
  }

  get(type: ResourceType, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.tableOf(type).get(keyIn(type, namespace, name))?.object;
  }

  list(type: ResourceType, namespace?: string): KubeObject[] {
    return this.tableOf(type)
      .range(namespace)
      .map((entry) => entry.object);
  }

  /**
   * A page of the objects as they were at `version`, after the key `after`. Undefined when the history does not reach
   * back that far (410). `matches` filters; the limit counts what is left.
   */
  page(
    type: ResourceType,
    query: {
      readonly namespace?: string | undefined;
      readonly after?: string | undefined;
      readonly limit?: number | undefined;
      readonly version: number;
      readonly matches?: ((object: KubeObject) => boolean) | undefined;
    },
  ): Page | undefined {
    const { namespace, after, limit = Number.POSITIVE_INFINITY, version, matches } = query;
    const since = version >= this.version ? [] : this.changesAfter(version);
    if (since === undefined) return undefined;
    const rows = rewind(this.tableOf(type).range(namespace, after), since, type, namespace, after);
    return cutPage(rows, matches, limit);
  }

  create(type: ResourceType, object: KubeObject): Promise<KubeObject> {
    return attempt(() => {
      const key = keyOfObject(type, object);
      const table = this.tableOf(type);
      if (table.get(key) !== undefined) {
        throw new CodedError('AlreadyExists', `${type.plural} "${object.metadata.name}" already exists`, {
          kind: type.kind,
          key,
        });
      }
      const {
        uid: _uid,
        creationTimestamp: _created,
        resourceVersion: _version,
        generation: _,
        ...rest
      } = object.metadata;
      const version = this.version + 1;
      const metadata: ObjectMeta = {
        ...rest,
        uid: randomUUID(),
        resourceVersion: String(version),
        creationTimestamp: rfc3339(this.clock.now()),
      };
      if (countsGeneration(type.kind)) metadata.generation = 1;
      const stored = adopt<KubeObject>({ ...object, apiVersion: apiVersionOf(type), kind: type.kind, metadata });
      return this.change('ADDED', type, key, stored, undefined);
    });
  }

  update(type: ResourceType, object: KubeObject): Promise<KubeObject> {
    return attempt(() => {
      const key = keyOfObject(type, object);
      const previous = this.tableOf(type).get(key);
      if (previous === undefined) throw notFound(type, key, object.metadata.name);
      const current = previous.object;
      const wanted = object.metadata.resourceVersion;
      if (wanted !== undefined && wanted !== '' && wanted !== current.metadata.resourceVersion) {
        throw new CodedError(
          'Conflict',
          `Operation cannot be fulfilled on ${type.plural} "${object.metadata.name}": the object has been modified; please apply your changes to the latest version and try again`,
          { kind: type.kind, key, wanted, current: current.metadata.resourceVersion },
        );
      }
      const { uid } = object.metadata;
      if (uid !== undefined && uid !== '' && uid !== current.metadata.uid) {
        throw new CodedError(
          'Conflict',
          `Operation cannot be fulfilled on ${type.plural} "${object.metadata.name}": Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid}`,
          { kind: type.kind, key },
        );
      }
      const metadata: ObjectMeta = {
        ...object.metadata,
        ...ownFields(current.metadata),
      };
      if (current.metadata.generation === undefined) delete metadata.generation;
      const candidate = { ...object, apiVersion: apiVersionOf(type), kind: type.kind, metadata };
      const adopted = adopt<KubeObject>(candidate, current);
      if (adopted === current) return this.unchanged(previous, key);
      const version = this.version + 1;
      const generation = nextGeneration(current, adopted);
      const stored = adopt<KubeObject>(
        {
          ...adopted,
          metadata: {
            ...adopted.metadata,
            resourceVersion: String(version),
            ...(generation === undefined ? {} : { generation }),
          },
        },
        current,
      );
      return this.change('MODIFIED', type, key, stored, previous);
    });
  }

  remove(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject> {
    return attempt(() => {
      const key = keyIn(type, namespace, name);
      const previous = this.tableOf(type).get(key);
      if (previous === undefined) throw notFound(type, key, name);
      const last = previous.object;
      const gone = adopt<KubeObject>(
        { ...last, metadata: { ...last.metadata, resourceVersion: String(this.version + 1) } },
        last,
      );
      return this.change('DELETED', type, key, gone, previous);
    });
  }

  subscribe(listener: (event: StoredEvent) => void): () => void {
    return this.emitter.subscribe(listener);
  }

  eventsSince(since: number): StoredEvent[] | undefined {
    return since > this.version ? undefined : this.history.after(since);
  }

  /** Makes every earlier version "too old", as the compaction of etcd does. For tests of 410. */
  forgetHistory(): void {
    this.history.forget(this.version);
  }

  /** Runs `read` and hands its result out once everything that it saw is on disk. */
  async durably<T>(read: () => T): Promise<T> {
    for (;;) {
      const failures = this.failures;
      const result = read();
      await this.settled();
      // What was read had to be undone: read what is there now.
      if (this.failures === failures) return result;
    }
  }

  /** Resolves when everything that readers see now is on disk, or undone. */
  private settled(): Promise<void> {
    const { version } = this;
    if (version <= this.committed) return Promise.resolve();
    return new Promise((wake) => this.waiters.push({ version, wake }));
  }

  /** Waits for the writers, syncs, and marks a clean stop. Later writes are refused. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.lazyTimer?.cancel();
    this.repairTimer?.cancel();
    try {
      while (this.flushing !== undefined) await this.flushing;
      await this.compaction;
      while (this.flushing !== undefined) await this.flushing;
      if (this.file.broken === undefined) {
        const mark: WalRecord = { op: 'mark', version: this.version, mark: 'closed' };
        await this.file.append([encodeRecord(mark, this.file.durable)], true).catch((error: unknown) => {
          this.log.warn({ error: messageOf(error) }, 'the store could not mark its clean stop');
        });
      }
    } finally {
      await this.file.close();
      await this.lock.release();
    }
  }

  private tableOf(type: ResourceType): ObjectTable {
    const table = this.tables.get(typeKey(type));
    if (table === undefined) {
      throw new CodedError('NotFound', `the store holds no ${type.plural}.${type.group}`, { plural: type.plural });
    }
    return table;
  }

  private change(
    kind: StoredEvent['type'],
    type: ResourceType,
    key: string,
    object: KubeObject,
    before: Entry | undefined,
  ): Promise<KubeObject> {
    if (this.closed) throw new CodedError('Unavailable', `write ${type.kind} ${key}: the store is closed`);
    if (this.file.broken !== undefined) {
      throw this.writeError(this.file.broken);
    }
    const version = this.version + 1;
    const record: WalRecord =
      kind === 'DELETED'
        ? { op: 'delete', version, type: typeKey(type), key }
        : { op: 'put', version, type: typeKey(type), object };
    const bytes = encodeRecord(record, this.file.durable);
    const table = this.tableOf(type);
    this.version = version;
    this.place(table, key, kind === 'DELETED' ? undefined : { key, object, bytes: bytes.length });
    const event: StoredEvent = {
      type: kind,
      resource: type,
      object,
      previous: before?.object,
      resourceVersion: version,
    };
    return new Promise((resolve, reject) => {
      this.queue.push({ event, key, table, before, bytes, record, sync: !LAZY_KINDS.has(type.kind), resolve, reject });
      this.kick();
    });
  }

  /** An update without a difference is acknowledged when what it equals is on disk. */
  private async unchanged(entry: Entry, key: string): Promise<KubeObject> {
    const failures = this.failures;
    await this.settled();
    if (this.failures !== failures) {
      throw new CodedError('Unavailable', `write ${key}: the change that this one relies on could not be written`);
    }
    return entry.object;
  }

  private place(table: ObjectTable, key: string, entry: Entry | undefined): void {
    const replaced = table.set(key, entry);
    this.liveBytes += (entry?.bytes ?? 0) - (replaced?.bytes ?? 0);
  }

  private changesAfter(version: number): StoredEvent[] | undefined {
    const committed = this.history.after(version);
    if (committed === undefined) return undefined;
    const rest: StoredEvent[] = [];
    for (const pending of [...this.inFlight, ...this.queue]) {
      if (pending.event.resourceVersion > version) rest.push(pending.event);
    }
    return rest.length === 0 ? committed : [...committed, ...rest];
  }

  private kick(): void {
    this.flushing ??= this.flush().finally(() => {
      this.flushing = undefined;
      if (this.hasWork()) this.kick();
    });
  }

  private hasWork(): boolean {
    return this.queue.length > 0 || this.syncDue || this.compacted !== undefined;
  }

  private async flush(): Promise<void> {
    // Lets everything that is written in the same turn share the first fsync.
    await Promise.resolve();
    while (this.hasWork()) {
      if (this.compacted !== undefined) await this.switchToCompacted();
      const batch = this.takeBatch();
      const sync = this.syncDue || batch.some((pending) => pending.sync);
      if (batch.length === 0 && !sync) continue;
      try {
        if (batch.length > 0) {
          await this.file.append(
            batch.map((pending) => pending.bytes),
            sync,
          );
        } else {
          await this.file.sync();
        }
      } catch (error) {
        this.syncDue = false;
        this.undo(error);
        continue;
      }
      if (sync) {
        this.unsynced = false;
        this.syncDue = false;
      } else {
        this.syncLater();
      }
      this.commit(batch);
      this.compactIfDue();
    }
  }

  private takeBatch(): Pending[] {
    let bytes = 0;
    let count = 0;
    while (count < this.queue.length && count < MAX_BATCH && bytes < MAX_BATCH_BYTES) {
      bytes += this.queue[count]?.bytes.length ?? 0;
      count++;
    }
    this.inFlight = this.queue.splice(0, count);
    return this.inFlight;
  }

  private commit(batch: readonly Pending[]): void {
    this.inFlight = [];
    if (this.tail !== undefined) for (const pending of batch) this.tail.push(pending.bytes);
    for (const pending of batch) {
      this.history.push(pending.event);
      pending.resolve(pending.event.object);
    }
    for (const pending of batch) this.emitter.emit(pending.event);
    this.settle(batch[batch.length - 1]?.event.resourceVersion ?? this.committed);
  }

  private undo(cause: unknown): void {
    const undone = [...this.inFlight, ...this.queue];
    this.inFlight = [];
    this.queue = [];
    for (const pending of undone.toReversed()) this.place(pending.table, pending.key, pending.before);
    this.failures++;
    const error = this.writeError(cause);
    this.log.error(
      { error: messageOf(cause), changes: undone.length, path: this.options.path },
      'the store cannot write',
    );
    // A snapshot under way may hold what was just undone.
    this.tail = undefined;
    for (const pending of undone) pending.reject(error);
    this.settle(this.version);
    if (this.file.broken !== undefined) this.repair();
  }

  private settle(version: number): void {
    this.committed = version;
    let woken = 0;
    for (const waiter of this.waiters) {
      if (waiter.version > version) break;
      woken++;
      waiter.wake();
    }
    if (woken > 0) this.waiters.splice(0, woken);
  }

  private writeError(cause: unknown): CodedError {
    const code = (cause as NodeJS.ErrnoException | undefined)?.code;
    const why = code === 'ENOSPC' ? 'no space is left on the device; free some and try again' : messageOf(cause);
    return new CodedError(
      'Unavailable',
      `write to ${this.options.path}: ${why}`,
      { path: this.options.path, errno: code },
      cause,
    );
  }

  private syncLater(): void {
    this.unsynced = true;
    this.lazyTimer ??= this.clock.after(LAZY_SYNC_MS, () => {
      this.lazyTimer = undefined;
      if (!this.unsynced || this.closed) return;
      this.syncDue = true;
      this.kick();
    });
  }

  private compactIfDue(): void {
    const garbage = this.file.position - this.liveBytes;
    if (garbage < this.options.compactAtBytes || garbage < this.liveBytes) return;
    if (this.file.position < this.compactBeyond || this.compaction !== undefined || this.closed) return;
    this.startCompaction();
  }

  private startCompaction(): void {
    this.compaction = this.compact()
      .catch((error: unknown) => {
        // Full disks have no room for a second file: go on with this one and try again when it has grown.
        this.compactBeyond = this.file.position + this.options.compactAtBytes;
        this.log.warn({ error: messageOf(error), path: this.options.path }, 'the store could not be compacted');
      })
      .finally(() => {
        this.compaction = undefined;
      });
  }

  /** Writes a snapshot next to the file; what is committed meanwhile is collected in `tail`. */
  private async compact(): Promise<void> {
    const version = this.version;
    const snapshot: [type: string, entries: readonly Entry[]][] = [];
    for (const [type, table] of this.tables) snapshot.push([type, table.range()]);
    const tail: Buffer[] = [];
    this.tail = tail;
    const file = await WalFile.create(this.storage, `${this.options.path}.new`, 0o600);
    try {
      await file.append([Buffer.from(WAL_HEADER)], false);
      for (const [type, entries] of snapshot) {
        for (let at = 0; at < entries.length; at += COMPACTION_CHUNK) {
          const chunk = entries
            .slice(at, at + COMPACTION_CHUNK)
            .map(({ object }) => encodeRecord({ op: 'put', version: versionOf(object), type, object }, 0));
          await file.append(chunk, false);
          if (this.tail !== tail) throw new CodedError('Aborted', 'a write failed during the compaction');
        }
      }
      const mark: WalRecord = { op: 'mark', version, mark: 'snapshot' };
      // Everything before the mark is synced before the file takes its name, so damage there is no torn tail.
      await file.append([encodeRecord(mark, file.position)], true);
      if (this.tail !== tail) throw new CodedError('Aborted', 'a write failed during the compaction');
    } catch (error) {
      if (this.tail === tail) this.tail = undefined;
      await file.close().catch(() => undefined);
      await this.storage.remove(`${this.options.path}.new`).catch(() => undefined);
      throw error;
    }
    this.compacted = file;
    this.kick();
    // The flush loop takes the file over between two batches.
    while (this.compacted !== undefined && this.flushing !== undefined) await this.flushing;
  }

  private async switchToCompacted(): Promise<void> {
    const file = this.compacted;
    const tail = this.tail;
    this.compacted = undefined;
    this.tail = undefined;
    if (file === undefined) return;
    try {
      if (tail === undefined) throw new CodedError('Aborted', 'a write failed during the compaction');
      if (tail.length > 0) await file.append(tail, true);
      await this.storage.replace(file.path, this.options.path);
    } catch (error) {
      this.compactBeyond = this.file.position + this.options.compactAtBytes;
      this.log.warn({ error: messageOf(error), path: this.options.path }, 'the store could not be compacted');
      await file.close().catch(() => undefined);
      await this.storage.remove(file.path).catch(() => undefined);
      return;
    }
    const old = this.file;
    this.file = file;
    for (const pending of this.queue) pending.bytes = encodeRecord(pending.record, file.durable);
    this.compactBeyond = 0;
    this.unsynced = false;
    await old.close().catch(() => undefined);
    this.log.debug({ before: old.position, after: file.position }, 'the store was compacted');
  }

  /** After a failed fsync or truncate: writes everything anew, until it works. Writers are refused meanwhile. */
  private repair(): void {
    if (this.closed || this.repairTimer !== undefined) return;
    this.repairTimer = this.clock.after(REPAIR_RETRY_MS, () => {
      this.repairTimer = undefined;
      if (this.closed || this.file.broken === undefined) return;
      if (this.compaction === undefined) this.startCompaction();
      void this.compaction?.then(() => {
        if (this.file.broken !== undefined) this.repair();
        else this.log.info({ path: this.options.path }, 'the store can write again');
      });
    });
  }

  private async load(handle: Parameters<typeof readWal>[1]): Promise<void> {
    const { path } = this.options;
    let clean = true;
    const contents = await readWal(path, handle, (record, bytes) => {
      clean = record.op === 'mark' && record.mark === 'closed';
      if (record.op === 'mark') {
        if (record.mark === 'snapshot') this.history.forget(record.version);
        else if (record.mark === 'start') this.history.skip(this.version, record.version);
        this.version = Math.max(this.version, record.version);
        return;
      }
      this.replay(record, bytes, path);
    });
    if (contents.tornBytes > 0) {
      this.log.warn(
        { path, offset: contents.end, bytes: contents.tornBytes, records: contents.records },
        'cut off the torn end of the store, which a crash left behind',
      );
      await handle.truncate(contents.end);
    }
    this.file = new WalFile(path, handle, contents.end, 0);
    if (contents.end === 0) {
      await this.file.append([Buffer.from(WAL_HEADER)], true);
    } else {
      await this.file.sync();
    }
    if (!clean) await this.markStart();
    this.committed = this.version;
  }

  private async markStart(): Promise<void> {
    const version = this.version + VERSION_GAP;
    this.history.skip(this.version, version);
    this.version = version;
    const mark: WalRecord = { op: 'mark', version, mark: 'start' };
    try {
      await this.file.append([encodeRecord(mark, this.file.durable)], true);
    } catch (error) {
      this.log.error({ error: messageOf(error), path: this.options.path }, 'the store cannot write');
      if (this.file.broken !== undefined) this.repair();
    }
  }

  private replay(record: Exclude<WalRecord, { op: 'mark' }>, bytes: number, path: string): void {
    const type = this.typesByKey.get(record.type);
    const table = this.tables.get(record.type);
    if (type === undefined || table === undefined) {
      throw new CodedError('InvalidObject', `read ${path}: it holds objects of a kind not known here: ${record.type}`, {
        path,
        type: record.type,
      });
    }
    const key = record.op === 'put' ? keyOfObject(type, record.object) : record.key;
    const before = table.get(key);
    // A compacted file repeats changes that its snapshot may hold already.
    if (record.op === 'put') {
      const object = adopt(record.object, before?.object);
      this.place(table, key, { key, object, bytes });
      if (record.version > this.version) {
        this.history.push({
          type: before === undefined ? 'ADDED' : 'MODIFIED',
          resource: type,
          object,
          previous: before?.object,
          resourceVersion: record.version,
        });
      }
    } else {
      this.place(table, key, undefined);
      if (before !== undefined && record.version > this.version) {
        const metadata = { ...before.object.metadata, resourceVersion: String(record.version) };
        this.history.push({
          type: 'DELETED',
          resource: type,
          object: adopt({ ...before.object, metadata }, before.object),
          previous: before.object,
          resourceVersion: record.version,
        });
      }
    }
    this.version = Math.max(this.version, record.version);
  }
}

function attempt<T>(run: () => Promise<T>): Promise<T> {
  try {
    return run();
  } catch (error) {
    return Promise.reject(error);
  }
}

function typeKey(type: ResourceType): string {
  return `${apiVersionOf(type)}/${type.plural}`;
}

function keyIn(type: ResourceType, namespace: string | undefined, name: string): string {
  return type.namespaced ? `${namespace ?? ''}/${name}` : name;
}

function keyOfObject(type: ResourceType, object: KubeObject): string {
  const { name, namespace } = object.metadata;
  if (name === undefined || name === '') {
    throw new CodedError('InvalidArgument', `store a ${type.kind}: metadata.name is empty`, { kind: type.kind });
  }
  if (type.namespaced !== (namespace !== undefined && namespace !== '')) {
    const wanted = type.namespaced ? 'is missing' : `is ${namespace}, but the kind has none`;
    throw new CodedError('InvalidArgument', `store ${type.kind} ${name}: metadata.namespace ${wanted}`, {
      kind: type.kind,
    });
  }
  return keyIn(type, namespace, name);
}

function notFound(type: ResourceType, key: string, name: string | undefined): CodedError {
  return new CodedError('NotFound', `${type.plural} "${name}" not found`, { kind: type.kind, key });
}

function versionOf(object: KubeObject): number {
  return Number(object.metadata.resourceVersion ?? 0);
}
