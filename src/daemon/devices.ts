import { RealDevicePluginHost } from '../host/devices/real.ts';
import type { Files } from '../host/files/port.ts';
import type { NumaNode } from '../host/machine/port.ts';
import type { ContainerMemory, PodResources, PodResourcesSource } from '../host/pod-resources/port.ts';
import { servePodResources } from '../host/pod-resources/real.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import { TokenBucket } from '../kit/token-bucket.ts';
import { keyOf } from '../model/meta.ts';
import type { Pod } from '../model/pod.ts';
import { isExtendedResource } from '../node/extended-resources.ts';
import { countPodResources } from '../pods/devices/count-pod-resources.ts';
import { DeviceManager } from '../pods/devices/device-manager.ts';
import type { MemoryBlock } from '../pods/managers/memory-ledger.ts';
import type { Foundation } from './foundation.ts';
import type { ResourceManagers } from './resource-managers.ts';

export interface DevicesDeps {
  readonly files: Files;
  /** Pods of this node, whatever their state. */
  readonly pods: () => Iterable<Pod>;
  readonly isActive: (podUid: string) => boolean;
  readonly nodeChanged: () => void;
  readonly numaNodes: readonly NumaNode[];
}

/** kubelet apis/podresources: 100 requests a second, 10 at once. */
const LIMIT = { perSecond: 100, burst: 10 };

/** The device manager, listening for plugins. */
export async function openDevices(
  { config, clock, log, metrics, closers }: Foundation,
  { files, isActive, nodeChanged, numaNodes }: DevicesDeps,
): Promise<DeviceManager> {
  const logger = log.child({ part: 'devices' });
  const manager = new DeviceManager(
    { directory: `${config.rootDir}/device-plugins` },
    {
      host: new RealDevicePluginHost({ clock }),
      files,
      isExtendedResource,
      isActive,
      changed: nodeChanged,
      clock,
      log: logger,
      metrics,
      numaNodes: numaNodes.map(({ id }) => id),
    },
  );
  closers.add('devices', () => manager.close());
  try {
    await manager.start();
  } catch (error) {
    // As a node without devices it is of use all the same.
    logger.error({ error: messageOf(error) }, 'device plugins cannot register');
  }
  return manager;
}

/** Tells monitoring agents who has what, on pod-resources/kubelet.sock. */
export async function tellPodResources(
  { config, clock, log, metrics, closers }: Foundation,
  {
    files,
    pods,
    devices,
    managers: { cpus, memory },
  }: Pick<DevicesDeps, 'files' | 'pods'> & { readonly devices: DeviceManager; readonly managers: ResourceManagers },
): Promise<void> {
  const directory = `${config.rootDir}/pod-resources`;
  const bucket = new TokenBucket(LIMIT, clock);
  const limited = <T>(answer: () => T): T => {
    if (bucket.tryTake()) return answer();
    throw new CodedError(
      'ResourceExhausted',
      'pod resources are asked for too often; want at most 100 requests a second',
    );
  };
  const resourcesOf = (pod: Pod): PodResources => ({
    name: pod.metadata.name ?? '',
    namespace: pod.metadata.namespace ?? '',
    containers: containersOf(pod).map((container) => ({
      name: container.name,
      devices: devices.devicesOf(pod.metadata.uid ?? '', container.name),
      cpuIds: cpus?.exclusiveOf(pod.metadata.uid ?? '', container.name) ?? [],
      memory: memory?.blocksOf(pod.metadata.uid ?? '', container.name).map(memoryOf) ?? [],
    })),
  });
  try {
    await files.makeDirectory(directory, 0o750);
    await files.remove(`${directory}/kubelet.sock`);
    const source: PodResourcesSource = {
      list: () => [...pods()].filter(isUnderWay).map(resourcesOf),
      allocatable: () => ({
        devices: devices.allocatableDevices(),
        cpuIds: cpus?.allocatable() ?? [],
        memory: memory?.allocatable().map(memoryOf) ?? [],
      }),
      get: (namespace, name) => {
        const found = [...pods()].find((pod) => keyOf(pod) === `${namespace}/${name}`);
        return found && resourcesOf(found);
      },
    };
    const { list, allocatable, get } = countPodResources(source, metrics);
    const server = await servePodResources(`${directory}/kubelet.sock`, {
      list: () => limited(list),
      allocatable: () => limited(allocatable),
      get: (namespace, name) => limited(() => get(namespace, name)),
    });
    closers.add('pod resources', () => server.close());
  } catch (error) {
    log.error({ part: 'devices', error: messageOf(error) }, 'pod resources cannot be asked for');
  }
}

function memoryOf({ type, size, numaAffinity }: MemoryBlock): ContainerMemory {
  return { memoryType: type, size, numaNodes: numaAffinity };
}

function isUnderWay({ status }: Pod): boolean {
  return status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}

/** Those that run as long as the pod does: sidecars and the rest. */
function containersOf({ spec }: Pod): { readonly name: string }[] {
  return [...(spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'), ...spec.containers];
}
