import type { EventRecorder, PodStatusWriter, View } from '../cluster/port.ts';
import type { CgroupLimits } from '../host/cgroup/port.ts';
import type { BackoffOptions } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import { KeyedQueue, type RunResult } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import { keyOf } from '../model/meta.ts';
import type { Pod, PodPhase, PodStatus, QOSClass } from '../model/pod.ts';
import { isStaticPod } from '../model/static-pod.ts';
import type { StepExecutor } from './act/executors.ts';
import { containerReference } from './act/references.ts';
import { featuresNeededBy } from './admit/needed-features.ts';
import { byAdmission, PodAdmitter, type PodAdmitterDeps, wasAdmitted } from './admit/pod-admitter.ts';
import type { Plan, PlanInput } from './diff/plan.ts';
import { planPod } from './diff/plan-pod.ts';
import { failureKey, runKey, type Step } from './diff/step.ts';
import type { PodEnd } from './facts.ts';
import { identityOf, podText } from './identity.ts';
import type { LocalReadiness } from './local-readiness.ts';
import { MemoryDoubts, type MemoryDoubtsDeps } from './observe/memory-doubts.ts';
import { type ContainerRecord, isAlive, nothingRuns, type PodRuntime, readySandbox } from './observe/pod-runtime.ts';
import type { RuntimeCache } from './observe/runtime-cache.ts';
import type { RuntimeHealth } from './observe/runtime-health.ts';
import { orphanPod } from './orphan-pod.ts';
import type { PodMetrics } from './pod-metrics.ts';
import { type PodStanding, staticOf } from './pod-population.ts';
import { PodState } from './pod-state.ts';
import { probeTargets } from './probe-targets.ts';
import type { ProbeManager } from './probes/port.ts';
import { PodResizer } from './resize/pod-resizer.ts';
import type { ResizeConditions } from './resize/resize-conditions.ts';
import { ResizeMetrics } from './resize/resize-metrics.ts';
import type { ResizeRules } from './resize/resize-rules.ts';
import type { ResourceState } from './resize/resource-state.ts';
import type { PodSources } from './sources/port.ts';
import { isStaticPodUid } from './sources/static-pod-uid.ts';
import { podStatus } from './status/pod-status.ts';
import { rpcErrorText, StepError } from './step-error.ts';
import { ATTACH_LIMIT } from './volumes/volume-errors.ts';
import type { WorkerOperation } from './worker-times.ts';

export interface PodLoopOptions {
  /** Each pod is looked at again at least this often (kubelet syncFrequency, 60,000 ms). */
  readonly resyncMs: number;
}

