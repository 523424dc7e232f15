import { isDeepStrictEqual } from 'node:util';
import type { Change, EventRecorder, PodStatusWriter, View } from '../../src/cluster/port.ts';
import { FakeCri, type FakeCriOptions } from '../../src/host/cri/fake.ts';
import type { Container as CriContainer, CriRuntime, RuntimeEventListener } from '../../src/host/cri/port.ts';
import { FakeProbe } from '../../src/host/probe/fake.ts';
import { Emitter } from '../../src/kit/emitter.ts';
import { CodedError } from '../../src/kit/errors.ts';
import { type Logger, silent } from '../../src/kit/log.ts';
import { ManualClock } from '../../src/kit/manual-clock.ts';
import { Metrics } from '../../src/kit/metrics.ts';
import { keyOf } from '../../src/model/meta.ts';
import type { Node } from '../../src/model/node.ts';
import type { Container, ContainerStatus, Pod, PodSpec, PodStatus } from '../../src/model/pod.ts';
import { qosClassOf } from '../../src/model/qos.ts';
import { StepExecutor } from '../../src/pods/act/executors.ts';
import type { PodParts } from '../../src/pods/act/pod-parts.ts';
import { containerReference } from '../../src/pods/act/references.ts';
import { admitPod } from '../../src/pods/admit/admit-pod.ts';
import { Housekeeping } from '../../src/pods/housekeeping.ts';
import type { PodIdentity } from '../../src/pods/identity.ts';
import { unguarded } from '../../src/pods/images/image-access.ts';
import { ImageMetrics } from '../../src/pods/images/image-metrics.ts';
import { ImagePuller } from '../../src/pods/images/image-puller.ts';
import { ImageCredentials } from '../../src/pods/images/pull-credentials.ts';
import { LocalReadiness } from '../../src/pods/local-readiness.ts';
import { PodLoop } from '../../src/pods/loop.ts';
import { RelistMetrics } from '../../src/pods/observe/relist-metrics.ts';
import { RuntimeCache } from '../../src/pods/observe/runtime-cache.ts';
import { RuntimeHealth } from '../../src/pods/observe/runtime-health.ts';
import { PodMetrics } from '../../src/pods/pod-metrics.ts';
import { HookRunner } from '../../src/pods/probes/hook-runner.ts';
import { ProbeScheduler } from '../../src/pods/probes/probe-scheduler.ts';
import type { PodSources } from '../../src/pods/sources/port.ts';
import { StepError } from '../../src/pods/step-error.ts';

/** Pods of these stories have no pull secrets. */
const noObjects = {
  get: (): Promise<never> => Promise.reject(new CodedError('NotFound', 'there are no Secrets here')),
};

/** The pods of one node as an API would have them: statuses land in it, finalised pods leave it. */
class PodsInMemory implements View<Pod>, PodStatusWriter {
  readonly synced = true;
  readonly patches: { readonly name: string; readonly uid: string; readonly status: PodStatus }[] = [];
  private readonly pods = new Map<string, Pod>();
  private readonly changes = new Emitter<Change<Pod>>((error) => {
    throw error;
  });
  private version = 0;

  whenSynced(): Promise<void> {
    return Promise.resolve();
  }

  get(key: string): Pod | undefined {
    return this.pods.get(key);
  }

  values(): IterableIterator<Pod> {
    return this.pods.values();
  }

  get size(): number {
    return this.pods.size;
  }

  subscribe(listener: (change: Change<Pod>) => void): () => void {
    return this.changes.subscribe(listener);
  }

  put(pod: Pod): void {
    const key = keyOf(pod);
    const previous = this.pods.get(key);
    const current = { ...pod, metadata: { ...pod.metadata, resourceVersion: String(++this.version) } };
    this.pods.set(key, current);
    this.changes.emit({ key, previous, current });
  }

  drop(key: string): void {
    const previous = this.pods.get(key);
    this.pods.delete(key);
    if (previous !== undefined) this.changes.emit({ key, previous, current: undefined });
  }

  set(pod: { namespace: string; name: string; uid: string }, status: PodStatus): void {
    const stored = this.pods.get(`${pod.namespace}/${pod.name}`);
    if (stored?.metadata.uid !== pod.uid) return;
    const terminal = stored.status?.phase === 'Succeeded' || stored.status?.phase === 'Failed';
    if (terminal && status.phase !== stored.status?.phase) throw new Error(`${pod.name} left its terminal phase`);
    // As the real writer: what the API has already is not written again.
    if (isDeepStrictEqual(stored.status, status)) return;
    this.patches.push({ name: pod.name, uid: pod.uid, status });
    this.put({ ...stored, status });
  }

