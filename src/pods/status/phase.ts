import type { ContainerStatus, Pod, PodPhase } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { restartPolicyOf } from '../diff/outcome.ts';

export interface Statuses {
  readonly init: readonly ContainerStatus[];
  readonly app: readonly ContainerStatus[];
}

/** The pod's phase from its container statuses (kubelet getPhase). `terminal`: nothing of it runs or will run. */
export function phaseOf(pod: Pod, statuses: Statuses, terminal: boolean): PodPhase {
  const init = countInit(pod, statuses.init);
  if (init.failed && restartPolicyOf(pod) === 'Never') return 'Failed';
  let running = 0;
  let waiting = 0;
  let stopped = 0;
  let succeeded = 0;
  let everStarted = false;
  for (const { state, lastState } of statuses.app) {
    const ended = state?.terminated ?? (state?.running === undefined ? lastState?.terminated : undefined);
    if (state?.running !== undefined) running++;
    else if (ended !== undefined) stopped++;
    else waiting++;
    if (state?.terminated?.exitCode === 0) succeeded++;
    if (state?.running !== undefined || ended !== undefined) everStarted = true;
  }
  if (terminal) return stopped > 0 && waiting === 0 && running === 0 && stopped === succeeded ? 'Succeeded' : 'Failed';
  if (init.pending || (init.pendingSidecar && !everStarted)) return 'Pending';
  if (waiting > 0) return 'Pending';
  if (running > 0) return 'Running';
  if (restartPolicyOf(pod) === 'Always') return 'Running';
  if (stopped === succeeded) return 'Succeeded';
  return restartPolicyOf(pod) === 'Never' ? 'Failed' : 'Running';
}

function countInit(
  pod: Pod,
  statuses: readonly ContainerStatus[],
): { pending: boolean; pendingSidecar: boolean; failed: boolean } {
  let pending = false;
  let pendingSidecar = false;
  let failed = false;
  for (const container of pod.spec.initContainers ?? []) {
    const status = statuses.find(({ name }) => name === container.name);
    const ended =
      status?.state?.terminated ?? (status?.state?.running === undefined ? status?.lastState?.terminated : undefined);
    if (isSidecar(container)) {
      if (status?.started !== true && ended === undefined) pendingSidecar = true;
    } else if (ended === undefined) pending = true;
    else if (ended.exitCode !== 0) failed = true;
  }
  return { pending, pendingSidecar, failed };
}
