import { isDeepStrictEqual } from 'node:util';
import type { CgroupLimits, CgroupPort, CgroupReading } from '../../host/cgroup/port.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import { CodedError, messageOf, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { MIN_SHARES, sharesFromMilli, sharesFromWeight, weightFromShares } from '../../model/cpu.ts';
import type { Pod } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { type CgroupPaths, cgroupPathsBelow, podCgroupPath, uidInCgroupName } from './cgroup-paths.ts';
import { podMemoryRequest } from './memory-qos.ts';
import type { NodeResourceFacts } from './node-facts.ts';
import { burstableMilli, podCgroupLimits } from './pod-limits.ts';
import { QosMemory, type QosMemoryOptions } from './qos-memory.ts';

export interface PodCgroupsOptions {
  /** --cgroup-root; the pods are in "kubepods" below it. */
  readonly cgroupRoot: string;
  readonly node: NodeResourceFacts;
  /** Limits of "kubepods" itself: nodeCgroupLimits(). */
  readonly rootLimits: CgroupLimits;
  /** What classes keep from each other of the memory; absent: nothing. */
  readonly qosMemory?: Omit<QosMemoryOptions, 'paths'>;
}

export interface PodCgroupsDeps {
  readonly cgroups: CgroupPort;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told how long each operation took. */
  readonly record?: ((operation: CgroupOperation, seconds: number) => void) | undefined;
}

export type CgroupOperation = 'create' | 'update' | 'destroy';

interface KnownPod {
  readonly path: string;
  readonly limits: CgroupLimits;
  readonly milli: number;
  /** Bytes that it asks for. */
  readonly memory: number;
  readonly guaranteed: boolean;
  /** When the cgroup was last seen (Clock.monotonic). */
  seenAt: number;
}

/** Pods come and go in bursts; one write of the burstable sum serves a whole burst. */
const BATCH_MS = 50;
/** What is believed is read back this often (kubelet's periodicQOSCgroupUpdateInterval). */
const VERIFY_MS = 60_000;
/** After a start pods are adopted one by one; until then their sum is not all there and must not be lowered to it. */
const ADOPTION_MS = 10_000;

/**
 * The cgroups of pods and of their QoS classes. Remembers what it wrote and writes what differs; after a failure it
 * forgets and writes everything again.
 */
export class PodCgroups {
  readonly paths: CgroupPaths;
  private readonly options: PodCgroupsOptions;
  private readonly cgroups: CgroupPort;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly record: PodCgroupsDeps['record'];
  private readonly pods = new Map<string, KnownPod>();
  /** By pod object: they are asked for with each look at the pod. */
  private readonly limits = new WeakMap<Pod, CgroupLimits>();
  readonly qosMemory: QosMemory | undefined;
  private burstableShares: number | undefined;
  private rootDone = false;
  private rootResult: { readonly error: unknown } | undefined;
  private onRoot: ((error: unknown) => void) | undefined;
  private raiseOnlyUntil = 0;
  private batch: Timer | undefined;
  private verify: Timer | undefined;
  private adopted: Timer | undefined;
  private writing: Promise<void> = Promise.resolve();
  private closed = false;

  /** Throws InvalidConfig for a bad cgroup root. */
  constructor(options: PodCgroupsOptions, deps: PodCgroupsDeps) {
    this.options = options;
    this.paths = cgroupPathsBelow(options.cgroupRoot);
    this.cgroups = deps.cgroups;
    this.clock = deps.clock;
    this.log = deps.log;
    const { qosMemory } = options;
    this.qosMemory = qosMemory && new QosMemory({ ...qosMemory, paths: this.paths }, deps);
    this.record = deps.record;
  }

  private async timed(operation: CgroupOperation, work: () => Promise<void>): Promise<void> {
    const since = this.clock.monotonic();
    try {
      await work();
    } finally {
      this.record?.(operation, (this.clock.monotonic() - since) / 1000);
    }
  }