  finalize(pod: { namespace: string; name: string; uid: string }): void {
    const key = `${pod.namespace}/${pod.name}`;
    const stored = this.pods.get(key);
    if (stored?.metadata.uid !== pod.uid) return;
    if (stored.metadata.deletionTimestamp === undefined)
      throw new Error(`${pod.name} finalised, but nobody deleted it`);
    this.drop(key);
  }

  forget(): void {}
}

/** What a pod has on the host: refuses to be used before it is made, and to be taken down while containers live. */
class PartsInMemory implements PodParts {
  readonly cgroups = new Set<string>();
  readonly volumes = new Set<string>();
  readonly logs = new Set<string>();
  readonly missing = new Set<string>();
  private readonly cri: FakeCri;

  constructor(cri: FakeCri) {
    this.cri = cri;
  }

  cgroupParent(pod: Pod): string {
    return `/kubepods/pod${pod.metadata.uid}`;
  }

  async userMapping(): Promise<undefined> {}

  async ensureCgroup(pod: Pod): Promise<void> {
    this.cgroups.add(pod.metadata.uid ?? '');
  }

  async removeCgroup(uid: string): Promise<void> {
    await this.refuseWhileAlive(uid);
    this.cgroups.delete(uid);
  }

  async setUpVolumes(pod: Pod): Promise<void> {
    for (const volume of pod.spec.volumes ?? []) {
      if (this.missing.has(volume.name)) throw new StepError('FailedMount', `volume "${volume.name}" is not there`);
    }
    this.volumes.add(pod.metadata.uid ?? '');
  }

  async tearDownVolumes(uid: string): Promise<void> {
    await this.refuseWhileAlive(uid);
    this.volumes.delete(uid);
  }

  async environment(_pod: Pod, container: Container): Promise<{ key: string; value: string }[]> {
    if (this.missing.has(container.name))
      throw new StepError('CreateContainerConfigError', `configmap "${container.name}" not found`);
    return [];
  }

  async devices(): Promise<[]> {
    return [];
  }

  extraGroups(): [] {
    return [];
  }

  async mounts(pod: Pod): Promise<[]> {
    if (!this.volumes.has(pod.metadata.uid ?? '')) throw new Error('mounts of a pod without volumes');
    return [];
  }

  containerResources(): Record<string, never> {
    return {};
  }

  sandboxResources(): { overhead: Record<string, never>; resources: Record<string, never> } {
    return { overhead: {}, resources: {} };
  }

  async makeLogDirectory(pod: { uid: string }): Promise<void> {
    this.logs.add(pod.uid);
  }

  async removeLogDirectory(pod: { uid: string }): Promise<void> {
    this.logs.delete(pod.uid);
  }

  async linkContainerLog(): Promise<void> {}

  async removeContainerLog(): Promise<void> {}

  release(): void {}

  private async refuseWhileAlive(uid: string): Promise<void> {
    const alive = (await this.cri.listContainers()).filter(
      ({ labels, state }) => labels['io.kubernetes.pod.uid'] === uid && state === 'RUNNING',
    );
    if (alive.length > 0) throw new Error(`taken down under ${alive.length} running containers of ${uid}`);
  }
}

