import type { EventRecorder } from '../../cluster/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import { parseTime } from '../../model/time.ts';
import { containerReference } from '../act/references.ts';
import type { PodEnd } from '../facts.ts';
import { identityOf, podText } from '../identity.ts';
import type { PodMetrics } from '../pod-metrics.ts';
import type { PodState } from '../pod-state.ts';
import { withRequestsInForce } from '../resize/requests-in-force.ts';
import type { Admission, Refusal } from './admit-pod.ts';

export interface PodAdmitterDeps {
  /** The decision itself (admitPod with the node's facts); undefined while the Node is not known yet. */
  readonly admit: (pod: Pod, others: readonly Pod[]) => Admission | Refusal | undefined;
  /** Gives the pod what only one can have, once there is room for it; why that cannot be. */
  readonly allocate?: (pod: Pod) => Refusal | undefined | Promise<Refusal | undefined>;
  /** Hears of each pod that is let in. */
  readonly admitted?: (state: PodState) => void;
  /** Reads the Node anew, for a pod that only its labels speak against. */
  readonly refreshNode: () => Promise<unknown>;
  readonly states: () => Iterable<PodState>;
  /** Nothing of the pod runs, and nothing of it is about to. */
  readonly isStopped: (state: PodState) => boolean;
  /** Ends a pod; resolves when nothing of it runs any more, or when that takes far longer than its grace. */
  readonly evict: (uid: string, end: PodEnd) => Promise<void>;
  readonly again: (uid: string) => void;
  readonly events: EventRecorder;
  readonly metrics: PodMetrics;
  readonly log: Logger;
}

const PREEMPTED: PodEnd = {
  reason: 'Preempting',
  message: 'Preempted in order to admit critical pod',
  graceSeconds: undefined,
  disruption: 'Pod was preempted by Kubelet to accommodate a critical pod.',
};

/**
 * Lets each pod onto the node once, one after the other in the order in which they are asked for: what a pod was granted
 * counts for all after it. While room is made for a critical pod nobody else is let in.
 */
export class PodAdmitter {
  private readonly deps: PodAdmitterDeps;
  /** Critical pods for which others are being killed. */
  private preempting = 0;
  private readonly waiting = new Set<string>();

  constructor(deps: PodAdmitterDeps) {
    this.deps = deps;
  }

  /**
   * True when the pod's run may go on: it was let in, it was refused (and has an end now), or it is to end anyway. On
   * false it is to be run again later, and is also asked for as soon as what it waits for has happened.
   */
  mayGoOn(state: PodState): boolean {
    if (state.intent !== 'run' || (state.admission !== 'open' && !state.held)) return true;
    if (state.held) return false;
    if (this.preempting > 0) {
      this.waiting.add(state.identity.uid);
      return false;
    }
    return this.decide(state, false);
  }

  private decide(state: PodState, fresh: boolean): boolean {
    const verdict = this.verdict(state);
    if (verdict === undefined) return false;
    if ('reason' in verdict) {
      if (verdict.labelsOnly === true && !fresh) this.readNodeAnew(state);
      else this.refuse(state, verdict);
      return !state.held;
    }
    state.admission = 'granted';
    if (verdict.victims.length > 0) this.makeRoom(state, verdict);
    else this.allocate(state);
    if (!this.isRefused(state)) this.deps.admitted?.(state);
    return !state.held;
  }

  private verdict(state: PodState): Admission | Refusal | undefined {
    try {
      return this.deps.admit(state.pod, this.others(state));
    } catch (error) {
      return { reason: 'UnexpectedAdmissionError', message: messageOf(error) };
    }
  }

  /** The pods that this node has let in and that are not over; the API's own word that one is gone ends its claim. */
  others(except: PodState): Pod[] {
    const pods: Pod[] = [];
    for (const state of this.deps.states()) {
      if (state === except || state.admission !== 'granted' || state.intent === 'gone') continue;
      const phase = state.lastStatus?.phase;
      const over = state.ending || phase === 'Succeeded' || phase === 'Failed';
      if (!over || !this.deps.isStopped(state)) pods.push(withRequestsInForce(state.pod, state.lastStatus));
    }
    return pods;
  }

  /** Also for what turns out only when a pod that was let in is made ready. */
  refuse(state: PodState, { reason, message }: Refusal): void {
    const { events, metrics, log } = this.deps;
    state.admission = 'refused';
    state.end = { reason, message: `Pod was rejected: ${message}`, graceSeconds: undefined, refused: true };
    events.event(containerReference(state.pod), 'Warning', reason, message);
    metrics.refusedPods.inc({ reason });
    log.warn({ pod: podText(state.identity), reason, message }, 'pod refused');
  }

  private readNodeAnew(state: PodState): void {
    const { refreshNode, again, log } = this.deps;
    state.held = true;
    void refreshNode()
      .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'could not read the Node for an admission'))
      .finally(() => {
        state.held = false;
        if (state.intent === 'run' && this.preempting === 0) this.decide(state, true);
        again(state.identity.uid);
      });
  }

  private isRefused(state: PodState): boolean {
    return state.admission === 'refused';
  }

  /** At once where that can be; else the pod is held until it has all. */
  private allocate(state: PodState): void {
    const refusal = state.intent === 'run' ? this.deps.allocate?.(state.pod) : undefined;
    if (!(refusal instanceof Promise)) {
      if (refusal !== undefined) this.refuse(state, refusal);
      return;
    }
    state.held = true;
    void refusal
      .catch((error: unknown): Refusal => ({ reason: 'UnexpectedAdmissionError', message: messageOf(error) }))
      .then((late) => {
        if (late !== undefined && state.intent === 'run') this.refuse(state, late);
        state.held = false;
        this.deps.again(state.identity.uid);
      });
  }

  private makeRoom(state: PodState, admission: Admission): void {
    const { again } = this.deps;
    state.held = true;
    void this.preempt(state.pod, admission).finally(() => {
      state.held = false;
      this.allocate(state);
      again(state.identity.uid);
    });
  }

  /** Ends the victims; resolves when nothing of them runs any more. Until then no other pod is let in. */
  async preempt(pod: Pod, { victims, short }: Admission): Promise<void> {
    const { events, metrics, log, evict, again } = this.deps;
    this.preempting++;
    const ends = victims.map((victim) => {
      const uid = victim.metadata.uid ?? '';
      events.event(containerReference(victim), 'Warning', PREEMPTED.reason, PREEMPTED.message);
      log.warn({ pod: podText(identityOf(pod)), victim: victim.metadata.name, uid, short }, 'preempting a pod');
      metrics.preemptions.inc({ preemption_signal: short });
      return evict(uid, PREEMPTED);
    });
    await Promise.all(ends).finally(() => {
      this.preempting--;
      if (this.preempting > 0) return;
      for (const uid of this.waiting) again(uid);
      this.waiting.clear();
    });
  }
}

/** Whether the pod has been let in before this process: it runs, or this node has begun with it, or it is over. */
export function wasAdmitted(pod: Pod | undefined, observed: boolean): boolean {
  if (pod === undefined || observed || pod.metadata.deletionTimestamp !== undefined) return true;
  const { phase, startTime } = pod.status ?? {};
  return startTime !== undefined || phase === 'Succeeded' || phase === 'Failed';
}

/** Those first that were let in before, then the older ones (kubelet HandlePodAdditions). */
export function byAdmission(known: (pod: Pod) => boolean): (a: Pod, b: Pod) => number {
  const born = (pod: Pod): number => parseTime(pod.metadata.creationTimestamp) ?? 0;
  return (a, b) => Number(known(b)) - Number(known(a)) || born(a) - born(b);
}
