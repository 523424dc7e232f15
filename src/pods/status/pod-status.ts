import type { CgroupLimits } from '../../host/cgroup/port.ts';
import { isConditionTrue } from '../../model/conditions.ts';
import type { ContainerStatus, Pod, PodCondition, PodPhase, PodStatus, QOSClass } from '../../model/pod.ts';
import { canRestartAll } from '../../model/restart-rules.ts';
import { rfc3339 } from '../../model/time.ts';
import { type ContainerKind, containersOf, type KindedContainer } from '../container-kinds.ts';
import type { Plan, PlanInput } from '../diff/plan.ts';
import { currentSandbox, isStarted } from '../diff/plan-sync.ts';
import { RESTARTING_ALL, restartsAll } from '../diff/restart-all.ts';
import { isAlive, readySandbox } from '../observe/pod-runtime.ts';
import { actuatedOf } from '../resize/resize-plan.ts';
import { conditionsOf } from './conditions.ts';
import { containerStatus, LOST } from './container-status.ts';
import { phaseOf } from './phase.ts';
import { podResourcesStatus } from './pod-resources-status.ts';

/** What the termination messages of all containers of a pod may take (kubelet status_manager.go normalizeStatus). */
const POD_MESSAGE_BYTES = 12 * 1024;

export interface PodStatusInput {
  readonly input: PlanInput;
  readonly plan: Plan;
  readonly hostIPs: readonly string[];
  readonly qosClass: QOSClass;
  readonly runtimeName: string;
  /** The pod's runtime handler can make mounts read-only in depth. */
  readonly recursiveReadOnly: boolean;
  /** What the pod's cgroup is set to while it runs. */
  readonly cgroup: CgroupLimits;
  /** PodResizePending and PodResizeInProgress, as far as they hold. */
  readonly resize?: readonly PodCondition[];
}

/** A pod's whole status as kubelet would report it (kubelet_pods.go generateAPIPodStatus). */
export function podStatus(of: PodStatusInput): PodStatus {
  const { input, plan, hostIPs, qosClass } = of;
  const { pod, runtime, facts, now } = input;
  const last = facts.lastStatus ?? pod.status ?? {};
  if (neverBegun(input, last)) return refusedStatus(input, last, qosClass);
  const quiet = !runtime.containers.some(isAlive);
  const terminal = plan.mode === 'terminated' || (plan.mode === 'terminating' && quiet && !facts.running.has('start'));
  const kinds = containersOf(pod);
  const initialized = everInitialized(input, last);
  const messageBytes = Math.floor(POD_MESSAGE_BYTES / kinds.length);
  const statusesOf = (...wanted: readonly ContainerKind[]): ContainerStatus[] =>
    kinds
      .filter((entry) => wanted.includes(entry.kind))
      .map((entry) => statusOf(of, entry, { terminal, initialized, last, messageBytes }));
  const statuses = { init: statusesOf('init', 'sidecar'), app: statusesOf('app') };
  const sticky = isFinal(last.phase) ? last.phase : undefined;
  // Readers take "Succeeded" and "Failed" to mean that the pod's address and resources are free.
  const finished = terminal && (plan.mode === 'terminated' || readySandbox(runtime) === undefined);
  const end = finished ? facts.end : undefined;
  const earned = sticky ?? (facts.end === undefined ? phaseOf(pod, statuses, terminal) : 'Failed');
  const phase = sticky ?? reported(earned, plan, finished, last);
  const ephemeral = byName(statusesOf('ephemeral'));
  const conditions = conditionsOf({
    pod,
    phase: earned,
    statuses,
    sandboxReady: readySandbox(runtime) !== undefined && currentSandbox(input) !== undefined,
    previous: last.conditions ?? pod.status?.conditions ?? [],
    disruption: finished ? facts.end?.disruption : undefined,
    restartingAll: plan.mode === 'sync' && restartsAll(input),
    now,
  });
  const ips = podIPs(input, hostIPs, last);
  const shown = plan.mode === 'terminated' ? withoutTrace(pod, statuses, initialized) : statuses;
  return {
    ...observedGeneration(pod),
    phase,
    conditions: [
      ...(of.resize ?? []),
      ...(plan.mode === 'terminated' && sticky !== undefined ? asTheyWere(conditions, last) : conditions),
    ],
    ...reasonOf(end, phase, last, pod),
    ...(hostIPs[0] === undefined ? {} : { hostIP: hostIPs[0], hostIPs: hostIPs.map((ip) => ({ ip })) }),
    ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
    startTime: rfc3339(facts.startTime),
    ...(shown.init.length === 0 ? {} : { initContainerStatuses: shown.init }),
    containerStatuses: byName(shown.app),
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
    qosClass: pod.status?.qosClass ?? qosClass,
    ...podResourcesStatus(pod, phase, of.cgroup),
  };
}