export interface RecordedEvent {
  readonly atMs: number;
  readonly pod: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

export interface PodWorldOptions extends FakeCriOptions {
  /** Which absent pods are unwanted; by default all are. */
  /** What the Node says that it can. */
  readonly declaredFeatures?: readonly string[];
  readonly sources?: PodSources;
  readonly maxCrashBackoffMs?: number;
  /** What a container that is being ended waits for before its SIGTERM. */
  readonly endpointsLeft?: () => Promise<void>;
  /** The agent hears of an exit at once, the CRI knows of it only so much later, as containerd's does (45 ms). */
  readonly exitLagMs?: number;
  /** The agent gets no events; whoever else listens does. */
  readonly deaf?: boolean;
  /** Statuses reach the API so much later; what an agent has not written when it dies is lost. */
  readonly statusLagMs?: number;
}

/** More calls than this at one moment are a loop that does not end. */
const HOT_CALLS = 400;

/** A node with a fake runtime and network and a real pods room, on a clock that the test moves. */
export class PodWorld {
  readonly clock = new ManualClock();
  readonly cri: FakeCri;
  readonly network: FakeProbe;
  readonly localReadiness = new LocalReadiness(() => {});
  readonly pods = new PodsInMemory();
  readonly parts: PartsInMemory;
  /** Bytes by pod: the most that a pod ever used; pods that are not here cannot be asked about. */
  readonly memoryPeaks = new Map<string, number>();
  readonly events: RecordedEvent[] = [];
  /** What the agent knows of its Node, and what the API would answer if it asked. */
  node: Node | undefined = {
    metadata: { name: 'n' },
    status: { allocatable: { cpu: '8', memory: '8Gi', pods: '110' } },
  };
  nodeInApi: Node | undefined;
  /** The conditions of pressure that the node has. */
  pressure: string[] = [];
  /** What the agent logged as an error: a run that threw, a listener that failed. */
  readonly errors: string[] = [];
  /** How often the agent asked the runtime for what. */
  readonly calls = new Map<string, number>();
  /** Of the agent that runs. */
  metrics = new Metrics();
  /** How often the agent made up its mind about a pod. */
  looks = 0;
  /** The call that the agent repeated without end at one moment; it is not answered any more. */
  hot: string | undefined;
  private readonly exits = new Map<string, { readonly atMs: number; readonly code: number }>();
  private callsNow = { at: 0, count: 0 };
  private readonly options: PodWorldOptions;
  private agent: { stop: AbortController; done: Promise<unknown>; probes: ProbeScheduler; loop: PodLoop } | undefined;
  private serial = 0;

  constructor(options: PodWorldOptions = {}) {
    this.options = options;
    this.cri = new FakeCri(options, { clock: this.clock });
    this.network = new FakeProbe({ clock: this.clock });
    this.parts = new PartsInMemory(this.cri);
    if (options.exitLagMs !== undefined) void this.noteExits();
  }

  /** The pod loop of the agent that runs now. */
  get loop(): PodLoop {
    if (this.agent === undefined) throw new Error('no agent runs');
    return this.agent.loop;
  }

  /** Starts an agent that remembers nothing. */
  async start(): Promise<void> {
    const { clock, pods } = this;
    const stop = new AbortController();
    const cri = this.counted(stop.signal);
    const statuses = this.statuses(stop.signal);
    const log = this.logger();
    const { maxCrashBackoffMs = 300_000 } = this.options;
    const metrics = new Metrics();
    this.metrics = metrics;
    const events: EventRecorder = {
      event: (about, type, reason, message) => {
        this.events.push({ atMs: clock.now(), pod: about.name ?? '', type, reason, message });
      },
    };
    const runtime = new RuntimeCache(
      { relistMs: 1000, relistWithEventsMs: 5000 },
      { cri, clock, log, finalMessage: async () => '', metrics: new RelistMetrics(metrics) },
    );
    const health = new RuntimeHealth({ cri, clock, log });
    const probes = new ProbeScheduler(
      {},
      { clock, probes: this.network, runtime: cri, events, metrics, log, random: () => 0.5 },
    );
    const podMetrics = new PodMetrics(metrics, runtime);
    const executor = new StepExecutor(
      {
        podLogsDir: '/var/log/pods',
        clusterDomain: 'cluster.local',
        security: { seccompProfileRoot: '/seccomp', seccompDefault: false },
        maxCrashBackoffMs,
      },
      {
        cri,
        runtime,
        parts: this.parts,
        images: new ImagePuller(
          { maxParallelPulls: 1, pullQPS: 5, pullBurst: 10 },
          {
            cri,
            credentials: new ImageCredentials({ objects: noObjects, places: [], event: () => {}, log }),
            guard: unguarded,
            metrics: new ImageMetrics(metrics),
            clock,
            event: (pod, container, type, reason, message) =>
              events.event(containerReference(pod, container.name), type, reason, message),
          },
        ),
        hooks: new HookRunner({ runtime: cri, probes: this.network, clock, events, metrics }),
        events,
        statuses,
        dns: () => ({ config: { servers: [], searches: [], options: [] }, warnings: [] }),
        runtimeHandler: async () => '',
        metrics: podMetrics,
        clock,
        log,
        endpointsLeft: this.options.endpointsLeft ?? (async () => {}),
        again: (uid) => loop.request(uid),
      },
    );
    const loop: PodLoop = new PodLoop(
      { resyncMs: 60_000 },
      {
        pods,
        ...(this.options.sources === undefined ? {} : { sources: this.options.sources }),
        runtime,
        health,
        executor,
        probes,
        statuses,
        events,
        localReadiness: this.localReadiness,
        admit: (pod, others) =>
          this.node === undefined
            ? undefined
            : admitPod(pod, others, {
                node: this.node,
                pressure: this.pressure,
                allowedUnsafeSysctls: [],
                kernelVersion: '6.12.0',
                appArmorEnabled: false,
              }),
        refreshNode: async () => {
          this.node = this.nodeInApi;
        },
        refreshVolumes: async () => ({}),
        qosOf: qosClassOf,
        ...(this.options.declaredFeatures === undefined ? {} : { declaredFeatures: this.options.declaredFeatures }),
        hostIPs: () => {
          this.looks++;
          return ['192.0.2.9'];
        },
        runtimeName: () => 'containerd',
        recursiveReadOnly: () => false,
        cgroupOf: () => ({ cpuShares: 2, cpuQuota: -1, cpuPeriod: 100_000, memoryLimit: -1 }),
        memoryPeak: async (pod) => this.memoryPeaks.get(pod.metadata.name ?? ''),
        metrics: podMetrics,
        clock,
        log,
      },
    );
    const housekeeping = this.housekeeping(() => loop.knownUids());
    const done = Promise.all([
      runtime.run(stop.signal),
      health.run(stop.signal),
      loop.run(stop.signal),
      runtime.whenListed().then(() => housekeeping.run(stop.signal)),
    ]);
    this.agent = { stop, done, probes, loop };
    await clock.advance(20);
  }

