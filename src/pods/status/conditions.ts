import type { ConditionStatus, ContainerStatus, Pod, PodCondition, PodPhase } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { canRestartAll } from '../../model/restart-rules.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Statuses } from './phase.ts';

interface Verdict {
  readonly type: string;
  readonly status: ConditionStatus;
  readonly reason?: string;
  readonly message?: string;
}

export interface ConditionsInput {
  readonly pod: Pod;
  readonly phase: PodPhase;
  readonly statuses: Statuses;
  readonly sandboxReady: boolean;
  readonly previous: readonly PodCondition[];
  /** What DisruptionTarget says of a pod that this node has ended. */
  readonly disruption: string | undefined;
  /** All containers are being taken away to begin anew. */
  readonly restartingAll: boolean;
  readonly now: number;
}

/** The conditions that kubelet owns, in its order; transition times move only when a status changes. */
export function conditionsOf(input: ConditionsInput): PodCondition[] {
  const ready = containersReady(input);
  const verdicts: Verdict[] = [
    ...disrupted(input),
    { type: 'PodReadyToStartContainers', status: input.sandboxReady ? 'True' : 'False' },
    initialized(input),
    podReady(input, ready),
    ready,
    { type: 'PodScheduled', status: 'True' },
    ...restartingAll(input),
  ];
  return verdicts.map((verdict) => withTimes(verdict, input));
}

function withTimes(verdict: Verdict, { previous, now, pod }: ConditionsInput): PodCondition {
  // Others write DisruptionTarget, too.
  const known = verdict.type === 'DisruptionTarget' ? [...previous, ...(pod.status?.conditions ?? [])] : previous;
  const old = known.find(({ type }) => type === verdict.type);
  const unchanged = old?.status === verdict.status;
  return {
    type: verdict.type,
    status: verdict.status,
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    lastProbeTime: null,
    lastTransitionTime: (unchanged ? old.lastTransitionTime : undefined) ?? rfc3339(now),
    ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
    ...(verdict.message === undefined ? {} : { message: verdict.message }),
  };
}

function disrupted({ disruption }: ConditionsInput): Verdict[] {
  if (disruption === undefined) return [];
  return [{ type: 'DisruptionTarget', status: 'True', reason: 'TerminationByKubelet', message: disruption }];
}

/** Told of pods that can be restarted in place (status/generate.go GenerateAllContainersRestartingCondition). */
function restartingAll({ pod, phase, restartingAll: restarting }: ConditionsInput): Verdict[] {
  if (!canRestartAll(pod)) return [];
  const type = 'AllContainersRestarting';
  if (phase === 'Succeeded') return [{ type, status: 'False', reason: 'PodCompleted' }];
  if (phase === 'Failed') return [{ type, status: 'False', reason: 'PodFailed' }];
  if (!restarting) return [{ type, status: 'False' }];
  const message = 'container exited with restart policy rule';
  return [{ type, status: 'True', reason: 'RestartAllContainersStarted', message }];
}

function initialized({ pod, phase, statuses, previous }: ConditionsInput): Verdict {
  const type = 'Initialized';
  if (phase === 'Succeeded') return { type, status: 'True', reason: 'PodCompleted' };
  const incomplete: string[] = [];
  // Init containers that were there before a running app container have done their work.
  const appStarted = statuses.app.some(
    ({ state, lastState }) => state?.running ?? state?.terminated ?? lastState?.terminated,
  );
  for (const container of appStarted ? [] : (pod.spec.initContainers ?? [])) {
    const status = statuses.init.find(({ name }) => name === container.name);
    const done = isSidecar(container) ? status?.started === true : status?.ready === true;
    if (!done) incomplete.push(container.name);
  }
  // Once initialized, a pod stays so, although its init containers may have to run again in a new sandbox.
  const was = previous.some((condition) => condition.type === type && condition.status === 'True');
  if (incomplete.length === 0 || was) return { type, status: 'True' };
  return {
    type,
    status: 'False',
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: [${incomplete.join(' ')}]`,
  };
}

function containersReady({ pod, phase, statuses }: ConditionsInput): Verdict {
  const type = 'ContainersReady';
  if (phase === 'Succeeded') return { type, status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { type, status: 'False', reason: 'PodFailed' };
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const counted: ContainerStatus[] = [...statuses.init.filter(({ name }) => sidecars.includes(name)), ...statuses.app];
  const unready = counted.filter(({ ready }) => !ready).map(({ name }) => name);
  if (unready.length === 0) return { type, status: 'True' };
  return {
    type,
    status: 'False',
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.join(' ')}]`,
  };
}

function podReady({ pod, previous }: ConditionsInput, containers: Verdict): Verdict {
  const type = 'Ready';
  if (containers.status !== 'True') return { ...containers, type };
  const conditions = [...(pod.status?.conditions ?? []), ...previous];
  const missing = (pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const gate = conditions.find((condition) => condition.type === conditionType);
    if (gate === undefined) return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    return gate.status === 'True'
      ? []
      : [`the status of pod readiness gate "${conditionType}" is not "True", but ${gate.status}`];
  });
  if (missing.length === 0) return { type, status: 'True' };
  return { type, status: 'False', reason: 'ReadinessGatesNotReady', message: missing.join(', ') };
}
