import type { EventRecorder } from '../../cluster/port.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import { podRequests } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { parseTime } from '../../model/time.ts';
import { containerReference } from '../act/references.ts';
import type { Admission, Refusal } from '../admit/admit-pod.ts';
import { podText } from '../identity.ts';
import type { PodRuntime } from '../observe/pod-runtime.ts';
import type { PodState } from '../pod-state.ts';
import { allocationOf, NOTHING_ALLOCATED, type PodAllocation, sameResources, withAllocation } from './allocation.ts';
import { resizeMessage } from './resize-message.ts';
import type { ResizeMetrics } from './resize-metrics.ts';
import { adoptedActuation, isResizeInProgress, type ResizeFacts } from './resize-plan.ts';
import { infeasible, type ResizeRules } from './resize-rules.ts';
import type { ResourceState } from './resource-state.ts';

export interface PodResizerDeps {
  /** What pods were granted, and what is in force. */
  readonly allocated: ResourceState;
  readonly actuated: ResourceState;
  readonly stateOf: (uid: string) => PodState | undefined;
  /** Every pod that was let in, as it was granted, but for this one. */
  readonly others: (state: PodState) => readonly Pod[];
  /** As of a new pod; undefined while the Node is not known. */
  readonly admit: (pod: Pod, others: readonly Pod[]) => Admission | Refusal | undefined;
  /** Ends pods so that another one fits. */
  readonly preempt: (pod: Pod, admission: Admission) => Promise<void>;
  /** The pod's cgroup is there and set to something else than this pod is to have. */
  readonly cgroupOutdated: (pod: Pod) => boolean;
  /** All sources of pods have been heard. */
  readonly complete: () => boolean;
  readonly again: (uid: string) => void;
  readonly events: EventRecorder;
  readonly metrics: ResizeMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What makes deferred resizes be tried again; kubelet's label of kubelet_pod_deferred_accepted_resizes_total. */
export type RetryTrigger =
  | 'pod_resized'
  | 'pod_updated'
  | 'pods_added'
  | 'pods_removed'
  | 'pod_terminated'
  | 'periodic_retry';

const FIRST_RETRY_MS = 30_000;
const RETRY_MS = 180_000;

/**
 * Grants pods that run other resources (KEP-1287; kubelet allocation_manager.go). A pod is planned with what it was
 * granted, whatever it asks for; a change of what it asks for waits here until the node has room for it.
 */
export class PodResizer {
  private readonly rules: ResizeRules;
  private readonly deps: PodResizerDeps;
  /** UIDs of pods whose resize waits, in the order in which they are tried. */
  private pending: string[] = [];
  private due: RetryTrigger | undefined;
  private timer: Timer | undefined;
  private readonly makingRoom = new Set<string>();
  /** By the object that the API gave: the same pod with what it was granted. */
  private readonly grantedPods = new WeakMap<Pod, { readonly allocation: PodAllocation; readonly pod: Pod }>();
  private closed = false;

  constructor(rules: ResizeRules, deps: PodResizerDeps) {
    this.rules = rules;
    this.deps = deps;
  }

  /** The pod with what it was granted in place of what it asks for. */
  granted(pod: Pod): Pod {
    const allocation = this.deps.allocated.get(pod.metadata.uid ?? '');
    if (allocation === undefined) return pod;
    const known = this.grantedPods.get(pod);
    if (known?.allocation === allocation) return known.pod;
    const granted = withAllocation(pod, allocation, this.rules.gates);
    this.grantedPods.set(pod, { allocation, pod: granted });
    return granted;
  }

  /** A pod that was let in, now or before this process began, has what it asks for unless it was granted otherwise. */
  admitted({ pod, identity }: PodState): void {
    const { allocated } = this.deps;
    if (allocated.get(identity.uid) === undefined) allocated.set(identity.uid, allocationOf(pod, this.rules.gates));
  }

