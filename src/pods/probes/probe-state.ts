import type { ProbeKind, ProbeResult } from './port.ts';

/** The rhythm and the thresholds of one probe, defaults filled in. */
export interface ProbePlan {
  readonly kind: ProbeKind;
  readonly periodMs: number;
  readonly initialDelayMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
  /** How soon an eager attempt follows the one before; doubles each time (see `eager` below). */
  readonly eagerMs: number;
}

/** What one attempt found; `error` is an attempt that could not be made, three tries included. */
export type AttemptResult = 'success' | 'failure' | 'error';

/** The same result so many times in a row, as far as it counts. */
interface Streak {
  readonly result: 'success' | 'failure';
  readonly count: number;
}

/**
 * The state of one probe of one container id; a new container starts anew. Times are milliseconds (Clock.monotonic).
 *
 * - `gated`: liveness and readiness wait until the startup probe has succeeded.
 * - `eager`: a container without initialDelaySeconds has just started, or was found not ready after a restart of
 *   deckhand. It is asked at once and then at growing intervals, so that it is ready within milliseconds of its port's
 *   opening instead of a period later. What succeeds counts; what fails does not, so that failureThreshold ×
 *   periodSeconds stays the time it has. (kubelet reaches the same by running readiness probes at each status change.)
 * - `regular`: on the grid of periodSeconds, thresholds counted.
 * - `onHold`: liveness or startup has failed; nothing runs until the container is replaced.
 * - `done`: startup has succeeded, or a pod that is being deleted needs no liveness and startup any more.
 */
export type ProbeState =
  | { readonly name: 'gated'; readonly settled: ProbeResult }
  | {
      readonly name: 'eager';
      readonly settled: ProbeResult;
      readonly dueAt: number;
      /** The interval to the next eager attempt. */
      readonly stepMs: number;
      /** When the regular grid begins. */
      readonly regularAt: number;
    }
  | {
      readonly name: 'regular';
      readonly settled: ProbeResult;
      readonly dueAt: number;
      readonly streak: Streak | undefined;
    }
  | { readonly name: 'onHold'; readonly settled: 'failure' }
  | { readonly name: 'done'; readonly settled: 'success' };

const INITIAL: Readonly<Record<ProbeKind, ProbeResult>> = {
  startup: 'unknown',
  liveness: 'success',
  readiness: 'failure',
};
const DONE: ProbeState = { name: 'done', settled: 'success' };

export interface BeginFacts {
  readonly now: number;
  /** When the container started, on the same clock; may lie before this process did. */
  readonly startedAt: number;
  /** The container has a startup probe that has not succeeded yet. */
  readonly gated: boolean;
  /** What was known before this process started; then the first run that counts waits a random part (0..1) of a period. */
  readonly adopted: { readonly ready: boolean; readonly started: boolean; readonly jitter: number } | undefined;
  readonly terminating: boolean;
}

/** The state of a probe when its container is first seen. */
export function begin(plan: ProbePlan, facts: BeginFacts): ProbeState {
  const { now, adopted } = facts;
  if (facts.terminating && plan.kind !== 'readiness') return DONE;
  if (plan.kind === 'startup' && adopted?.started === true) return DONE;
  const settled: ProbeResult = plan.kind === 'readiness' && adopted?.ready === true ? 'success' : INITIAL[plan.kind];
  if (plan.kind !== 'startup' && facts.gated) return { name: 'gated', settled };
  if (adopted !== undefined) {
    const earliest = Math.max(now, facts.startedAt + plan.initialDelayMs);
    const regularAt = earliest + adopted.jitter * plan.periodMs;
    // A restart must not make a container wait longer for becoming ready than it would have waited anyway.
    if (settled !== 'success' && earliest <= now) {
      return { name: 'eager', settled, dueAt: now, stepMs: plan.eagerMs, regularAt };
    }
    return { name: 'regular', settled, dueAt: regularAt, streak: undefined };
  }
  return fromStart(plan, settled, facts.startedAt, now);
}

/** The container's startup probe has succeeded (or is needed no more): what waited for it runs at once. */
export function ungate(plan: ProbePlan, state: ProbeState, startedAt: number, now: number): ProbeState {
  if (state.name !== 'gated') return state;
  if (plan.kind === 'liveness' || state.settled === 'success') {
    return {
      name: 'regular',
      settled: state.settled,
      dueAt: Math.max(now, startedAt + plan.initialDelayMs),
      streak: undefined,
    };
  }
  // It has started by its own word, so its time as "just started" begins now.
  return fromStart(plan, state.settled, Math.max(startedAt, now - plan.initialDelayMs), now);
}

/** An attempt that was due at `state.dueAt` has ended at `now`. In a state without attempts it changes nothing. */
export function attempted(plan: ProbePlan, state: ProbeState, result: AttemptResult, now: number): ProbeState {
  switch (state.name) {
    case 'gated':
    case 'onHold':
    case 'done':
      return state;
    case 'eager': {
      if (result === 'success') return counted(plan, state.settled, undefined, result, state.dueAt, now);
      const next = now + state.stepMs;
      if (plan.kind === 'liveness' || next >= state.regularAt) {
        return { name: 'regular', settled: state.settled, dueAt: Math.max(state.regularAt, now), streak: undefined };
      }
      return { ...state, dueAt: next, stepMs: state.stepMs * 2 };
    }
    case 'regular': {
      if (result === 'error') return { ...state, dueAt: nextDue(plan, state.dueAt, now) };
      return counted(plan, state.settled, state.streak, result, state.dueAt, now);
    }
  }
}

/** The pod is being deleted: only readiness goes on. */
export function terminate(plan: ProbePlan, state: ProbeState): ProbeState {
  return plan.kind === 'readiness' ? state : state.name === 'done' ? state : DONE;
}

/** When the next attempt is due; undefined while none is. */
export function dueAt(state: ProbeState): number | undefined {
  return state.name === 'eager' || state.name === 'regular' ? state.dueAt : undefined;
}

function fromStart(plan: ProbePlan, settled: ProbeResult, startedAt: number, now: number): ProbeState {
  if (plan.initialDelayMs > 0) {
    return { name: 'regular', settled, dueAt: Math.max(now, startedAt + plan.initialDelayMs), streak: undefined };
  }
  const regularAt = startedAt + plan.periodMs;
  if (now >= regularAt) return { name: 'regular', settled, dueAt: now, streak: undefined };
  return { name: 'eager', settled, dueAt: now, stepMs: plan.eagerMs, regularAt };
}

function counted(
  plan: ProbePlan,
  settled: ProbeResult,
  before: Streak | undefined,
  result: 'success' | 'failure',
  due: number,
  now: number,
): ProbeState {
  const streak: Streak = { result, count: before?.result === result ? before.count + 1 : 1 };
  const threshold = result === 'success' ? plan.successThreshold : plan.failureThreshold;
  const next = nextDue(plan, due, now);
  if (streak.count < threshold) return { name: 'regular', settled, dueAt: next, streak };
  if (plan.kind === 'startup' && result === 'success') return DONE;
  if (plan.kind !== 'readiness' && result === 'failure') return { name: 'onHold', settled: 'failure' };
  return { name: 'regular', settled: result, dueAt: next, streak };
}

/**
 * One period on. When the attempt took longer than that, the ticks in between are lost and the last of them, already
 * past, makes it run at once (as Go's Ticker does), so that slow probes lose no more time than they take.
 */
function nextDue(plan: ProbePlan, due: number, now: number): number {
  const periods = Math.max(1, Math.floor((now - due) / plan.periodMs));
  return due + periods * plan.periodMs;
}
