import type {
  Container,
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  ResourceRequirements,
} from '../../model/pod.ts';
import { rfc3339 } from '../../model/time.ts';
import type { ContainerKind } from '../container-kinds.ts';
import type { Waiting } from '../diff/plan.ts';
import { RESTARTING_ALL } from '../diff/restart-all.ts';
import type { ContainerRecord } from '../observe/pod-runtime.ts';
import { containerResourcesStatus } from './container-resources-status.ts';

export interface ContainerStatusInput {
  readonly kind: ContainerKind;
  readonly container: Container;
  /** This container's records, newest first. */
  readonly records: readonly ContainerRecord[];
  readonly waiting: Waiting;
  readonly started: boolean;
  readonly ready: boolean;
  /** It is being started, its postStart hook included. */
  readonly starting: boolean;
  /** Longer termination messages are cut: those of all containers share the pod's 12 KiB. */
  readonly messageBytes: number;
  /** "containerd", from the runtime's version. */
  readonly runtimeName: string;
  /** This container's entry in the last status. */
  readonly previous: ContainerStatus | undefined;
  /** No container of this pod will be started any more. */
  readonly terminal: boolean;
  /** The pod's runtime handler can make mounts read-only in depth. */
  readonly recursiveReadOnly: boolean;
  /** What is in force of its resources, as far as it is known. */
  readonly actuated?: ResourceRequirements | undefined;
  /** Some app container was started: init containers that are not there any more have done their work. */
  readonly initialized: boolean;
  /** Not there because the whole pod is restarted in place. */
  readonly reset: boolean;
}

/** Waiting reasons that say no more than "not yet"; a container that has exited keeps showing its exit instead. */
const NOT_YET = new Set(['ContainerCreating', 'PodInitializing']);

/** The end of a container of which nothing is known. */
export const LOST: ContainerStateTerminated = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was terminated',
};
/** The same while the pod goes on. */
const VANISHED: ContainerStateTerminated = {
  ...LOST,
  message: 'The container could not be located when the pod was deleted.  The container used to be Running',
};
/** The end of an init container that nobody remembers, in a pod whose app containers were made. */
const DONE: ContainerStateTerminated = {
  exitCode: 0,
  reason: 'Completed',
  message:
    'Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally',
};

/** Of a container that was taken away so that the whole pod begins anew. */
const TAKEN_AWAY = {
  reason: RESTARTING_ALL,
  message: 'The container is removed because RestartAllContainers in place',
};

/** One entry of status.containerStatuses (kubelet convertToAPIContainerStatuses). */
export function containerStatus(input: ContainerStatusInput): ContainerStatus {
  const { container, records, previous, runtimeName, kind } = input;
  const record = records[0];
  if (record === undefined || isOlder(record, previous)) return withoutRecord(input);
  const { state, lastState } = states(input, record);
  const running = state.running !== undefined;
  const status: ContainerStatus = {
    name: container.name,
    state,
    lastState: lastState ?? lastStateOf(input, record),
    ready: kind === 'init' ? state.terminated?.exitCode === 0 : kind !== 'ephemeral' && running && input.ready,
    restartCount: record.restartCount,
    image: record.image !== '' ? record.image : (container.image ?? ''),
    imageID: record.imageRef,
    containerID: `${runtimeName}://${record.id}`,
  };
  if (kind !== 'ephemeral') status.started = running && input.started;
  if (container.resources?.requests !== undefined) status.allocatedResources = container.resources.requests;
  status.resources = containerResourcesStatus({
    granted: container.resources,
    running: running ? record : undefined,
    actuated: input.actuated,
  });
  Object.assign(status, volumeMountsOf(input));
  if (running && record.user !== undefined) {
    status.user = { linux: { ...record.user, supplementalGroups: [...record.user.supplementalGroups] } };
  } else if (previous?.user !== undefined && previous.containerID === status.containerID) {
    status.user = previous.user;
  }
  return status;
}

/** Which volumes are mounted where; told from the start and never changed. */
function volumeMountsOf(input: ContainerStatusInput): Pick<ContainerStatus, 'volumeMounts'> {
  const { container, previous, recursiveReadOnly } = input;
  if (previous?.volumeMounts !== undefined) return { volumeMounts: previous.volumeMounts };
  const { volumeMounts = [] } = container;
  if (volumeMounts.length === 0) return {};
  return {
    volumeMounts: volumeMounts.map(({ name, mountPath, readOnly, mountPropagation = 'None', ...mount }) => {
      if (readOnly !== true) return { name, mountPath };
      const asked = (mount.recursiveReadOnly ?? 'Disabled') !== 'Disabled' && mountPropagation === 'None';
      return { name, mountPath, readOnly, recursiveReadOnly: asked && recursiveReadOnly ? 'Enabled' : 'Disabled' };
    }),
  };
}

