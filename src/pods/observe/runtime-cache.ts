import type { ContainerStatus, CriRuntime, Labels, PodSandbox, RuntimeEvent } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { label, type PodIdentity } from '../identity.ts';
import { FreshReads } from './fresh-reads.ts';
import { type ContainerRecord, mayHaveRunOutOfMemory, type PodRuntime } from './pod-runtime.ts';
import { PodTable } from './pod-table.ts';
import { containerRecord, sandboxRecord } from './records.ts';
import type { RelistMetrics } from './relist-metrics.ts';

export interface RuntimeCacheOptions {
  /** Between lists while events do not flow (kubelet's PLEG: 1,000 ms). */
  readonly relistMs: number;
  /** Between lists while they do: the safety net. */
  readonly relistWithEventsMs: number;
}

export interface RuntimeCacheDeps {
  readonly cri: CriRuntime;
  readonly clock: Clock;
  readonly log: Logger;
  /** The termination message of a container that has ended; '' for none. */
  readonly finalMessage: (status: ContainerStatus) => Promise<string>;
  readonly metrics?: RelistMetrics | undefined;
}

/** How long to wait for the details of an exit before asking for them, in milliseconds, again and again. */
const EXIT_LAG_MS = [150, 150, 300, 400];
/** Details of so many containers are asked for at once after a list. */
const DETAIL_CONCURRENCY = 8;
/** A status that takes longer than this, in milliseconds, holds up its own pod only. */
const DETAIL_PATIENCE_MS = 3000;

/**
 * What the runtime runs, by pod: kept fresh by its events and by lists as the safety net. One pod's refresh never waits
 * for another's. Listeners hear a pod's UID after its record changed.
 */
export class RuntimeCache {
  private readonly table = new PodTable();
  private readonly emitter: Emitter<string>;
  private readonly options: RuntimeCacheOptions;
  private readonly deps: RuntimeCacheDeps;
  private readonly reads = new FreshReads();
  /** Pods of which something could not be read, why, and at which mark of the table. */
  private readonly doubts = new Map<string, { readonly why: string; readonly at: number }>();
  private eventsFlow = false;
  /** An end that was told in the gap may not have been in the runtime's answers yet: another list follows soon. */
  private afterGap = false;
  /** Asked for since the last list began. */
  private listWanted = false;
  private endPause: (() => void) | undefined;
  private lastListAt = Number.NEGATIVE_INFINITY;
  private listed: { readonly promise: Promise<void>; readonly done: () => void };

  constructor(options: RuntimeCacheOptions, deps: RuntimeCacheDeps) {
    this.options = options;
    this.deps = deps;
    this.emitter = new Emitter((error) => deps.log.error({ error: messageOf(error) }, 'runtime cache listener failed'));
    let done = (): void => {};
    const promise = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.listed = { promise, done };
  }

  /** Resolves after the first complete list. */
  whenListed(): Promise<void> {
    return this.listed.promise;
  }

  /** Milliseconds since the last complete list; Infinity before the first. */
  get staleMs(): number {
    return this.deps.clock.monotonic() - this.lastListAt;
  }

  get(uid: string): PodRuntime | undefined {
    return this.table.snapshot(uid);
  }

  /** Why what `get` says of a pod cannot be relied on; undefined when it can. The next list tries again. */
  unreadable(uid: string): string | undefined {
    return this.doubts.get(uid)?.why;
  }

  uids(): string[] {
    return this.table.uids();
  }

  subscribe(listener: (uid: string) => void): Unsubscribe {
    return this.emitter.subscribe(listener);
  }

  /** Runs until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.follow(signal), this.listLoop(signal)]);
  }

  /** Reads one sandbox anew: as it is now or later, never as it was before the call. */
  async refreshSandbox(pod: PodIdentity, id: string): Promise<void> {
    await this.orDoubt(pod, this.readSandbox(pod, id));
  }

  private readSandbox(pod: PodIdentity, id: string): Promise<void> {
    return this.reads.read(id, async (valid) => {
      const status = await orGone(this.deps.cri.podSandboxStatus(id));
      if (!valid()) return;
      if (status === undefined) return this.drop(id);
      this.table.putSandbox(pod, sandboxRecord(status));
      this.emitter.emit(pod.uid);
    });
  }

  /** Lists one pod anew: for when a call was cut off and what it left behind is not known. */
  async refreshPod(pod: PodIdentity): Promise<void> {
    await this.orDoubt(pod, this.readPod(pod));
  }

  /** What cannot be read now is in doubt until a list has seen it; another list is due for that. */
  private async orDoubt(pod: PodIdentity, read: Promise<void>): Promise<void> {
    try {
      await read;
    } catch (error) {
      this.doubt(pod.uid, messageOf(error));
      this.wantList();
      throw error;
    }
  }

  private doubt(uid: string, why: string): void {
    if (!this.doubts.has(uid)) {
      this.deps.log.warn({ uid, error: why }, 'the runtime does not tell all about a pod; nothing is done with it now');
    }
    this.doubts.set(uid, { why, at: this.table.mark() });
  }

