import type { Pod } from '../../../../src/model/pod.ts';
import type { NodePods } from './node-pods.ts';

/** What must stay as it is while the agent or the runtime restarts: one line a container, and one for Ready. */
export function fingerprintOf(pod: Pod): string[] {
  const name = pod.metadata.name;
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  // A Ready that went and came back has another time of transition.
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  return [
    `${name} uid ${pod.metadata.uid} ip ${pod.status?.podIP}`,
    ...statuses.map((status) => `${name}/${status.name} ${status.containerID} restarts ${status.restartCount}`),
    `${name} Ready=${ready?.status} since ${ready?.lastTransitionTime}`,
  ];
}

export async function fingerprints(pods: NodePods, names: readonly string[]): Promise<string[]> {
  return (await Promise.all(names.map((name) => pods.get(name)))).flatMap(fingerprintOf);
}
