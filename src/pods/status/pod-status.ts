import type { ContainerStatus, Pod, PodStatus, QOSClass } from '../../model/pod.ts';
import { rfc3339 } from '../../model/time.ts';
import { type ContainerKind, containersOf, type KindedContainer } from '../container-kinds.ts';
import type { Plan, PlanInput } from '../diff/plan.ts';
import { currentSandbox, isStarted } from '../diff/plan-sync.ts';
import { isAlive, readySandbox } from '../observe/pod-runtime.ts';
import { conditionsOf } from './conditions.ts';
import { containerStatus } from './container-status.ts';
import { phaseOf } from './phase.ts';

/** What the termination messages of all containers of a pod may take (kubelet status_manager.go normalizeStatus). */
const POD_MESSAGE_BYTES = 12 * 1024;

export interface PodStatusInput {
  readonly input: PlanInput;
  readonly plan: Plan;
  readonly hostIPs: readonly string[];
  readonly qosClass: QOSClass;
  readonly runtimeName: string;
}

/** A pod's whole status as kubelet would report it (kubelet_pods.go generateAPIPodStatus). */
export function podStatus({ input, plan, hostIPs, qosClass, runtimeName }: PodStatusInput): PodStatus {
  const { pod, runtime, facts, now } = input;
  const last = facts.lastStatus ?? pod.status ?? {};
  const quiet = !runtime.containers.some(isAlive);
  const terminal = plan.mode === 'terminated' || (plan.mode === 'terminating' && quiet && !facts.running.has('start'));
  const kinds = containersOf(pod);
  const initialized = everInitialized(input, last);
  const messageBytes = Math.floor(POD_MESSAGE_BYTES / kinds.length);
  const of = (...wanted: readonly ContainerKind[]): ContainerStatus[] =>
    kinds
      .filter((entry) => wanted.includes(entry.kind))
      .map((entry) => statusOf(input, plan, entry, { runtimeName, terminal, initialized, last, messageBytes }));
  const statuses = { init: of('init', 'sidecar'), app: of('app') };
  const sticky = last.phase === 'Succeeded' || last.phase === 'Failed' ? last.phase : undefined;
  const end = facts.end !== undefined && terminal ? facts.end : undefined;
  const phase = sticky ?? (end !== undefined ? 'Failed' : phaseWhile(pod, statuses, terminal, last));
  const ephemeral = of('ephemeral');
  const ips = podIPs(input, hostIPs, last);
  return {
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    phase,
    conditions: conditionsOf({
      pod,
      phase,
      statuses,
      sandboxReady: readySandbox(runtime) !== undefined && currentSandbox(input) !== undefined,
      previous: last.conditions ?? pod.status?.conditions ?? [],
      now,
    }),
    ...reasonOf(end, sticky, last),
    ...(hostIPs[0] === undefined ? {} : { hostIP: hostIPs[0], hostIPs: hostIPs.map((ip) => ({ ip })) }),
    ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
    startTime: rfc3339(facts.startTime),
    ...(statuses.init.length === 0 ? {} : { initContainerStatuses: statuses.init }),
    containerStatuses: statuses.app,
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
    qosClass: pod.status?.qosClass ?? qosClass,
  };
}

// A terminal phase is reported only when nothing runs any more, so that "Succeeded" and "Failed" can be relied on.
function phaseWhile(
  pod: Pod,
  statuses: { init: ContainerStatus[]; app: ContainerStatus[] },
  terminal: boolean,
  last: PodStatus,
): NonNullable<PodStatus['phase']> {
  const phase = phaseOf(pod, statuses, terminal);
  if (!terminal && (phase === 'Succeeded' || phase === 'Failed')) return last.phase ?? 'Running';
  return phase;
}

function reasonOf(
  end: PlanInput['facts']['end'],
  sticky: string | undefined,
  last: PodStatus,
): Pick<PodStatus, 'reason' | 'message'> {
  if (end !== undefined) return { reason: end.reason, message: end.message };
  if (sticky === undefined) return {};
  return {
    ...(last.reason === undefined ? {} : { reason: last.reason }),
    ...(last.message === undefined ? {} : { message: last.message }),
  };
}

function everInitialized({ pod, runtime }: PlanInput, last: PodStatus): boolean {
  if (pod.spec.containers.some(({ name }) => runtime.containers.some((record) => record.name === name))) return true;
  return (last.containerStatuses ?? []).some(({ containerID }) => containerID !== undefined);
}

function statusOf(
  input: PlanInput,
  plan: Plan,
  { kind, container }: KindedContainer,
  shared: { runtimeName: string; terminal: boolean; initialized: boolean; last: PodStatus; messageBytes: number },
): ContainerStatus {
  const { last, runtimeName, terminal, initialized, messageBytes } = shared;
  const records = input.runtime.containers.filter((record) => record.name === container.name);
  const record = records[0];
  const previous = [
    ...(last.initContainerStatuses ?? []),
    ...(last.containerStatuses ?? []),
    ...(last.ephemeralContainerStatuses ?? []),
  ].find(({ name }) => name === container.name);
  const started = record !== undefined && isStarted(input, container, record);
  const readiness = record === undefined ? undefined : input.probe(record.id, 'readiness');
  return containerStatus({
    kind,
    container,
    records,
    waiting: plan.waiting.get(container.name) ?? defaultWaiting(input.pod),
    started,
    ready: started && (container.readinessProbe === undefined || readiness === 'success'),
    starting: record !== undefined && input.facts.containers.get(container.name)?.postStarting === record.id,
    runtimeName,
    messageBytes,
    previous,
    terminal,
    initialized,
  });
}

function defaultWaiting(pod: Pod): { reason: string } {
  return { reason: (pod.spec.initContainers ?? []).length > 0 ? 'PodInitializing' : 'ContainerCreating' };
}

function podIPs({ pod, runtime }: PlanInput, hostIPs: readonly string[], last: PodStatus): readonly string[] {
  if (pod.spec.hostNetwork === true) return runtime.sandboxes.length > 0 || last.podIP !== undefined ? hostIPs : [];
  const ready = readySandbox(runtime);
  if (ready !== undefined) return ready.ips;
  // The last addresses stay in the status while and after the pod ends, so that what spoke to it can be told.
  return (last.podIPs ?? []).map(({ ip }) => ip);
}