  /** Writes the latest status of each pod, and its end after that, as one agent does. */
  private statuses(gone: AbortSignal): PodStatusWriter {
    const { pods, clock } = this;
    const { statusLagMs = 0 } = this.options;
    if (statusLagMs === 0) return pods;
    const wanted = new Map<string, { status?: PodStatus; finalize?: boolean }>();
    const write = (pod: PodIdentity, what: { status?: PodStatus; finalize?: boolean }): void => {
      const before = wanted.get(pod.uid);
      wanted.set(pod.uid, { ...before, ...what });
      if (before !== undefined) return;
      clock.after(statusLagMs, () => {
        const { status, finalize } = wanted.get(pod.uid) ?? {};
        wanted.delete(pod.uid);
        if (gone.aborted) return;
        if (status !== undefined) pods.set(pod, status);
        if (finalize === true) pods.finalize(pod);
      });
    };
    return {
      set: (pod, status) => write(pod, { status }),
      finalize: (pod) => write(pod, { finalize: true }),
      forget: () => {},
    };
  }

  private housekeeping(known: () => ReadonlySet<string>): Housekeeping {
    const { parts, clock } = this;
    return new Housekeeping(
      { podLogsDir: '/logs', everyMs: 10_000, linksEveryMs: 60_000 },
      {
        knownUids: () => new Set([...known(), ...[...this.pods.values()].map(({ metadata }) => metadata.uid ?? '')]),
        volumes: { existing: async () => [...parts.volumes], tearDown: (uid) => parts.tearDownVolumes(uid) },
        cgroups: {
          orphans: async (uids) => [...parts.cgroups].filter((uid) => !uids.has(uid)),
          remove: (uid) => parts.removeCgroup(uid),
        },
        files: {
          list: async () => [...parts.logs].map((uid) => `ns_pod_${uid}`),
          removeTree: (path) => parts.removeLogDirectory({ uid: path.split('_').at(-1) ?? '' }),
        },
        removeDanglingLinks: async () => {},
        failed: () => {},
        metrics: new Metrics(),
        clock,
        log: this.logger(),
      },
    );
  }

  private logger(): Logger {
    const log: Logger = {
      ...silent,
      error: (fields, message) => this.errors.push(`${message}: ${JSON.stringify(fields)}`),
      child: () => log,
    };
    return log;
  }

  /**
   * The runtime as one agent has it: calls are counted, an endless loop of them is cut, and when the agent is gone it
   * neither calls nor hears an answer any more.
   */
  private counted(gone: AbortSignal): CriRuntime {
    const never = new Promise<never>(() => {});
    return new Proxy<CriRuntime>(this.cri, {
      get: (cri, key, receiver) => {
        const member: unknown = Reflect.get(cri, key, receiver);
        if (typeof member !== 'function' || typeof key !== 'string') return member;
        if (key === 'watchEvents') return (...args: Parameters<CriRuntime['watchEvents']>) => this.listen(...args);
        return (...args: unknown[]): unknown => {
          if (gone.aborted) return never;
          this.calls.set(key, (this.calls.get(key) ?? 0) + 1);
          if (this.callsNow.at !== this.clock.now()) this.callsNow = { at: this.clock.now(), count: 0 };
          if (++this.callsNow.count > HOT_CALLS) {
            this.hot ??= `${key} ${JSON.stringify(args)}`;
            return never;
          }
          const answer: unknown = member.apply(cri, args);
          const heard = <T>(end: T): T | Promise<never> => (gone.aborted ? never : end);
          if (!(answer instanceof Promise)) return answer;
          return this.late(key, String(args[0]), answer).then(heard, (error: unknown) =>
            gone.aborted ? never : Promise.reject(error),
          );
        };
      },
    });
  }