export interface PodLoopDeps {
  /** The pods bound to this node. */
  readonly pods: View<Pod>;
  /** Says which absent pods are unwanted; by default all are. */
  readonly sources?: PodSources;
  readonly runtime: RuntimeCache;
  readonly health: RuntimeHealth;
  readonly executor: StepExecutor;
  readonly probes: ProbeManager;
  readonly statuses: PodStatusWriter;
  readonly events: EventRecorder;
  readonly localReadiness: LocalReadiness;
  /** Asked of a pod that has not started. */
  readonly admit: PodAdmitterDeps['admit'];
  readonly refreshNode: PodAdmitterDeps['refreshNode'];
  readonly allocate?: PodAdmitterDeps['allocate'];
  /** What pods were granted and what is in force of it; without, no pod is resized. */
  readonly resize?: {
    readonly rules: ResizeRules;
    readonly allocated: ResourceState;
    readonly actuated: ResourceState;
    readonly cgroupOutdated: (pod: Pod) => boolean;
    readonly metrics: Metrics;
  };
  readonly refreshVolumes: (pod: Pod) => Promise<{ readonly againAtMs?: number }>;
  readonly qosOf: (pod: Pod) => QOSClass;
  /** What the Node says that it can (status.declaredFeatures); undefined: it says nothing of the kind. */
  readonly declaredFeatures?: readonly string[];
  readonly hostIPs: () => readonly string[];
  readonly runtimeName: () => string;
  /** Whether the pod's runtime handler can make mounts read-only in depth. */
  readonly recursiveReadOnly: (pod: Pod) => boolean;
  /** What a pod's cgroup is set to. */
  readonly cgroupOf: (pod: Pod) => CgroupLimits;
  readonly memoryPeak: MemoryDoubtsDeps['memoryPeak'];
  readonly metrics: PodMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

const QUICK: BackoffOptions = { baseMs: 500, maxMs: 10_000, resetAfterMs: 60_000 };
const IMAGE: BackoffOptions = { baseMs: 10_000, maxMs: 300_000 };

/**
 * How long the status waits at most for the runtime to say how a container ended, so that the API never hears a wrong
 * reason. It says so within 50 ms, but a machine under heavy load may take seconds (the cache asks at 150, 300, 600 ms).
 */
const EXIT_DETAILS_MS = 3000;
/** The same for the runtime's notice that it was for want of memory, which may come after that of the end. */
const OUT_OF_MEMORY_MS = 1000;
/** The same for what is about to change again. */
const PASSING_MS = 1000;
/** A static pod that waits for another one of its name is looked at again after this long. */
const SAME_NAME_MS = 1000;
/** A pod that waits for its admission is looked at again after this long. */
const ADMISSION_MS = 250;
/** What a runtime is given beyond a pod's grace before nobody waits for its end any more (pod_workers.go killPodNow). */
const LEAST_KILL_MS = 10_000;

/** Steps that start a pod; they are cut off when it must end. */
const STARTING: ReadonlySet<Step['do']> = new Set([
  'prepare',
  'ensureCgroup',
  'resizePod',
  'createSandbox',
  'ensureImage',
  'startContainer',
]);

/**
 * Brings each pod to what is wanted of it: observe, diff, act. One run per pod at a time, pods never wait for each
 * other: a run only starts steps and returns; each step's end makes the pod run again.
 */
export class PodLoop {
  private readonly deps: PodLoopDeps;
  private readonly states = new Map<string, PodState>();
  private readonly queue: KeyedQueue;
  private readonly admitter: PodAdmitter;
  private readonly memoryDoubts: MemoryDoubts;
  private readonly resizer: PodResizer | undefined;
  private readonly underWay = new Set<Promise<void>>();
  private closing = false;
  private startedAt = 0;

  constructor(options: PodLoopOptions, deps: PodLoopDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (uid) => this.runPod(uid), {
      maxIntervalMs: options.resyncMs,
      retry: { baseMs: 100, maxMs: 10_000 },
      onError: (uid, error) =>
        deps.log.error({ uid, error: messageOf(error), stack: stackOf(error) }, 'pod run failed'),
    });
    const { admit, allocate, refreshNode, memoryPeak, events, metrics, log } = deps;
    this.memoryDoubts = new MemoryDoubts({ memoryPeak, again: (uid) => this.request(uid) });
    this.admitter = new PodAdmitter({
      admit,
      ...(allocate === undefined ? {} : { allocate }),
      refreshNode,
      events,
      metrics,
      log,
      states: () => this.states.values(),
      isStopped: (state) => this.isStopped(state),
      evict: (uid, end) => this.evict(uid, end),
      again: (uid) => this.request(uid),
      admitted: (state) => this.resizer?.admitted(state),
    });
    this.resizer = this.makeResizer();
    metrics.population.follow(() => this.standings());
  }

  private makeResizer(): PodResizer | undefined {
    const { resize, admit, sources, pods, events, clock, log } = this.deps;
    if (resize === undefined) return undefined;
    const { rules, metrics, ...states } = resize;
    const conditions = (): Iterable<ResizeConditions> => [...this.states.values()].map((state) => state.resize);
    return new PodResizer(rules, {
      ...states,
      stateOf: (uid) => this.states.get(uid),
      others: (state) => this.admitter.others(state),
      admit,
      preempt: (pod, admission) => this.admitter.preempt(pod, admission),
      complete: () => pods.synced && (sources?.complete ?? true),
      again: (uid) => this.request(uid),
      events,
      metrics: new ResizeMetrics(metrics, conditions),
      clock,
      log,
    });
  }

