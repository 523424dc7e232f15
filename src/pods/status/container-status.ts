import type { Container, ContainerState, ContainerStateTerminated, ContainerStatus } from '../../model/pod.ts';
import { rfc3339 } from '../../model/time.ts';
import type { ContainerKind } from '../container-kinds.ts';
import type { Waiting } from '../diff/plan.ts';
import type { ContainerRecord } from '../observe/pod-runtime.ts';

export interface ContainerStatusInput {
  readonly kind: ContainerKind;
  readonly container: Container;
  /** This container's records, newest first. */
  readonly records: readonly ContainerRecord[];
  readonly waiting: Waiting;
  readonly started: boolean;
  readonly ready: boolean;
  /** Its postStart hook is under way. */
  readonly starting: boolean;
  /** "containerd", from the runtime's version. */
  readonly runtimeName: string;
  /** This container's entry in the last status. */
  readonly previous: ContainerStatus | undefined;
  /** No container of this pod will be started any more. */
  readonly terminal: boolean;
  /** Some app container was started: init containers that are not there any more have done their work. */
  readonly initialized: boolean;
}

/** Waiting reasons that say no more than "not yet"; a container that has exited keeps showing its exit instead. */
const NOT_YET = new Set(['ContainerCreating', 'PodInitializing']);

const LOST: ContainerStateTerminated = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was terminated',
};

/** One entry of status.containerStatuses (kubelet convertToAPIContainerStatuses). */
export function containerStatus(input: ContainerStatusInput): ContainerStatus {
  const { container, records, previous, runtimeName, kind } = input;
  const record = records[0];
  if (record === undefined) return withoutRecord(input);
  const { state, lastState } = states(input, record);
  const running = state.running !== undefined;
  const status: ContainerStatus = {
    name: container.name,
    state,
    lastState: lastState ?? lastStateOf(input, record),
    ready: kind === 'init' ? state.terminated?.exitCode === 0 : running && input.ready,
    // A container that was made and removed before it ran has been counted all the same.
    restartCount: Math.max(record.restartCount, previous?.restartCount ?? 0),
    image: record.image !== '' ? record.image : (container.image ?? ''),
    imageID: record.imageRef,
    containerID: `${runtimeName}://${record.id}`,
  };
  if (kind !== 'ephemeral') status.started = running && input.started;
  if (container.resources?.requests !== undefined) status.allocatedResources = container.resources.requests;
  if (container.resources !== undefined && Object.keys(container.resources).length > 0) {
    const { limits, requests } = container.resources;
    status.resources = { ...(limits === undefined ? {} : { limits }), ...(requests === undefined ? {} : { requests }) };
  }
  if (container.volumeMounts !== undefined && container.volumeMounts.length > 0) {
    status.volumeMounts = container.volumeMounts.map(({ name, mountPath, readOnly }) => ({
      name,
      mountPath,
      ...(readOnly === true ? { readOnly, recursiveReadOnly: 'Disabled' } : {}),
    }));
  }
  if (running && record.user !== undefined) {
    status.user = { linux: { ...record.user, supplementalGroups: [...record.user.supplementalGroups] } };
  } else if (previous?.user !== undefined && previous.containerID === status.containerID) {
    status.user = previous.user;
  }
  return status;
}

function states(
  { waiting, starting, terminal, runtimeName }: ContainerStatusInput,
  record: ContainerRecord,
): { state: ContainerState; lastState: ContainerState | undefined } {
  if (record.state === 'RUNNING' && !starting) {
    return { state: { running: { startedAt: rfc3339(record.startedAt) } }, lastState: undefined };
  }
  if (record.state === 'EXITED') {
    const terminated: ContainerState = { terminated: terminatedState(record, runtimeName) };
    if (terminal || NOT_YET.has(waiting.reason)) return { state: terminated, lastState: undefined };
    return { state: { waiting }, lastState: terminated };
  }
  if (terminal) return { state: { terminated: LOST }, lastState: undefined };
  return { state: { waiting }, lastState: undefined };
}

function terminatedState(record: ContainerRecord, runtimeName: string): ContainerStateTerminated {
  const state: ContainerStateTerminated = {
    exitCode: record.exitCode,
    reason: record.reason !== '' ? record.reason : record.exitCode === 0 ? 'Completed' : 'Error',
    startedAt: rfc3339(record.startedAt),
    finishedAt: rfc3339(record.finishedAt),
    containerID: `${runtimeName}://${record.id}`,
  };
  if (record.message !== '') state.message = record.message;
  return state;
}

/** The end of the run before: from the runtime where it still has that container, else what the status said. */
function lastStateOf(
  { records, previous, runtimeName }: ContainerStatusInput,
  record: ContainerRecord,
): ContainerState {
  const before = records[1];
  if (before?.state === 'EXITED') return { terminated: terminatedState(before, runtimeName) };
  if (previous === undefined || record.restartCount === 0) return {};
  if (previous.containerID === `${runtimeName}://${record.id}`) return previous.lastState ?? {};
  return previous.state?.terminated === undefined
    ? (previous.lastState ?? {})
    : { terminated: previous.state.terminated };
}

/** The runtime has no such container: not made yet, removed after its end, or lost. */
function withoutRecord(input: ContainerStatusInput): ContainerStatus {
  const { container, previous, waiting, terminal, initialized, kind } = input;
  const status: ContainerStatus = {
    name: container.name,
    state: { waiting },
    lastState: previous?.lastState ?? {},
    ready: false,
    restartCount: previous?.restartCount ?? 0,
    image: container.image ?? '',
    imageID: '',
    ...(kind === 'ephemeral' ? {} : { started: false }),
  };
  if (previous?.state?.terminated !== undefined && (terminal || (kind === 'init' && initialized))) {
    return { ...previous, ready: previous.ready && kind === 'init' };
  }
  if (previous?.state?.running !== undefined) {
    // It ran and is gone without a trace: its end is all that can be said.
    if (terminal) return { ...previous, ready: false, started: false, state: { terminated: LOST } };
    return { ...status, lastState: { terminated: LOST }, restartCount: previous.restartCount };
  }
  if (previous?.state?.terminated !== undefined) {
    return { ...status, lastState: { terminated: previous.state.terminated } };
  }
  if (terminal && initialized && kind !== 'init') return { ...status, state: { terminated: LOST } };
  return status;
}
