import { CodedError } from '../../kit/errors.ts';
import type { ContainerStatus, Pod } from '../../model/pod.ts';

/**
 * The id of the container whose log a pod's status leads to (kubelet_pods.go validateContainerLogStatus). Throws NotFound
 * with kubelet's words when it has none.
 */
export function loggedContainerId(pod: Pod, containerName: string, previous: boolean): string {
  const podName = pod.metadata.name ?? '';
  const about = `container ${JSON.stringify(containerName)} in pod ${JSON.stringify(podName)}`;
  const no = (message: string): CodedError => new CodedError('NotFound', message, { container: containerName });
  const status = statusOf(pod, containerName);
  if (status === undefined) throw no(`${about} is not available`);
  const last = status.lastState?.terminated;
  const { waiting, running, terminated } = status.state ?? {};
  if (previous) {
    if ((last?.containerID ?? '') === '') throw no(`previous terminated ${about} not found`);
    return idOf(last?.containerID);
  }
  if (running !== undefined) return idOf(status.containerID);
  if (terminated !== undefined || last !== undefined) {
    // What ended now may never have been a container: then the one before it tells why.
    const id = terminated?.containerID || last?.containerID || '';
    if (id === '') throw no(`${about} is terminated`);
    return idOf(id);
  }
  switch (waiting?.reason) {
    case undefined:
      throw no(`${about} is waiting to start - no logs yet`);
    case 'ErrImagePull':
      throw no(`${about} is waiting to start: image can't be pulled`);
    case 'ImagePullBackOff':
      throw no(`${about} is waiting to start: trying and failing to pull image`);
    default:
      throw no(`${about} is waiting to start: ${waiting?.reason}`);
  }
}

export function hasContainer({ spec }: Pod, name: string): boolean {
  const { containers, initContainers = [], ephemeralContainers = [] } = spec;
  return [...containers, ...initContainers, ...ephemeralContainers].some((one) => one.name === name);
}

function statusOf({ status }: Pod, name: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (one) => one.name === name,
  );
}

/** "containerd://ID" */
function idOf(text: string | undefined): string {
  return (text ?? '').replace(/^.*:\/\//, '');
}