  /** Waits for the caches, adopts what runs, then follows changes until aborted; leaves all containers running. */
  async run(signal: AbortSignal): Promise<void> {
    const { pods, runtime, probes, health } = this.deps;
    await Promise.all([pods.whenSynced(signal), runtime.whenListed()]);
    if (signal.aborted) return;
    this.startedAt = this.deps.clock.now();
    const stops = [
      pods.subscribe(({ previous, current }) => {
        for (const pod of [previous, current]) if (pod?.metadata.uid !== undefined) this.request(pod.metadata.uid);
      }),
      runtime.subscribe((uid) => this.request(uid)),
      probes.subscribe(({ podUid }) => this.request(podUid)),
      health.subscribe(({ runtimeReady, networkReady }) => {
        // What failed for want of the runtime need not sit out its back-off.
        if (runtimeReady && networkReady) for (const state of this.states.values()) state.retryNow();
        for (const uid of this.states.keys()) this.request(uid);
      }),
    ];
    const stopSources = this.deps.sources?.onComplete(() => {
      for (const uid of [...this.states.keys(), ...runtime.uids()]) this.request(uid);
    });
    if (stopSources !== undefined) stops.push(stopSources);
    for (const uid of this.firstUids()) this.request(uid);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.closing = true;
    for (const stop of stops) stop();
    this.resizer?.close();
    await this.queue.close();
  }

  /** All pods, in the order in which they are let in: what runs already has its place before anything new gets one. */
  private firstUids(): string[] {
    const { pods, runtime } = this.deps;
    const running = new Set(runtime.uids());
    const known = (pod: Pod): boolean => wasAdmitted(pod, running.has(pod.metadata.uid ?? ''));
    const wanted = [...pods.values()].sort(byAdmission(known)).map(({ metadata }) => metadata.uid ?? '');
    const uids = [...new Set([...wanted, ...running])].filter((uid) => uid !== '');
    for (const uid of uids) this.stateOf(uid);
    return uids;
  }

  /** Asks for a run of one pod. */
  request(uid: string): void {
    if (this.closing) return;
    if (!this.states.has(uid)) this.deps.metrics.workers.seen(uid, this.deps.clock.monotonic());
    this.queue.request(uid);
  }

  /** An object that these pods use has changed: rewrite their volumes and try at once what failed for lack of it. */
  objectChanged(uids: Iterable<string>): void {
    for (const uid of uids) {
      const state = this.states.get(uid);
      if (state === undefined) continue;
      state.volumesStale = true;
      // A registry is not asked more often because some ConfigMap changes.
      state.retryNow((key) => !key.startsWith('image/'));
      this.request(uid);
    }
  }

