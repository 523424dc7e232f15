import type { Container, ContainerStatus, Pod, PodPhase } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { restartsAfterExit } from '../diff/outcome.ts';
import { RESTARTING_ALL } from '../diff/restart-all.ts';

export interface Statuses {
  readonly init: readonly ContainerStatus[];
  readonly app: readonly ContainerStatus[];
}

/**
 * The pod's phase from its container statuses (kubelet getPhase). `terminal`: nothing of it runs or will run. A pod whose
 * containers were never started is Pending even then.
 */
export function phaseOf(pod: Pod, statuses: Statuses, terminal: boolean): PodPhase {
  const init = countInit(pod, statuses.init);
  if (init.failed) return 'Failed';
  let running = init.runningSidecars;
  let waiting = 0;
  let stopped = 0;
  let forGood = 0;
  let succeeded = 0;
  let everStarted = false;
  for (const container of pod.spec.containers) {
    const status = statuses.app.find(({ name }) => name === container.name);
    const ended = endOf(status);
    if (status?.state?.running !== undefined) running++;
    else if (ended === undefined) waiting++;
    else {
      stopped++;
      if (!comesBack(pod, container, ended)) forGood++;
    }
    if (status?.state?.terminated?.exitCode === 0) succeeded++;
    if (status?.state?.running !== undefined || ended !== undefined) everStarted = true;
  }
  if (init.pending || (init.pendingSidecar && !everStarted) || waiting > 0) return 'Pending';
  if (running > 0) return 'Running';
  if (!terminal && stopped !== forGood) return 'Running';
  return stopped === succeeded ? 'Succeeded' : 'Failed';
}

type End = { readonly exitCode: number; readonly reason?: string };

function comesBack(pod: Pod, container: Container, { exitCode, reason }: End): boolean {
  return reason === RESTARTING_ALL || restartsAfterExit(pod, container, exitCode);
}

/** How a container that does not run has ended; undefined when it never has. */
function endOf(status: ContainerStatus | undefined): End | undefined {
  if (status?.state?.running !== undefined) return undefined;
  return status?.state?.terminated ?? status?.lastState?.terminated;
}

interface InitCount {
  pending: boolean;
  pendingSidecar: boolean;
  runningSidecars: number;
  /** One has failed and is not started again. */
  failed: boolean;
}

function countInit(pod: Pod, statuses: readonly ContainerStatus[]): InitCount {
  const count: InitCount = { pending: false, pendingSidecar: false, runningSidecars: 0, failed: false };
  for (const container of pod.spec.initContainers ?? []) {
    const status = statuses.find(({ name }) => name === container.name);
    const ended = endOf(status);
    if (isSidecar(container)) {
      if (status?.state?.running !== undefined) count.runningSidecars++;
      if (status?.started !== true && ended === undefined) count.pendingSidecar = true;
    } else if (ended === undefined) count.pending = true;
    else if (ended.exitCode !== 0 && !comesBack(pod, container, ended)) count.failed = true;
  }
  return count;
}
