import type { Event } from '../../../src/model/objects.ts';
import type { ContainerStatus, Pod } from '../../../src/model/pod.ts';

/** What became of a pod that was made: it runs or has run, or it does not, for a reason that is said. */
export interface Outcome {
  readonly kind: 'runs' | 'refused';
  /** Reason and message as a user sees them; "" for what runs. */
  readonly reason: string;
  readonly message: string;
}

/** Waiting reasons that say no more than "not yet". */
const NOT_YET: readonly string[] = ['ContainerCreating', 'PodInitializing'];
/** Events that say what keeps a pod from starting; other warnings (DNS, probes, hooks) are of pods that start. */
const PREVENTS = /^Failed(Mount|AttachVolume|MapVolume|CreatePod\w+|Sync|PrepareDynamicResources)?$/;

/** undefined while nothing is known of it: neither does it run, nor does anybody say why not. */
export function outcomeOf(pod: Pod, events: readonly Event[]): Outcome | undefined {
  const { phase, reason, message, conditions = [] } = pod.status ?? {};
  const unscheduled = conditions.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (unscheduled !== undefined) return refused(unscheduled.reason, unscheduled.message);
  if (phase === 'Failed' && reason !== undefined) return refused(reason, message);
  if (phase === 'Succeeded' || phase === 'Failed') return RUNS;
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  const statuses = [...initContainerStatuses, ...containerStatuses];
  const waiting = statuses.find((status) => isTold(status.state?.waiting?.reason) && !hasBegun(status));
  if (waiting !== undefined) return refused(waiting.state?.waiting?.reason, waiting.state?.waiting?.message);
  const blocked = initContainerStatuses.some((status) => hasBegun(status) && !isDone(status, pod));
  if (blocked || (containerStatuses.length > 0 && containerStatuses.every(hasBegun))) return RUNS;
  const warning = events.find((event) => {
    const { type, involvedObject } = event;
    return type === 'Warning' && involvedObject.uid === pod.metadata.uid && PREVENTS.test(event.reason ?? '');
  });
  return warning === undefined ? undefined : refused(warning.reason, warning.message);
}

const RUNS: Outcome = { kind: 'runs', reason: '', message: '' };

function refused(reason = '', message = ''): Outcome {
  return { kind: 'refused', reason, message };
}

function isTold(reason: string | undefined): boolean {
  return reason !== undefined && !NOT_YET.includes(reason);
}

function hasBegun({ state, lastState }: ContainerStatus): boolean {
  return state?.running !== undefined || state?.terminated !== undefined || lastState?.terminated !== undefined;
}

/** Nothing of this init container holds those behind it back. */
function isDone(status: ContainerStatus, pod: Pod): boolean {
  const container = pod.spec.initContainers?.find(({ name }) => name === status.name);
  return container?.restartPolicy === 'Always' ? status.started === true : status.state?.terminated?.exitCode === 0;
}