  /**
   * Ends a pod for this node's sake: its containers are stopped within their grace (or `end.graceSeconds`), then it is
   * Failed with the reason and message, and the condition DisruptionTarget. Resolves when nothing of it runs any more, or
   * when the runtime takes far longer than the grace: it goes on trying then.
   */
  evict(uid: string, end: PodEnd): Promise<void> {
    const state = this.states.get(uid);
    if (state === undefined || (state.ending && this.isStopped(state))) return Promise.resolve();
    state.end ??= end;
    if (end.evicted) state.discard = true;
    this.request(uid);
    const graceMs = (end.graceSeconds ?? state.pod.spec.terminationGracePeriodSeconds ?? 30) * 1000;
    const { clock, events } = this.deps;
    return new Promise((resolve) => {
      const timer = clock.after(Math.max(LEAST_KILL_MS, 1.5 * graceMs), () => {
        const message = 'Container runtime did not kill the pod within specified grace period.';
        events.event(containerReference(state.pod), 'Warning', 'ExceededGracePeriod', message);
        resolve();
      });
      state.whenStopped.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Pods that this node runs or is about to run: admitted, and not over. */
  unfinishedPods(): Pod[] {
    const active: Pod[] = [];
    for (const state of this.states.values()) {
      const phase = state.lastStatus?.phase;
      if (state.intent === 'gone' || state.admission !== 'granted') continue;
      if (phase === 'Succeeded' || phase === 'Failed' || (state.ending && this.isStopped(state))) continue;
      active.push(state.pod);
    }
    return active;
  }

  /** Nothing of the pod is left on this node but its object, and what is kept of its containers. */
  isReclaimed(uid: string): boolean {
    const state = this.states.get(uid);
    if (state === undefined) return true;
    const kept = state.discard && this.deps.runtime.get(uid) !== undefined;
    return state.ending && this.isStopped(state) && state.volumesGone && state.cgroupGone && !kept;
  }

  /**
   * Removes the containers and logs of pods that have ended although the API still has them: the node is short of disk.
   * Resolves when they are gone; what a runtime does not remove within `patienceMs` is not waited for.
   */
  async discardEnded(patienceMs: number): Promise<void> {
    const { runtime, clock } = this.deps;
    const left = new Set<string>();
    for (const [uid, state] of this.states) {
      if (!this.isReclaimed(uid) || runtime.get(uid) === undefined) continue;
      state.discard = true;
      left.add(uid);
      this.request(uid);
    }
    if (left.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(patienceMs, () => done());
      const stop = runtime.subscribe((uid) => {
        if (runtime.get(uid) === undefined) left.delete(uid);
        if (left.size === 0) done();
      });
      const done = (): void => {
        timer.cancel();
        stop();
        resolve();
      };
    });
  }

  /** UIDs that this loop still has to do with; what belongs to others on the host is left over. */
  knownUids(): ReadonlySet<string> {
    return new Set([...this.states.keys(), ...this.deps.runtime.uids()]);
  }

  /** The pods that were let in and hold their resources, with what runs of them. */
  activePods(): { readonly pod: Pod; readonly runtime: PodRuntime | undefined }[] {
    return [...this.states.values()]
      .filter((state) => {
        const over = state.ending || state.intent === 'gone' || isFinal(state.lastStatus?.phase);
        return state.admission === 'granted' && !(over && this.isStopped(state));
      })
      .map(({ pod, identity }) => ({ pod, runtime: this.deps.runtime.get(identity.uid) }));
  }

  get size(): number {
    return this.states.size;
  }

  private *standings(): Generator<PodStanding> {
    for (const state of this.states.values()) {
      const { pod, ending, intent, admission, lastStatus, foundInRuntime } = state;
      const over = ending || intent === 'gone' || isFinal(lastStatus?.phase);
      const stopped = over && this.isStopped(state);
      yield {
        pod,
        lifecycle: !ending ? 'sync' : stopped ? 'terminated' : 'terminating',
        config: intent !== 'gone' ? 'desired' : foundInRuntime ? 'runtime_only' : 'orphan',
        active: admission === 'granted' && !stopped,
      };
    }
  }

  /** What was made of a pod last. */
  statusOf(uid: string): PodStatus | undefined {
    return this.states.get(uid)?.lastStatus;
  }

  private runPod(uid: string): RunResult {
    const since = this.deps.clock.monotonic();
    const state = this.stateOf(uid);
    const { workers } = this.deps.metrics;
    if (state === undefined) {
      this.queue.forget(uid);
      workers.forget(uid);
      return undefined;
    }
    workers.began(uid, since);
    // What is not known must not be planned upon: a container that is not seen would be made a second time.
    if (this.deps.runtime.unreadable(uid) !== undefined) return undefined;
    if (!this.hasTurn(state)) return { againInMs: SAME_NAME_MS };
    if (!this.admitter.mayGoOn(state)) return { againInMs: ADMISSION_MS };
    this.resizer?.settle();
    const input = this.observe(state);
    // Before the plan: adopted containers keep the results that the API has of them.
    this.runProbes(state, input);
    const plan = planPod(input);
    if (plan.mode !== 'sync' && !state.starting.signal.aborted) {
      state.starting.abort(new CodedError('Aborted', 'the pod is being ended'));
    }
    if (input.resize !== undefined) {
      this.resizer?.follow(state, input.runtime, input.resize, plan.mode === 'sync');
    }
    this.report(state, input, plan);
    for (const step of plan.steps) this.start(step, state);
    this.freshenVolumes(state, plan);
    const times = { since, now: this.deps.clock.monotonic() };
    workers.ran(uid, operationOf(state, plan), times, state.running.size > 0);
    if (state.ending && this.isStopped(state)) for (const tell of state.whenStopped.splice(0)) tell();
    if (this.isDone(state, plan)) {
      this.forget(state);
      return undefined;
    }
    const { clock } = this.deps;
    const delays = [
      ...(plan.againAt === undefined ? [] : [plan.againAt - clock.now()]),
      ...(state.volumesAgainAt === undefined ? [] : [state.volumesAgainAt - clock.monotonic()]),
    ];
    return delays.length === 0 ? undefined : { againInMs: Math.max(1, Math.min(...delays)) };
  }

  // ── observe ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private stateOf(uid: string): PodState | undefined {
    const { pods, runtime, clock } = this.deps;
    let state = this.states.get(uid);
    const known = state === undefined ? this.findInView(uid) : pods.get(keyOf(state.pod));
    // Two sources may have pods of one name.
    const pod = known?.metadata.uid === uid ? known : this.findInView(uid);
    const judged = this.deps.sources?.judges(uid) ?? true;
    if (state === undefined) {
      const observed = runtime.get(uid);
      if (pod === undefined && (observed === undefined || !judged)) return undefined;
      const object = pod ?? (observed === undefined ? undefined : orphanPod(observed));
      if (object === undefined) return undefined;
      state = new PodState(this.granted(object), pod === undefined ? 'gone' : 'run', clock.now());
      state.desired = object;
      this.states.set(uid, state);
      this.countNew(state, pod);
      if (wasAdmitted(pod, observed !== undefined)) {
        state.admission = 'granted';
        this.resizer?.admitted(state);
      }
      this.resizer?.changed(state, undefined);
    }
    if (pod !== undefined) {
      const before = state.desired;
      state.adopt(this.granted(pod), pod);
      this.deps.metrics.starts.watched(pod, clock.now());
      if (before !== pod) {
        this.tellOfFeatures(before, pod);
        this.resizer?.changed(state, before);
      }
    }
    // Nobody has said yet that it is unwanted: it goes on as it is.
    if (pod === undefined && !judged) return state;
    // A static pod may come back under its UID: first it ends, then it begins anew.
    const gone = pod === undefined || (state.intent === 'gone' && state.ending);
    state.intent = gone ? 'gone' : pod.metadata.deletionTimestamp === undefined ? 'run' : 'delete';
    return state;
  }

  private tellOfFeatures(before: Pod, pod: Pod): void {
    const { declaredFeatures, events } = this.deps;
    if (declaredFeatures === undefined) return;
    const missing = featuresNeededBy(before, pod).filter((feature) => !declaredFeatures.includes(feature));
    if (missing.length === 0) return;
    const message = `Pod requires node features that are not available: ${missing.join(', ')}`;
    events.event(containerReference(pod), 'Warning', 'FailedNodeDeclaredFeaturesCheck', message);
  }

  private countNew(state: PodState, pod: Pod | undefined): void {
    const { containersPerPod, orphanedRuntimePods, starts } = this.deps.metrics;
    if (state.foundInRuntime || pod === undefined) orphanedRuntimePods.inc();
    else {
      containersPerPod.observe(pod.spec.containers.length);
      starts.met(pod);
    }
  }

  private granted(pod: Pod): Pod {
    return this.resizer?.granted(pod) ?? pod;
  }

  /**
   * A static pod waits until every other one of its name has ended, in the order in which they came (pod_workers.go
   * allowPodStart): they share files, ports and the name in the API.
   */
  private hasTurn(state: PodState): boolean {
    const { uid, namespace, name } = state.identity;
    if (state.hasTurn || state.intent !== 'run' || !isStaticPod(state.pod)) return true;
    let first = true;
    if (this.deps.runtime.get(uid) === undefined) {
      for (const other of this.states.values()) {
        if (other === state) {
          first = false;
          continue;
        }
        if (other.identity.name !== name || other.identity.namespace !== namespace) continue;
        if (!isStaticPod(other.pod) && other.intent === 'run') continue;
        // Of those that wait as well only the earlier ones go first.
        const waits = other.intent === 'run' && !other.hasTurn;
        if (waits ? first : !(other.volumesGone && other.cgroupGone)) return false;
      }
    }
    state.hasTurn = true;
    return true;
  }

  /** A static pod of this name ("namespace/name") is being ended. */
  isEndingStatic(key: string): boolean {
    for (const { identity, pod, intent, ending, volumesGone, cgroupGone } of this.states.values()) {
      if (podText(identity) !== key || (intent !== 'gone' && !ending) || (volumesGone && cgroupGone)) continue;
      if (isStaticPod(pod) || isStaticPodUid(identity.uid)) return true;
    }
    return false;
  }

  /** Nothing of the pod runs and nothing is being started: its ports, its memory and its cores are free. */
  private isStopped(state: PodState): boolean {
    const observed = this.deps.runtime.get(state.identity.uid);
    if (state.running.has('start') || state.running.has('createSandbox')) return false;
    return observed === undefined || (!observed.containers.some(isAlive) && readySandbox(observed) === undefined);
  }

  private findInView(uid: string): Pod | undefined {
    for (const pod of this.deps.pods.values()) if (pod.metadata.uid === uid) return pod;
    return undefined;
  }

  private observe(state: PodState): PlanInput {
    const { runtime, probes, health, clock } = this.deps;
    const { uid, namespace, name } = state.identity;
    const observed = runtime.get(uid) ?? nothingRuns(uid, namespace, name);
    const resize = this.resizer?.factsOf(state, observed);
    return {
      pod: state.pod,
      intent: state.intent,
      runtime: observed,
      ...(resize === undefined ? {} : { resize }),
      facts: state,
      probe: (containerId, kind) => probes.result(containerId, kind),
      node: { networkReady: health.state.networkReady, networkMessage: health.state.networkProblem ?? '' },
      now: clock.now(),
    };
  }

  // ── report ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private report(state: PodState, input: PlanInput, plan: Plan): void {
    if (state.intent === 'gone') return;
    this.reportBackoff(state, plan);
    this.reportNetwork(state, input, plan);
    const { statuses, hostIPs, qosOf, runtimeName, recursiveReadOnly, cgroupOf } = this.deps;
    const status = podStatus({
      input,
      plan,
      hostIPs: hostIPs(),
      qosClass: qosOf(state.pod),
      runtimeName: runtimeName(),
      recursiveReadOnly: recursiveReadOnly(state.pod),
      cgroup: cgroupOf(state.pod),
      resize: state.resize.list,
    });
    this.tellReadiness(state, status);
    const settled = this.settledAt(state, input, plan);
    if (settled > input.now) {
      this.queue.request(state.identity.uid, settled - input.now);
      return;
    }
    const text = JSON.stringify(status);
    if (text === state.lastStatusText) return;
    state.lastStatusText = text;
    const ended = isFinal(status.phase) && !isFinal(state.lastStatus?.phase);
    state.lastStatus = status;
    if (ended) this.resizer?.retry('pod_terminated');
    statuses.set(state.identity, status);
    this.deps.metrics.starts.told(state.pod, status, input.runtime);
    // What it told of may go now.
    if (state.discard) this.request(state.identity.uid);
  }