  /**
   * Makes the cgroup of all pods and those of the classes, before the first pod. A memory limit that running pods
   * exceed is a warning and is tried again each minute; everything else throws.
   */
  async ensureRoot(): Promise<void> {
    const { cpuShares, ...others } = this.options.rootLimits;
    await this.timed('create', () => this.cgroups.apply(this.paths.root, cpuShares === undefined ? {} : { cpuShares }));
    await this.limitRoot(others);
    const burstableWasThere = await this.cgroups.exists(this.paths.burstable);
    // A limit of an earlier life does not stay.
    const memory = this.options.qosMemory?.reservedPercent === undefined ? { memoryLimit: -1 } : {};
    await this.cgroups.apply(this.paths.burstable, {
      ...memory,
      ...(burstableWasThere ? {} : { cpuShares: MIN_SHARES }),
    });
    await this.cgroups.apply(this.paths.besteffort, { ...memory, cpuShares: MIN_SHARES });
    this.burstableShares = burstableWasThere ? undefined : MIN_SHARES;
    this.raiseOnlyUntil = burstableWasThere ? this.clock.monotonic() + ADOPTION_MS : 0;
    this.scheduleVerify();
  }

  /** Tells how limiting the cgroup of all pods went: at once, and with each try to come. Undefined: it is limited. */
  onRootLimited(listener: (error: unknown) => void): void {
    this.onRoot = listener;
    if (this.rootResult !== undefined) listener(this.rootResult.error);
  }

  /** Where the pod's cgroup is on this host: the cgroup parent for its sandbox. */
  pathOf(pod: Pod): string {
    const path = this.pathIn(pod);
    return this.cgroups.hostPath?.(path) ?? path;
  }

  private pathIn(pod: Pod): string {
    return podCgroupPath(this.paths, qosClassOf(pod), pod.metadata.uid ?? '');
  }

  /** The most memory (bytes) that the pod ever used at once; undefined where nobody can tell. */
  memoryPeak(pod: Pod): Promise<number | undefined> {
    return this.cgroups.memoryPeak(this.pathIn(pod));
  }

  /** What the pod's cgroup is to be set to. */
  limitsOf(pod: Pod): CgroupLimits {
    let limits = this.limits.get(pod);
    if (limits === undefined) {
      limits = podCgroupLimits(pod, this.options.node);
      this.limits.set(pod, limits);
    }
    return limits;
  }

  /** The pod's cgroup was set to something else than this pod is to have. */
  outdated(pod: Pod): boolean {
    const known = this.pods.get(pod.metadata.uid ?? '');
    if (known === undefined) return false;
    const wanted = this.limitsOf(pod);
    return known.limits !== wanted && changed(known.limits, wanted) !== undefined;
  }

  /** What the kernel has of the pod's cgroup now; shares also where it counts weights. Throws NotFound without one. */
  async current(pod: Pod): Promise<CgroupReading & Pick<CgroupLimits, 'unified'> & { readonly cpuShares: number }> {
    const path = this.pathIn(pod);
    if (!(await this.cgroups.exists(path))) throw new CodedError('NotFound', `the pod has no cgroup ${path}`);
    const reading = await this.cgroups.read(path);
    const { cpuShares: known, unified } = this.pods.get(pod.metadata.uid ?? '')?.limits ?? {};
    // Many shares have one weight: what was written is the better answer where it comes to the same.
    const written = known !== undefined && reading.cpuWeight === weightFromShares(known) ? known : undefined;
    const cpuShares = reading.cpuShares ?? written ?? sharesFromWeight(reading.cpuWeight ?? 1);
    return { ...reading, cpuShares, ...(unified === undefined ? {} : { unified }) };
  }

