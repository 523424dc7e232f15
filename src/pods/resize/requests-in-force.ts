import type { ResourceList } from '../../model/meta.ts';
import type { Container, ContainerStatus, Pod, PodStatus } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';

/**
 * The pod with the larger of what it was granted and of what its running containers have: a pod that is to shrink takes
 * its room until it has shrunk (component-helpers PodRequests with UseStatusResources).
 */
export function withRequestsInForce(pod: Pod, status: PodStatus | undefined): Pod {
  const statuses = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])];
  let changed = false;
  const larger = (container: Container): Container => {
    const requests = largerList(container.resources?.requests, actualOf(statuses, container.name));
    if (requests === undefined) return container;
    changed = true;
    return { ...container, resources: { ...container.resources, requests } };
  };
  const containers = pod.spec.containers.map(larger);
  const initContainers = pod.spec.initContainers?.map(larger);
  if (!changed) return pod;
  return { ...pod, spec: { ...pod.spec, containers, ...(initContainers === undefined ? {} : { initContainers }) } };
}

function actualOf(statuses: readonly ContainerStatus[], name: string): ResourceList {
  const status = statuses.find((one) => one.name === name);
  return status?.state?.running === undefined ? {} : (status.resources?.requests ?? {});
}

/** undefined: the granted ones are the larger. */
function largerList(granted: ResourceList | undefined, actual: ResourceList): ResourceList | undefined {
  let result: ResourceList | undefined;
  for (const name of ['cpu', 'memory']) {
    const [mine, theirs] = [granted?.[name], actual[name]];
    if (theirs === undefined || mine === undefined || parseQuantity(theirs) <= parseQuantity(mine)) continue;
    result = { ...(result ?? granted), [name]: theirs };
  }
  return result;
}