  /** When (milliseconds since the epoch) what the runtime shows can be told: what lasts for an instant is not told at all. */
  private settledAt(state: PodState, { runtime, now }: PlanInput, plan: Plan): number {
    const { containers } = runtime;
    const starting = state.running.has('start');
    const times = containers.map((record) => {
      const { id, name, createdAt, finishedAt, state: is } = record;
      const inStart = starting && state.containers.get(name)?.starting === id;
      if (inStart && is === 'CREATED') return createdAt + PASSING_MS;
      // The step that starts it is about to say why it could not be started.
      if (inStart && is === 'EXITED') return finishedAt + EXIT_DETAILS_MS;
      return finishedAt + this.doubtMs(state, record);
    });
    // A deleted pod whose containers have ended is about to be down altogether.
    if (state.intent === 'delete' && plan.mode === 'terminating' && !starting && !containers.some(isAlive)) {
      times.push(Math.max(0, ...containers.map(({ finishedAt }) => finishedAt)) + PASSING_MS);
    }
    return Math.max(0, ...times.filter((time) => time > now));
  }

  /** How long after a container's end (milliseconds) what the runtime says of it may still change. */
  private doubtMs(state: PodState, record: ContainerRecord): number {
    if (record.provisional) return EXIT_DETAILS_MS;
    if (state.kills.has(record.id)) return 0;
    return this.memoryDoubts.isOpen(state, record) ? OUT_OF_MEMORY_MS : 0;
  }

