import type { ContainerState, ContainerStatus, Pod } from '../../src/model/pod.ts';

/** One pod in the words of `kubectl get pods`. */
export interface PodSummary {
  readonly name: string;
  readonly ready: string;
  readonly state: string;
  readonly restarts: number;
  readonly ip: string;
}

export function isReady(pod: Pod): boolean {
  return (
    pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false
  );
}

/** Ready, or ended well: nothing more is to come. */
export function isSettled(pod: Pod): boolean {
  return isReady(pod) || pod.status?.phase === 'Succeeded';
}

export function containerStatus(pod: Pod, name: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  return [...containerStatuses, ...initContainerStatuses].find((status) => status.name === name);
}

/** The runtime's id, without "containerd://". */
export function containerId(pod: Pod, name: string): string {
  return containerStatus(pod, name)?.containerID?.replace(/^[a-z0-9-]+:\/\//, '') ?? '';
}

export function restartCount(pod: Pod): number {
  return (pod.status?.containerStatuses ?? []).reduce((sum, status) => sum + status.restartCount, 0);
}

const reasonOf = (state: ContainerState | undefined): string | undefined =>
  state?.waiting?.reason ??
  (state?.terminated === undefined ? undefined : (state.terminated.reason ?? `ExitCode:${state.terminated.exitCode}`));

function stateOf(pod: Pod): string {
  if (pod.metadata.deletionTimestamp !== undefined) return 'Terminating';
  const { phase = 'Pending', initContainerStatuses = [], containerStatuses = [], reason } = pod.status ?? {};
  const sidecars = new Set(
    pod.spec.initContainers?.filter((container) => container.restartPolicy === 'Always').map(({ name }) => name),
  );
  const done = (status: ContainerStatus): boolean =>
    sidecars.has(status.name) ? status.started === true : status.state?.terminated?.exitCode === 0;
  const pending = initContainerStatuses.findIndex((status) => !done(status));
  if (phase === 'Pending' && pending >= 0) {
    const why = reasonOf(initContainerStatuses[pending]?.state);
    const total = initContainerStatuses.length;
    return why === undefined || why === 'PodInitializing' ? `Init:${pending}/${total}` : `Init:${why}`;
  }
  for (const status of containerStatuses) {
    const why = reasonOf(status.state);
    if (why !== undefined) return why;
  }
  return reason ?? phase;
}

export function summarize(pod: Pod): PodSummary {
  const statuses = pod.status?.containerStatuses ?? [];
  return {
    name: pod.metadata.name ?? '',
    ready: `${statuses.filter((status) => status.ready).length}/${pod.spec.containers.length}`,
    state: stateOf(pod),
    restarts: restartCount(pod),
    ip: pod.status?.podIP ?? '',
  };
}