  /** Sets some values of a pod's cgroup that is there. */
  async set(pod: Pod, limits: CgroupLimits): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const path = this.pathIn(pod);
    await this.timed('update', () => this.cgroups.apply(path, limits));
    const known = this.pods.get(uid);
    const asks = askedFor(pod);
    this.pods.set(uid, { path, limits: { ...known?.limits, ...limits }, ...asks, seenAt: this.clock.monotonic() });
    if (known?.milli !== asks.milli || known.memory !== asks.memory) this.scheduleBatch();
  }

  /** Makes or updates the pod's cgroup. Answers the cgroup parent for its sandbox. */
  async ensure(pod: Pod): Promise<string> {
    const uid = pod.metadata.uid ?? '';
    const path = this.pathIn(pod);
    const limits = this.limitsOf(pod);
    let known = this.pods.get(uid);
    const now = this.clock.monotonic();
    if (known !== undefined && now - known.seenAt >= VERIFY_MS) {
      if (await this.cgroups.exists(path)) known.seenAt = now;
      else known = undefined;
    }
    const changes = known === undefined || known.path !== path ? limits : changed(known.limits, limits);
    if (known !== undefined && changes === undefined) return path;
    try {
      await this.timed(known === undefined ? 'create' : 'update', () => this.cgroups.apply(path, changes ?? {}));
    } catch (error) {
      this.pods.delete(uid);
      throw error;
    }
    this.pods.set(uid, { path, limits, ...askedFor(pod), seenAt: now });
    this.scheduleBatch();
    return path;
  }

  /** Kills what is left in the pod's cgroup and removes it, in whatever class it is found. */
  async remove(uid: string): Promise<void> {
    const known = this.pods.get(uid);
    this.pods.delete(uid);
    const candidates = (['Guaranteed', 'Burstable', 'BestEffort'] as const).map((qos) =>
      podCgroupPath(this.paths, qos, uid),
    );
    await this.timed('destroy', () =>
      tryAll(
        `remove the cgroups of pod ${uid}`,
        candidates.map((path) => () => this.cgroups.remove(path)),
      ),
    );
    if (known !== undefined) this.scheduleBatch();
  }

  /** UIDs of pods that have a cgroup but are not among the known. */
  async orphans(known: ReadonlySet<string>): Promise<string[]> {
    const { root, burstable, besteffort } = this.paths;
    const names = await Promise.all([root, burstable, besteffort].map((path) => this.cgroups.children(path)));
    const uids = new Set(names.flat().flatMap((name) => uidInCgroupName(name) ?? []));
    return [...uids].filter((uid) => !known.has(uid)).sort();
  }

  /** Writes the QoS values that differ now, without waiting for the batch. */
  flush(): Promise<void> {
    this.batch?.cancel();
    this.batch = undefined;
    // One after the other, so that an older sum never overtakes a newer one.
    this.writing = this.writing.then(() => this.writeQos());
    return this.writing;
  }

  /** Stops the timers and waits for a write under way. The cgroups stay: a restart adopts them. */
  async close(): Promise<void> {
    this.closed = true;
    this.batch?.cancel();
    this.verify?.cancel();
    this.adopted?.cancel();
    await this.writing;
  }

  private tellOfRoot(error: unknown): void {
    this.rootResult = { error };
    this.onRoot?.(error);
  }

  private async limitRoot(limits: CgroupLimits): Promise<void> {
    try {
      await this.cgroups.apply(this.paths.root, limits);
      this.rootDone = true;
      this.tellOfRoot(undefined);
    } catch (error) {
      this.rootDone = false;
      this.tellOfRoot(error);
      this.log.warn(
        { path: this.paths.root, limits, error: messageOf(error) },
        'node allocatable is not enforced yet; trying again in a minute',
      );
    }
  }

  private scheduleBatch(): void {
    if (this.closed || this.batch !== undefined) return;
    this.batch = this.clock.after(BATCH_MS, () => {
      this.batch = undefined;
      void this.flush();
    });
  }

  private scheduleVerify(): void {
    if (this.closed) return;
    this.verify?.cancel();
    this.verify = this.clock.after(VERIFY_MS, () => {
      this.writing = this.writing.then(() => this.readBack());
      void this.writing.then(() => this.scheduleVerify());
    });
  }

  private async writeQos(): Promise<void> {
    if (this.closed) return;
    await this.writeQosMemory();
    let milli = 0;
    for (const pod of this.pods.values()) milli += pod.milli;
    const shares = sharesFromMilli(milli);
    if (shares === this.burstableShares) return;
    try {
      if (this.clock.monotonic() < this.raiseOnlyUntil && (await this.holdsMore(shares))) return;
      await this.cgroups.apply(this.paths.burstable, { cpuShares: shares });
      this.burstableShares = shares;
    } catch (error) {
      this.burstableShares = undefined;
      this.log.warn(
        { path: this.paths.burstable, shares, error: messageOf(error) },
        'cannot set the CPU shares of burstable pods',
      );
      this.scheduleVerify();
    }
  }

  private async writeQosMemory(): Promise<void> {
    if (this.qosMemory === undefined) return;
    if (this.clock.monotonic() < this.raiseOnlyUntil) return this.afterAdoption();
    const sum = (of: boolean): number =>
      [...this.pods.values()].reduce((so, { guaranteed, memory }) => so + (guaranteed === of ? memory : 0), 0);
    await this.qosMemory.write({ guaranteed: sum(true), burstable: sum(false) });
  }

  /** What is held back until then is written when the time of adoption is over. */
  private afterAdoption(): void {
    this.adopted ??= this.clock.after(this.raiseOnlyUntil - this.clock.monotonic(), () => void this.flush());
  }

  /** Compares with what the kernel has, and writes anew where something else changed it. */
  private async readBack(): Promise<void> {
    if (this.closed) return;
    this.qosMemory?.doubt();
    try {
      if (!this.rootDone) {
        const { cpuShares: _, ...others } = this.options.rootLimits;
        await this.limitRoot(others);
      }
      if (!(await this.holds(this.paths.burstable, this.burstableShares))) this.burstableShares = undefined;
      if (!(await this.holds(this.paths.besteffort, MIN_SHARES))) {
        this.log.warn(
          { path: this.paths.besteffort },
          'somebody changed the CPU shares of best-effort pods; setting them back',
        );
        await this.cgroups.apply(this.paths.besteffort, { cpuShares: MIN_SHARES });
      }
    } catch (error) {
      this.burstableShares = undefined;
      this.log.warn({ error: messageOf(error) }, 'cannot read back the cgroups of the QoS classes');
    }
    await this.writeQos();
  }

  private async holds(path: string, shares: number | undefined): Promise<boolean> {
    const reading = await this.cgroups.read(path);
    if (shares === undefined) return false;
    if (!this.cgroups.controllers.has('cpu')) return true;
    return this.cgroups.version === 1 ? reading.cpuShares === shares : reading.cpuWeight === weightFromShares(shares);
  }

  private async holdsMore(shares: number): Promise<boolean> {
    const { cpuShares, cpuWeight } = await this.cgroups.read(this.paths.burstable);
    const more = (cpuShares ?? 0) > shares || (cpuWeight ?? 0) > weightFromShares(shares);
    if (more) this.afterAdoption();
    return more;
  }
}

function askedFor(pod: Pod): Pick<KnownPod, 'milli' | 'memory' | 'guaranteed'> {
  return {
    milli: burstableMilli(pod),
    memory: podMemoryRequest(pod),
    guaranteed: qosClassOf(pod) === 'Guaranteed',
  };
}

/** The values that are not as before; undefined when there are none. Quota and period always go together. */
function changed(before: CgroupLimits, after: CgroupLimits): CgroupLimits | undefined {
  const differs = (name: keyof CgroupLimits): boolean => !isDeepStrictEqual(before[name], after[name]);
  const changes: Record<string, unknown> = {};
  for (const name of ['cpuShares', 'memoryLimit', 'pidsLimit', 'hugepages', 'unified'] as const) {
    if (after[name] !== undefined && differs(name)) changes[name] = after[name];
  }
  if (differs('cpuQuota') || differs('cpuPeriod')) {
    changes['cpuQuota'] = after.cpuQuota;
    changes['cpuPeriod'] = after.cpuPeriod;
  }
  return Object.keys(changes).length === 0 ? undefined : changes;
}