  /** This node's own Service rules follow a pod at once; in the host's network an address says nothing of one pod. */
  private tellReadiness(state: PodState, status: PodStatus): void {
    if (state.pod.spec.hostNetwork === true || status.podIPs === undefined) return;
    const ready = status.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True');
    if (ready === true && !state.wasReady) {
      state.wasReady = true;
      const seconds = (this.deps.clock.now() - state.seenAt) / 1000;
      if (state.adoptedStatus?.podIP === undefined) this.deps.metrics.podStart.observe(seconds);
    }
    const up = state.intent === 'run' ? 'serving' : 'terminating';
    this.deps.localReadiness.set(
      state.identity.uid,
      status.podIPs.map(({ ip }) => ip),
      ready === true ? up : 'not-ready',
    );
  }

  /** A pod that waits for the node's network is told so, once for each reason. */
  private reportNetwork(state: PodState, { node, runtime }: PlanInput, plan: Plan): void {
    const waits = plan.mode === 'sync' && state.prepared && state.pod.spec.hostNetwork !== true;
    const problem = waits && !node.networkReady && readySandbox(runtime) === undefined ? node.networkMessage : '';
    const isNews = problem !== '' && problem !== state.networkProblem;
    state.networkProblem = problem;
    if (!isNews) return;
    const message = `network is not ready: ${problem}`;
    this.deps.events.event(containerReference(state.pod), 'Warning', 'NetworkNotReady', message);
  }