/** Refused on this node, now or before a restart: there is nothing to say of its containers. */
function neverBegun({ facts, runtime }: PlanInput, last: PodStatus): boolean {
  if (facts.end?.refused === true) return true;
  const nothing = runtime.containers.length === 0 && runtime.sandboxes.length === 0;
  return isFinal(last.phase) && nothing && (last.containerStatuses ?? []).length === 0;
}

/** What kubelet says of a pod that it does not admit (kubelet.go rejectPod). */
function refusedStatus({ pod, facts }: PlanInput, last: PodStatus, qosClass: QOSClass): PodStatus {
  const { end } = facts;
  // A refused pod has no conditions of ours; before a restart the same had been said of it.
  const conditions = end?.refused === true ? [] : last.conditions;
  return {
    ...observedGeneration(pod),
    phase: end === undefined ? (last.phase ?? 'Failed') : 'Failed',
    ...(conditions === undefined ? {} : { conditions }),
    ...(end === undefined ? reasonOf(undefined, last.phase, last, pod) : { reason: end.reason, message: end.message }),
    startTime: rfc3339(facts.startTime),
    qosClass: pod.status?.qosClass ?? qosClass,
  };
}

function observedGeneration({ metadata }: Pod): Pick<PodStatus, 'observedGeneration'> {
  return metadata.generation === undefined ? {} : { observedGeneration: metadata.generation };
}

