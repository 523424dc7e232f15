import { CodedError } from '../../kit/errors.ts';
import { serveUnary } from '../devices/unary-server.ts';
import type { PodResources, ServePodResources } from './port.ts';

const SERVICE = '/v1.PodResourcesLister';

export const servePodResources: ServePodResources = (socket, source) =>
  serveUnary(socket, {
    [`${SERVICE}/List`]: async () => {
      const { PodResourcesLister } = await generated();
      return PodResourcesLister.List.encode({ podResources: source.list().map(podToWire) });
    },
    [`${SERVICE}/GetAllocatableResources`]: async () => {
      const { PodResourcesLister } = await generated();
      const { devices, cpuIds, memory } = source.allocatable();
      return PodResourcesLister.GetAllocatableResources.encode({
        devices: devices.map(nearToWire),
        cpuIds,
        memory: memory.map(nearToWire),
      });
    },
    [`${SERVICE}/Get`]: async (bytes) => {
      const { PodResourcesLister } = await generated();
      const { podName, podNamespace } = PodResourcesLister.Get.decode(bytes);
      const found = source.get(podNamespace, podName);
      if (found === undefined) {
        throw new CodedError('NotFound', `pod ${podName} in namespace ${podNamespace} not found`, { pod: podName });
      }
      return PodResourcesLister.Get.encode({ podResources: podToWire(found) });
    },
  });

/** Loaded when somebody asks: most nodes have nobody who does. */
function generated(): Promise<typeof import('./generated/services.js')> {
  return import('./generated/services.js');
}

function podToWire({ containers, ...pod }: PodResources) {
  return {
    ...pod,
    containers: containers.map(({ devices, memory, ...rest }) => ({
      ...rest,
      devices: devices.map(nearToWire),
      memory: memory.map(nearToWire),
    })),
  };
}

function nearToWire<T extends { readonly numaNodes: readonly number[] }>({ numaNodes, ...rest }: T) {
  return { ...rest, ...(numaNodes.length === 0 ? {} : { topology: { nodes: numaNodes.map((ID) => ({ ID })) } }) };
}