  private async readPod(pod: PodIdentity): Promise<void> {
    const { cri, clock, metrics } = this.deps;
    const since = clock.monotonic();
    const filter = { labels: { [label.podUid]: pod.uid } };
    const [sandboxes, containers] = await Promise.all([cri.listPodSandbox(filter), cri.listContainers(filter)]);
    const seen = new Set([...sandboxes, ...containers].map(({ id }) => id));
    const known = this.table.ids(pod.uid);
    for (const id of [...known.containers, ...known.sandboxes]) if (!seen.has(id)) this.drop(id);
    await Promise.all([
      ...sandboxes.map((sandbox) => this.readSandbox(pod, sandbox.id)),
      ...containers.map((container) => this.readContainer(pod, container.podSandboxId, container.id)),
    ]);
    metrics?.podListed(since, clock.monotonic());
  }

  /** Reads one container anew: as it is now or later, never as it was before the call. */
  async refreshContainer(pod: PodIdentity, sandboxId: string, id: string): Promise<void> {
    await this.orDoubt(pod, this.readContainer(pod, sandboxId, id));
  }

  /** Takes out what was removed; an answer about it that is still under way does not bring it back. */
  drop(id: string): void {
    this.reads.invalidate(id);
    const uid = this.table.drop(id);
    if (uid !== undefined) this.emitter.emit(uid);
  }

  private readContainer(pod: PodIdentity, sandboxId: string, id: string): Promise<void> {
    return this.reads.read(id, (valid) => this.takeContainer(pod, sandboxId, id, valid));
  }

  private async takeContainer(pod: PodIdentity, sandboxId: string, id: string, valid: () => boolean): Promise<void> {
    const status = await orGone(this.deps.cri.containerStatus(id));
    if (!valid()) return;
    if (status === undefined) {
      this.drop(id);
      return;
    }
    const before = this.table.container(id);
    if (status.state !== 'EXITED' && before?.state === 'EXITED') return;
    const ended = status.state === 'EXITED' && (before?.state !== 'EXITED' || before.message === '');
    const message = ended ? await this.deps.finalMessage(status).catch(() => '') : (before?.message ?? '');
    if (!valid()) return;
    const record = containerRecord(sandboxId, status, message !== '' ? message : status.message);
    this.table.putContainer(pod, record);
    this.emitter.emit(pod.uid);
  }

  // ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private async follow(signal: AbortSignal): Promise<void> {
    const { cri, log, clock, metrics } = this.deps;
    const outcome = await cri.watchEvents(
      {
        onEvent: (event) => {
          metrics?.heard(event.atMs, clock.now());
          void this.onEvent(event).catch((error) => {
            log.debug({ id: event.id, error: messageOf(error) }, 'a runtime event could not be followed up; listing');
            this.wantList();
          });
        },
        onGap: () => {
          metrics?.connected();
          this.eventsFlow = true;
          this.afterGap = true;
          this.wantList();
        },
      },
      signal,
    );
    this.eventsFlow = false;
    if (outcome === 'unsupported') metrics?.notConnected();
    if (outcome === 'unsupported') log.info({}, 'the runtime has no event stream; relying on lists');
  }

  private async onEvent(event: RuntimeEvent): Promise<void> {
    const uid = this.table.ownerOf(event.id);
    if (event.type === 'created' || event.type === 'started') return;
    if (uid === undefined) {
      // What this process starts it reads itself, what others start is found by the next list. But an end that is told
      // while the first read is under way would be missed by both.
      await this.reads.again(event.id);
      return;
    }
    const pod = this.table.snapshot(uid);
    if (pod === undefined) return;
    const container = this.table.container(event.id);
    if (container === undefined) {
      await this.refreshSandbox(pod, event.id);
      return;
    }
    const early = event.type === 'exited';
    if (early) this.exited(pod, container, event);
    else await this.refreshContainer(pod, container.sandboxId, event.id);
    if (event.type === 'deleted') return;
    // After "stopped" the runtime knows all; after an early notice "stopped" is to come, and is asked for if it does not.
    for (const delay of EXIT_LAG_MS) {
      if (this.hasEnded(event.id)) return;
      await this.deps.clock.sleep(delay);
      if (this.hasEnded(event.id)) return;
      await this.refreshContainer(pod, container.sandboxId, event.id);
    }
  }

  private hasEnded(id: string): boolean {
    const record = this.table.container(id);
    return record === undefined || (record.state === 'EXITED' && !record.provisional && !mayHaveRunOutOfMemory(record));
  }

  /** A process has ended: everyone hears of it now; what else the runtime knows of the end is read afterwards. */
  private exited(pod: PodIdentity, container: ContainerRecord, event: RuntimeEvent): void {
    if (container.state !== 'RUNNING' || event.exitCode === undefined) return;
    this.table.putContainer(pod, {
      ...container,
      state: 'EXITED',
      exitCode: event.exitCode,
      finishedAt: event.atMs,
      provisional: true,
    });
    this.emitter.emit(pod.uid);
  }

  // ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private async listLoop(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.deps;
    let failing = false;
    while (!signal.aborted) {
      this.listWanted = false;
      try {
        await this.list();
        if (failing) log.info({}, 'the container runtime answers again');
        failing = false;
      } catch (error) {
        if (!failing) log.warn({ error: messageOf(error) }, 'cannot list what the container runtime runs; retrying');
        failing = true;
      }
      const flows = this.eventsFlow && !failing && !this.afterGap && this.doubts.size === 0;
      if (!this.listWanted) this.afterGap = false;
      await this.pause(flows ? this.options.relistWithEventsMs : this.options.relistMs, clock, signal);
    }
  }

  private wantList(): void {
    this.listWanted = true;
    this.endPause?.();
  }

  private pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        timer.cancel();
        this.endPause = undefined;
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = clock.after(ms, finish);
      this.endPause = finish;
      signal.addEventListener('abort', finish, { once: true });
      // What was asked for during the list may be news that the list has not seen.
      if (signal.aborted || this.listWanted) finish();
    });
  }

  /** One list of everything, then details of what changed. */
  private async list(): Promise<void> {
    const { cri, clock, metrics } = this.deps;
    const since = clock.monotonic();
    const mark = this.table.mark();
    const [sandboxes, containers] = await Promise.all([cri.listPodSandbox(), cri.listContainers()]);
    const identities = new Map<string, PodIdentity>();
    const work: Detail[] = [];
    const seen = new Set<string>();
    for (const sandbox of sandboxes) {
      const pod = identityFrom(sandbox.labels);
      if (pod === undefined) continue;
      identities.set(sandbox.id, pod);
      seen.add(sandbox.id);
      if (this.table.sandbox(sandbox.id)?.state !== sandbox.state)
        work.push({ uid: pod.uid, read: () => this.detailSandbox(pod, sandbox, mark) });
    }
    for (const container of containers) {
      const pod = identityFrom(container.labels);
      if (pod === undefined) continue;
      seen.add(container.id);
      const record = this.table.container(container.id);
      if (record?.state !== container.state || record.provisional) {
        work.push({ uid: pod.uid, read: () => this.readContainer(pod, container.podSandboxId, container.id) });
      }
    }
    this.forgetUnseen(seen, mark);
    const unread = await inBatches(work, DETAIL_CONCURRENCY, DETAIL_PATIENCE_MS, clock);
    // A status that cannot be read concerns its pod only.
    for (const [uid, why] of unread) this.doubt(uid, why);
    for (const [uid, { at }] of this.doubts) {
      if (at > mark || unread.has(uid)) continue;
      this.doubts.delete(uid);
      this.emitter.emit(uid);
    }
    this.lastListAt = clock.monotonic();
    metrics?.listed(since, this.lastListAt, clock.now());
    this.listed.done();
  }

  private forgetUnseen(seen: ReadonlySet<string>, mark: number): void {
    for (const uid of this.table.uids()) {
      // Something newer than this list was written meanwhile: the next list will tell.
      if (this.table.touchedSince(uid, mark)) continue;
      const { sandboxes, containers } = this.table.ids(uid);
      for (const id of [...containers, ...sandboxes]) if (!seen.has(id)) this.drop(id);
    }
  }

  private async detailSandbox(pod: PodIdentity, sandbox: PodSandbox, mark: number): Promise<void> {
    if (this.table.touchedSince(pod.uid, mark) && this.table.sandbox(sandbox.id) !== undefined) return;
    await this.readSandbox(pod, sandbox.id);
  }
}

function identityFrom(labels: Labels): PodIdentity | undefined {
  const uid = labels[label.podUid];
  const namespace = labels[label.podNamespace];
  const name = labels[label.podName];
  return uid === undefined || namespace === undefined || name === undefined ? undefined : { uid, namespace, name };
}

async function orGone<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (hasCode(error, 'NotFound')) return undefined;
    throw error;
  }
}

interface Detail {
  readonly uid: string;
  readonly read: () => Promise<void>;
}

/**
 * Reads all, whatever fails or hangs; answers which pods something is not known of, and why. What takes longer than
 * `patienceMs` is not waited for: one wedged status must not hold up the others.
 */
async function inBatches(
  work: readonly Detail[],
  size: number,
  patienceMs: number,
  clock: Clock,
): Promise<ReadonlyMap<string, string>> {
  if (work.length === 0) return new Map();
  const failed = new Map<string, string>();
  const open = new Set(work);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let item = work[next++]; item !== undefined; item = work[next++]) {
      const { uid, read } = item;
      await read().catch((error: unknown) => failed.set(uid, messageOf(error)));
      open.delete(item);
    }
  };
  const patience = new AbortController();
  await Promise.race([
    Promise.all(Array.from({ length: Math.min(size, work.length) }, worker)),
    clock.sleep(patienceMs, patience.signal).catch(() => {}),
  ]);
  patience.abort();
  const unread = new Map(failed);
  for (const { uid } of open) unread.set(uid, `no answer within ${patienceMs} ms`);
  return unread;
}