function isFinal(phase: PodPhase | undefined): phase is 'Succeeded' | 'Failed' {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** The phase to tell: a final one not before the pod is down, and none but a final one once it is gone from the node. */
function reported(earned: PodPhase, plan: Plan, finished: boolean, last: PodStatus): PodPhase {
  if (isFinal(earned)) return finished ? earned : (last.phase ?? 'Running');
  return plan.mode === 'terminated' ? 'Failed' : earned;
}

/** What the conditions said of containers when the pod ended stays said: the final phase is no news about them. */
function asTheyWere(conditions: readonly PodCondition[], last: PodStatus): PodCondition[] {
  return conditions.map((condition) => {
    if (condition.type === 'PodReadyToStartContainers') return condition;
    return last.conditions?.find(({ type }) => type === condition.type) ?? condition;
  });
}

/** Clients find the same order each time (kubelet SortedContainerStatuses). */
function byName(statuses: readonly ContainerStatus[]): ContainerStatus[] {
  return [...statuses].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/**
 * A pod that has ended has no containers that wait: those of which nothing is known count as failed, init containers up
 * to the last one that was ever begun, others if it came to their turn (kubelet status_manager.go TerminatePod).
 */
function withoutTrace(
  pod: Pod,
  { init, app }: { init: ContainerStatus[]; app: ContainerStatus[] },
  initialized: boolean,
): { init: ContainerStatus[]; app: ContainerStatus[] } {
  const begun = init.findLastIndex(({ state, lastState }) => state?.waiting === undefined || lastState?.terminated);
  const theirTurn = initialized || (pod.spec.initContainers ?? []).length === 0;
  const end = (status: ContainerStatus): ContainerStatus =>
    status.state?.terminated === undefined ? { ...status, state: { terminated: LOST } } : status;
  return {
    init: init.map((status, index) => (index <= Math.max(0, begun) ? end(status) : status)),
    app: theirTurn ? app.map(end) : app,
  };
}

/** Why the pod ended; else what was said together with this phase, by whomever. */
function reasonOf(
  end: PlanInput['facts']['end'],
  phase: PodPhase | undefined,
  last: PodStatus,
  pod: Pod,
): Pick<PodStatus, 'reason' | 'message'> {
  if (end !== undefined) return { reason: end.reason, message: end.message };
  if (phase !== last.phase) return {};
  const reason = last.reason ?? pod.status?.reason;
  const message = last.message ?? pod.status?.message;
  return { ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}

function everInitialized({ pod, runtime }: PlanInput, last: PodStatus): boolean {
  if (pod.spec.containers.some(({ name }) => runtime.containers.some((record) => record.name === name))) return true;
  return (last.containerStatuses ?? []).some(({ containerID }) => containerID !== undefined);
}

function statusOf(
  { input, plan, runtimeName, recursiveReadOnly }: PodStatusInput,
  { kind, container }: KindedContainer,
  shared: { terminal: boolean; initialized: boolean; last: PodStatus; messageBytes: number },
): ContainerStatus {
  const { last, terminal, initialized, messageBytes } = shared;
  const records = input.runtime.containers.filter((record) => record.name === container.name);
  const record = records[0];
  const previous = [
    ...(last.initContainerStatuses ?? []),
    ...(last.containerStatuses ?? []),
    ...(last.ephemeralContainerStatuses ?? []),
  ].find(({ name }) => name === container.name);
  // Probes that are not made any more as the pod ends have not succeeded thereby.
  const given = plan.mode !== 'sync' && previous?.started === false && container.startupProbe !== undefined;
  const started = !given && record !== undefined && isStarted(input, container, record);
  const readiness = record === undefined ? undefined : input.probe(record.id, 'readiness');
  return containerStatus({
    kind,
    container,
    records,
    waiting: plan.waiting.get(container.name) ?? defaultWaiting(input.pod),
    started,
    ready: started && (container.readinessProbe === undefined || readiness === 'success'),
    starting: record !== undefined && input.facts.containers.get(container.name)?.starting === record.id,
    runtimeName,
    recursiveReadOnly,
    messageBytes,
    previous,
    terminal,
    initialized,
    reset: plan.mode === 'sync' && kind !== 'ephemeral' && isReset(input, last, previous),
    actuated: input.resize === undefined ? undefined : actuatedOf(input.resize.actuated, container),
  });
}

/** A container that the runtime does not have because the pod is restarted in place, and has not started again. */
function isReset(input: PlanInput, last: PodStatus, previous: ContainerStatus | undefined): boolean {
  if (!canRestartAll(input.pod) || previous === undefined) return false;
  if (previous.state?.waiting !== undefined) return previous.lastState?.terminated?.reason === RESTARTING_ALL;
  return restartsAll(input) || isConditionTrue(last.conditions, 'AllContainersRestarting');
}

function defaultWaiting(pod: Pod): { reason: string } {
  return { reason: (pod.spec.initContainers ?? []).length > 0 ? 'PodInitializing' : 'ContainerCreating' };
}

function podIPs({ pod, runtime }: PlanInput, hostIPs: readonly string[], last: PodStatus): readonly string[] {
  if (pod.spec.hostNetwork === true) return hostNetworkIPs(hostIPs, last);
  const ready = readySandbox(runtime);
  if (ready !== undefined) return ready.ips;
  // The last addresses stay in the status while and after the pod ends, so that what spoke to it can be told.
  return (last.podIPs ?? []).map(({ ip }) => ip);
}

/** The node's addresses from the start; they stay, but a second one may come to a single one of the other family. */
function hostNetworkIPs(hostIPs: readonly string[], last: PodStatus): readonly string[] {
  const [told, ...more] = (last.podIPs ?? []).map(({ ip }) => ip);
  if (told === undefined) return hostIPs.slice(0, 2);
  const second = more[0] ?? hostIPs.slice(1, 2).find((ip) => ip.includes(':') !== told.includes(':'));
  return second === undefined ? [told] : [told, second];
}