  private reportBackoff(state: PodState, plan: Plan): void {
    for (const [name, { reason }] of plan.waiting) {
      if (state.backoffShown.get(name) === reason) continue;
      state.backoffShown.set(name, reason);
      const about = containerReference(state.pod, name);
      const { name: podName, namespace, uid } = state.identity;
      if (reason === 'CrashLoopBackOff') {
        const message = `Back-off restarting failed container ${name} in pod ${podName}_${namespace}(${uid})`;
        this.deps.events.event(about, 'Warning', 'BackOff', message);
      } else if (reason === 'ImagePullBackOff') {
        const image = [...state.pod.spec.containers, ...(state.pod.spec.initContainers ?? [])].find(
          (container) => container.name === name,
        )?.image;
        this.deps.events.event(about, 'Normal', 'BackOff', `Back-off pulling image "${image ?? ''}"`);
        this.deps.events.event(about, 'Warning', 'Failed', `Error: ${reason}`);
      }
    }
  }

  private runProbes(state: PodState, input: PlanInput): void {
    const targets = state.intent === 'gone' ? [] : probeTargets(state, input);
    if (targets.length === 0) this.deps.probes.remove(state.identity.uid);
    else this.deps.probes.set(state.identity.uid, targets);
  }

  // ── act ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private start(step: Step, state: PodState): void {
    const key = runKey(step);
    const { clock, metrics } = this.deps;
    const startedAt = clock.monotonic();
    const { uid } = state.identity;
    state.running.add(key);
    if (step.do === 'ensureImage') metrics.starts.pullBegan(uid, clock.now());
    let result: Promise<void> | void;
    try {
      result = this.deps.executor.execute(step, state);
    } catch (error) {
      result = Promise.reject(error);
    }
    const ended = Promise.resolve(result)
      .then(() => {
        state.stepSucceeded(failureKey(step));
        const ms = Math.round((clock.monotonic() - startedAt) * 10) / 10;
        this.deps.log.debug({ pod: podText(state.identity), ...step, ms }, 'step done');
      })
      .catch((error: unknown) => this.stepFailed(step, state, error))
      .finally(() => {
        state.running.delete(key);
        this.underWay.delete(ended);
        if (step.do === 'ensureImage') metrics.starts.pullEnded(uid, clock.now());
        this.request(uid);
      });
    this.underWay.add(ended);
  }

  private stepFailed(step: Step, state: PodState, error: unknown): void {
    if (STARTING.has(step.do) && state.starting.signal.aborted) return;
    const { log, events, clock } = this.deps;
    const reason = error instanceof StepError ? error.reason : 'FailedSync';
    const message = messageOf(error);
    const key = failureKey(step);
    const first = state.failures.get(key)?.message !== message;
    // A runtime that does not answer says nothing of the image: only a refused pull has to wait long.
    const slow = step.do === 'ensureImage' && reason !== 'ImageInspectError';
    state.stepFailed(key, reason, message, clock.now(), slow ? IMAGE : QUICK);
    log[first ? 'warn' : 'debug'](
      {
        pod: podText(state.identity),
        step: step.do,
        ...('container' in step ? { container: step.container } : {}),
        error: message,
        ...(error instanceof StepError || error instanceof CodedError ? {} : { stack: stackOf(error) }),
      },
      'a step failed',
    );
    const container = 'container' in step ? step.container : undefined;
    const about = containerReference(state.pod, container);
    switch (step.do) {
      case 'prepare':
        if (reason === ATTACH_LIMIT) this.admitter.refuse(state, { reason, message });
        else events.event(about, 'Warning', reason, message);
        return;
      case 'resizePod':
        this.resizer?.failed(state, message);
        return;
      case 'ensureImage':
        // Said once, of the sandbox itself.
        if (reason === 'FailedCreatePodSandBox') return;
        events.event(about, 'Warning', 'Failed', `Error: ${reason}`);
        return;
      case 'startContainer':
        // The hook's failure has had its event.
        if (reason === 'PostStartHookError') return;
        events.event(about, 'Warning', 'Failed', `Error: ${message}`);
        return;
      case 'createSandbox':
        events.event(about, 'Warning', reason, `Failed to create pod sandbox: ${rpcErrorText(error)}`);
        return;
      default:
        events.event(about, 'Warning', reason, message);
    }
  }

  /** Contents of ConfigMaps, Secrets, tokens and the pod's own metadata reach its volumes while it runs. */
  private freshenVolumes(state: PodState, plan: Plan): void {
    const { clock, log, refreshVolumes } = this.deps;
    const due = state.volumesAgainAt !== undefined && state.volumesAgainAt <= clock.monotonic();
    const wanted = state.volumesStale || due;
    if (!wanted || plan.mode !== 'sync' || !state.prepared || state.running.has('refreshVolumes')) return;
    state.volumesStale = false;
    state.running.add('refreshVolumes');
    void refreshVolumes(state.pod)
      .then(
        ({ againAtMs }) => {
          state.volumesAgainAt =
            againAtMs === undefined ? undefined : clock.monotonic() + Math.max(0, againAtMs - clock.now());
        },
        (error: unknown) => {
          log.warn({ pod: podText(state.identity), error: messageOf(error) }, 'volume contents could not be refreshed');
          this.deps.events.event(containerReference(state.pod), 'Warning', 'FailedMount', messageOf(error));
          state.volumesAgainAt = clock.monotonic() + 10_000;
        },
      )
      .finally(() => {
        state.running.delete('refreshVolumes');
        this.request(state.identity.uid);
      });
  }

  private isDone(state: PodState, plan: Plan): boolean {
    return plan.mode === 'terminated' && state.intent === 'gone' && state.cleanedUp && state.running.size === 0;
  }

  private forget(state: PodState): void {
    const { uid } = state.identity;
    for (const tell of state.whenStopped.splice(0)) tell();
    this.states.delete(uid);
    this.queue.forget(uid);
    this.deps.probes.remove(uid);
    this.deps.statuses.forget(uid);
    this.deps.metrics.workers.forget(uid);
    this.deps.metrics.starts.forget(uid);
    this.resizer?.gone(uid);
    this.deps.localReadiness.drop(uid);
    this.deps.log.info({ pod: podText(identityOf(state.pod)), uid }, 'pod is gone');
    // A static pod that came back meanwhile, or one of its name that waits for it.
    for (const { identity, hasTurn } of this.states.values()) {
      if (!hasTurn && identity.name === state.identity.name) this.request(identity.uid);
    }
    const back = this.findInView(uid);
    if (back === undefined) return;
    this.deps.metrics.restartedPods.inc({ static: staticOf(back) });
    this.request(uid);
  }

  /** Milliseconds since this loop began to act; undefined before. */
  get upMs(): number | undefined {
    return this.startedAt === 0 ? undefined : this.deps.clock.now() - this.startedAt;
  }
}

/** pod_workers.go, kubelettypes SyncPodType */
function operationOf(state: PodState, plan: Plan): WorkerOperation {
  const version = state.pod.metadata.resourceVersion ?? '';
  const before = state.ranVersion;
  state.ranVersion = version;
  if (plan.mode === 'terminated') return 'terminated';
  if (plan.mode !== 'sync') return 'kill';
  return before === undefined ? 'create' : before === version ? 'sync' : 'update';
}

function isFinal(phase: PodPhase | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}