  private listen(listener: RuntimeEventListener, signal: AbortSignal): Promise<'aborted' | 'unsupported'> {
    const { exitLagMs = 0, deaf = false } = this.options;
    if (deaf) return Promise.resolve('unsupported');
    if (exitLagMs === 0) return this.cri.watchEvents(listener, signal);
    return this.cri.watchEvents(
      {
        onGap: () => listener.onGap(),
        onEvent: (event) => {
          const exit = this.exits.get(event.id);
          if (event.type !== 'stopped' || exit === undefined) return listener.onEvent(event);
          listener.onEvent({ ...event, type: 'exited', exitCode: exit.code });
          this.clock.after(exitLagMs, () => {
            if (!signal.aborted) listener.onEvent(event);
          });
        },
      },
      signal,
    );
  }

  /** Remembers when which process ended: the CRI's answers are held back by it. */
  private async noteExits(): Promise<void> {
    await this.cri.watchEvents(
      {
        onGap: () => {},
        onEvent: ({ type, id, atMs }) => {
          const code = type === 'stopped' ? this.cri.exitCodeOf(id) : undefined;
          if (code !== undefined) this.exits.set(id, { atMs, code });
        },
      },
      new AbortController().signal,
    );
  }

  private isLate(id: string): boolean {
    const exit = this.exits.get(id);
    return exit !== undefined && this.clock.now() < exit.atMs + (this.options.exitLagMs ?? 0);
  }

  /** What the CRI says while it has not noted an exit yet. */
  private async late(operation: string, id: string, answer: Promise<unknown>): Promise<unknown> {
    const result = await answer;
    if (operation === 'stopContainer') {
      while (this.isLate(id)) await this.clock.sleep(1);
    }
    if (operation === 'containerStatus' && this.isLate(id)) {
      const before = { state: 'RUNNING', finishedAt: 0, exitCode: 0, reason: '', message: '' };
      return { ...(result as object), ...before };
    }
    if (operation !== 'listContainers') return result;
    return (result as CriContainer[]).map((c) => (this.isLate(c.id) ? { ...c, state: 'RUNNING' as const } : c));
  }

  /** The agent is gone from one moment to the next; what runs runs on. */
  async stop(): Promise<void> {
    const { agent } = this;
    this.agent = undefined;
    agent?.stop.abort();
    void agent?.probes.close();
    await this.clock.advance(1);
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  apply(name: string, spec: Partial<PodSpec> = {}): void {
    for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
      if (container.image !== undefined) this.cri.addImage(container.image);
    }
    this.cri.addImage('app:1');
    this.applyRaw(name, spec);
  }

  /** As apply, without putting any image on the node. */
  applyRaw(name: string, spec: Partial<PodSpec> = {}): void {
    this.pods.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'ns', uid: `uid-${name}-${++this.serial}` },
      spec: { containers: [{ name: 'app', image: 'app:1' }], restartPolicy: 'Always', ...spec },
    });
  }

  delete(name: string, graceSeconds = 30): void {
    const pod = this.pods.get(`ns/${name}`);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    this.pods.put({
      ...pod,
      metadata: {
        ...pod.metadata,
        deletionTimestamp: new Date(this.clock.now()).toISOString(),
        deletionGracePeriodSeconds: graceSeconds,
      },
    });
  }

  status(name: string): PodStatus | undefined {
    return this.pods.get(`ns/${name}`)?.status;
  }

  isReady(name: string): boolean {
    return this.status(name)?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
  }

  containerStatus(name: string, container = 'app'): ContainerStatus | undefined {
    const status = this.status(name);
    return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].find(
      (entry) => entry.name === container,
    );
  }

  reasons(name: string): string[] {
    return this.events.filter(({ pod }) => pod === name).map(({ reason }) => reason);
  }

  /** Nothing of any pod is left on the node. */
  isClean(): boolean {
    const { sandboxes, containers } = this.cri.counts;
    return [sandboxes, containers, this.parts.cgroups.size, this.parts.volumes.size, this.parts.logs.size].every(
      (count) => count === 0,
    );
  }
}