  /** The API's copy of the pod is another one than before; undefined: it is the first that this process sees. */
  changed(state: PodState, before: Pod | undefined): void {
    const { desired, identity, resize } = state;
    if (before === undefined) {
      resize.adopt(desired.status?.conditions ?? []);
      if (this.differs(state)) this.push(identity.uid, 'pods_added');
      return;
    }
    if (before.spec === desired.spec) return;
    const { metrics } = this.deps;
    const asked = metrics.request(before, desired, this.rules.gates);
    if (!asked && sameResources(before.spec.resources, desired.spec.resources)) return;
    if (state.admission !== 'granted') return;
    if (this.differs(state)) this.push(identity.uid, 'pod_updated');
    else resize.clearPending();
  }

  /** Something has given room back. */
  retry(trigger: RetryTrigger): void {
    if (this.pending.length > 0) this.due ??= trigger;
  }

  /** Tries the resizes that wait, if anything has happened that lets some of them through. */
  settle(): void {
    const trigger = this.due;
    if (trigger === undefined || this.closed) return;
    if (!this.deps.complete()) {
      this.schedule(FIRST_RETRY_MS);
      return;
    }
    this.due = undefined;
    const left: string[] = [];
    for (const uid of this.pending) {
      const state = this.deps.stateOf(uid);
      if (state === undefined || state.intent !== 'run' || state.ending) continue;
      const wasDeferred = state.resize.pending?.reason === 'Deferred';
      const before = JSON.stringify(state.resize.list);
      const outcome = this.decide(state);
      if (outcome === 'waits') left.push(uid);
      if (outcome === 'granted' && wasDeferred) this.deps.metrics.deferredAccepted.inc({ retry_trigger: trigger });
      if (outcome === 'granted' || JSON.stringify(state.resize.list) !== before) this.deps.again(uid);
    }
    this.pending = left;
    if (left.length > 0) this.schedule(RETRY_MS);
  }

  /** What planning has to know of the pod's resize. */
  factsOf(state: PodState, runtime: PodRuntime): ResizeFacts {
    const { actuated, cgroupOutdated } = this.deps;
    const { uid } = state.identity;
    const adopted = adoptedActuation(state.pod, runtime, actuated.get(uid));
    if (adopted !== undefined) actuated.set(uid, adopted);
    return {
      actuated: actuated.get(uid) ?? NOTHING_ALLOCATED,
      cgroupOutdated: state.cgroupReady && cgroupOutdated(state.pod),
      gates: this.rules.gates,
    };
  }

  /** Tells of a resize's progress; to be called with each look at the pod. */
  follow(state: PodState, runtime: PodRuntime, facts: ResizeFacts, goesOn: boolean): void {
    const { resize, pod } = state;
    const { clock, events } = this.deps;
    if (!goesOn) {
      resize.clearPending();
      resize.clearInProgress();
      return;
    }
    if (isResizeInProgress(pod, runtime, facts)) {
      resize.setInProgress('', '', pod.metadata.generation, clock.now());
      return;
    }
    const done = resize.clearInProgress();
    if (done === undefined) return;
    events.event(
      containerReference(pod),
      'Normal',
      'ResizeCompleted',
      resizeMessage('Pod resize completed', pod, done.observedGeneration),
    );
    this.retry('pod_resized');
  }

  /** A step of bringing a resize into force has failed; it is tried again. */
  failed(state: PodState, message: string): void {
    const { resize, pod } = state;
    const { clock, events } = this.deps;
    if (!resize.setInProgress('Error', message, pod.metadata.generation, clock.now())) return;
    const text = resizeMessage('Pod resize error', pod, resize.inProgress?.observedGeneration, message);
    events.event(containerReference(pod), 'Warning', 'ResizeError', text);
  }

  /** Nothing of the pod is left. */
  gone(uid: string): void {
    this.deps.allocated.remove(uid);
    this.deps.actuated.remove(uid);
    this.retry('pods_removed');
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }

  // ── deciding ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private decide(state: PodState): 'granted' | 'waits' | 'settled' {
    const { desired, pod, resize, identity } = state;
    const { metrics } = this.deps;
    if (!this.differs(state)) {
      resize.clearPending();
      return 'settled';
    }
    if (this.makingRoom.has(identity.uid)) return 'waits';
    const never = infeasible(desired, pod, this.rules);
    if (never !== undefined) {
      metrics.infeasible.inc({ reason_detail: never.label });
      this.tellPending(state, 'Infeasible', never.message);
      return 'settled';
    }
    const verdict = this.deps.admit(desired, this.deps.others(state));
    if (verdict === undefined) return 'waits';
    if ('reason' in verdict) {
      this.tellPending(state, 'Deferred', verdict.message);
      return 'waits';
    }
    if (verdict.victims.length > 0) {
      this.makeRoom(state, verdict);
      return 'waits';
    }
    this.grant(state);
    return 'granted';
  }

  private grant(state: PodState): void {
    const { desired, resize, identity } = state;
    const { allocated, clock, events, log } = this.deps;
    allocated.set(identity.uid, allocationOf(desired, this.rules.gates));
    state.pod = this.granted(desired);
    const { generation } = desired.metadata;
    resize.clearPending();
    resize.clearInProgress();
    resize.setInProgress('', '', generation, clock.now());
    events.event(
      containerReference(desired),
      'Normal',
      'ResizeStarted',
      resizeMessage('Pod resize started', desired, generation),
    );
    log.info({ pod: podText(identity), generation }, 'resize granted');
  }

  private tellPending(state: PodState, reason: 'Deferred' | 'Infeasible', message: string): void {
    const { desired, resize, identity } = state;
    const { clock, events, log } = this.deps;
    const { generation } = desired.metadata;
    if (!resize.setPending(reason, message, generation, clock.now())) return;
    const text = resizeMessage(`Pod resize ${reason}`, desired, generation, message);
    events.event(containerReference(desired), 'Warning', `Resize${reason}`, text);
    log.info({ pod: podText(identity), reason, message }, 'resize not granted');
  }

  private makeRoom({ desired, identity }: PodState, admission: Admission): void {
    this.makingRoom.add(identity.uid);
    void this.deps.preempt(desired, admission).finally(() => {
      this.makingRoom.delete(identity.uid);
      this.due ??= 'pod_terminated';
      this.deps.again(identity.uid);
    });
  }

  private differs({ desired }: PodState): boolean {
    return this.granted(desired) !== desired;
  }

  // ── the order of those that wait ──────────────────────────────────────────────────────────────────────────────────

  private push(uid: string, trigger: RetryTrigger): void {
    this.due ??= trigger;
    if (this.pending.includes(uid)) return;
    const ranked = [...this.pending, uid].flatMap((each) => {
      const state = this.deps.stateOf(each);
      return state === undefined ? [] : [{ uid: each, rank: rankOf(state) }];
    });
    this.pending = ranked.sort((a, b) => compare(a.rank, b.rank)).map((entry) => entry.uid);
  }

  private schedule(ms: number): void {
    this.timer?.cancel();
    this.timer = this.deps.clock.after(ms, () => {
      const [first] = this.pending;
      if (first === undefined) return;
      this.due ??= 'periodic_retry';
      this.deps.again(first);
    });
  }
}

/**
 * Smaller goes first: those that ask for no more than they have, then by priority, Guaranteed ones before others, then
 * those that have waited longest; one that has not waited at all comes last.
 */
function rankOf({ desired, pod, resize }: PodState): readonly number[] {
  const [wants, has] = [podRequests(desired), podRequests(pod)];
  const grows = (['cpu', 'memory'] as const).some((name) => (wants[name] ?? 0n) > (has[name] ?? 0n));
  return [
    grows ? 1 : 0,
    -(desired.spec.priority ?? 0),
    qosClassOf(desired) === 'Guaranteed' ? 0 : 1,
    parseTime(resize.pending?.lastTransitionTime) ?? Number.MAX_SAFE_INTEGER,
  ];
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