/** The status has told of a later container, which someone has removed since: it does not go back in time. */
function isOlder(record: ContainerRecord, previous: ContainerStatus | undefined): boolean {
  return record.state !== 'RUNNING' && previous !== undefined && record.restartCount < previous.restartCount;
}

function states(
  input: ContainerStatusInput,
  record: ContainerRecord,
): { state: ContainerState; lastState: ContainerState | undefined } {
  const { waiting, starting, terminal } = input;
  if (record.state === 'RUNNING' && !starting) {
    return { state: { running: { startedAt: rfc3339(record.startedAt) } }, lastState: undefined };
  }
  if (record.state === 'EXITED') {
    const terminated: ContainerState = { terminated: terminatedState(record, input) };
    if (terminal) return { state: terminated, lastState: undefined };
    // What it waited for stays said while its restart is under way.
    const reason = NOT_YET.has(waiting.reason) ? shownOf(input, record) : waiting;
    return reason === undefined
      ? { state: terminated, lastState: undefined }
      : { state: { waiting: reason }, lastState: terminated };
  }
  if (terminal) return { state: { terminated: LOST }, lastState: undefined };
  return { state: { waiting }, lastState: undefined };
}

/** Why this very container was said to wait; undefined when it was not, or for no reason of its own. */
function shownOf({ previous, runtimeName }: ContainerStatusInput, record: ContainerRecord): Waiting | undefined {
  const { reason, message } = previous?.state?.waiting ?? {};
  if (reason === undefined || NOT_YET.has(reason) || previous?.containerID !== `${runtimeName}://${record.id}`) return;
  return { reason, ...(message === undefined ? {} : { message }) };
}

function terminatedState(
  record: ContainerRecord,
  { runtimeName, messageBytes }: Pick<ContainerStatusInput, 'runtimeName' | 'messageBytes'>,
): ContainerStateTerminated {
  const state: ContainerStateTerminated = {
    exitCode: record.exitCode,
    reason: record.reason !== '' ? record.reason : record.exitCode === 0 ? 'Completed' : 'Error',
    startedAt: rfc3339(record.startedAt),
    finishedAt: rfc3339(record.finishedAt),
    containerID: `${runtimeName}://${record.id}`,
  };
  if (record.message !== '') state.message = firstBytes(record.message, messageBytes);
  return state;
}

/** As much of a text as fits into so many bytes, without half a character at its end. */
function firstBytes(text: string, bytes: number): string {
  const data = Buffer.from(text);
  if (data.length <= bytes) return text;
  let end = bytes;
  while (end > 0 && ((data[end] ?? 0) & 0xc0) === 0x80) end--;
  return data.subarray(0, end).toString();
}

/** The end of the run before: from the runtime where it still has that container, else what the status said. */
function lastStateOf(input: ContainerStatusInput, record: ContainerRecord): ContainerState {
  const { records, previous, runtimeName } = input;
  const before = records[1];
  if (before?.state === 'EXITED') return { terminated: terminatedState(before, input) };
  if (previous === undefined || record.restartCount === 0) return {};
  if (previous.containerID === `${runtimeName}://${record.id}`) return previous.lastState ?? {};
  return previous.state?.terminated === undefined
    ? (previous.lastState ?? {})
    : { terminated: previous.state.terminated };
}

/** The runtime has no such container (any more): not made yet, removed after its end, or lost. */
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
    ...volumeMountsOf(input),
  };
  if (input.reset && previous !== undefined) {
    if (previous.state?.waiting !== undefined) return status;
    const lastState = { terminated: { exitCode: 137, ...TAKEN_AWAY } };
    return { ...status, state: { waiting: TAKEN_AWAY }, lastState, restartCount: previous.restartCount + 1 };
  }
  // An end stays until there is more to say than that the container is not there yet.
  const settled = terminal || NOT_YET.has(waiting.reason) || (kind === 'init' && initialized);
  if (previous?.state?.terminated !== undefined && settled) {
    return { ...previous, ready: previous.ready && kind === 'init' };
  }
  if (kind === 'init' && initialized && !terminal && previous?.state?.running === undefined) {
    return { ...status, ready: true, state: { terminated: DONE } };
  }
  if (previous?.state?.running !== undefined) {
    // It ran and is gone without a trace: its end is all that can be said.
    if (terminal) return { ...previous, ready: false, started: false, state: { terminated: LOST } };
    return { ...status, lastState: { terminated: VANISHED }, restartCount: previous.restartCount };
  }
  if (previous?.state?.terminated !== undefined) {
    return { ...status, lastState: { terminated: previous.state.terminated } };
  }
  return status;
}
