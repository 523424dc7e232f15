import type { Image } from '../host/cri/port.ts';
import type { FilesystemCapacity, HostAddress, MachineFacts } from '../host/machine/port.ts';
import type { ResourceList } from '../model/meta.ts';
import type { NodeStatus } from '../model/node.ts';
import { nodeAddresses, nodeIPs } from './node-addresses.ts';
import { nodeConditions } from './node-conditions.ts';
import type { PressureState } from './pressure.ts';
import type { RuntimeFacts } from './runtime-facts.ts';

export interface NodeStatusOptions {
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly maxPods: number;
  /** 0: no limit of that kind. */
  readonly podsPerCore: number;
  readonly kubeletPort: number;
  /** -1: all. */
  readonly maxImages: number;
  /** status.nodeInfo.kubeletVersion, such as v1.36.0+deckhand.0.1.0. */
  readonly kubeletVersion: string;
}

export interface NodeFacts {
  readonly machine: MachineFacts;
  readonly addresses: readonly HostAddress[];
  /** The file system of the pod directories. */
  readonly nodefs: FilesystemCapacity | undefined;
  readonly runtime: RuntimeFacts;
  readonly pressure: PressureState;
  /** Capacity without what is reserved. */
  readonly allocatable: ResourceList;
}

/** kubelet lists at most five names of an image (nodestatus/setters.go, maxNamesPerImageInNodeStatus). */
const NAMES_PER_IMAGE = 5;

/** What the machine has (kubelet nodestatus.MachineInfo). */
export function nodeCapacity(
  machine: MachineFacts,
  nodefs: FilesystemCapacity | undefined,
  options: Pick<NodeStatusOptions, 'maxPods' | 'podsPerCore'>,
): ResourceList {
  const { maxPods, podsPerCore } = options;
  const pods = podsPerCore > 0 ? Math.min(maxPods, podsPerCore * machine.cpuCount) : maxPods;
  const capacity: ResourceList = {
    cpu: String(machine.cpuCount),
    memory: `${Math.floor(machine.memoryBytes / 1024)}Ki`,
    pods: String(pods),
  };
  if (nodefs !== undefined) capacity['ephemeral-storage'] = `${Math.floor(nodefs.capacityBytes / 1024)}Ki`;
  for (const { size, bytes } of machine.hugepages) {
    capacity[`hugepages-${size}`] = bytes === 0 ? '0' : `${Math.floor(bytes / 1024)}Ki`;
  }
  return capacity;
}

/** The whole status that this node writes of itself. `previous` is the API's: it gives unchanged conditions their age. */
export function nodeStatus(
  facts: NodeFacts,
  options: NodeStatusOptions,
  previous: NodeStatus | undefined,
  now: number,
): NodeStatus {
  const { machine, runtime } = facts;
  const capacity = nodeCapacity(machine, facts.nodefs, options);
  const missing = ['cpu', 'memory', 'ephemeral-storage', 'pods'].filter((name) => capacity[name] === undefined);
  const { version, status } = runtime;
  return {
    addresses: nodeAddresses(nodeIPs(options.nodeIPs, facts.addresses), options.nodeName),
    capacity,
    allocatable: facts.allocatable,
    nodeInfo: {
      machineID: machine.machineID,
      systemUUID: machine.systemUUID,
      bootID: machine.bootID,
      kernelVersion: machine.kernelVersion,
      osImage: machine.osImage,
      containerRuntimeVersion:
        version === undefined ? 'unknown://unknown' : `${version.runtimeName}://${version.runtimeVersion}`,
      kubeletVersion: options.kubeletVersion,
      // No longer filled since 1.33 (DisableNodeKubeProxyVersion).
      kubeProxyVersion: '',
      operatingSystem: machine.operatingSystem,
      architecture: machine.architecture,
      ...(machine.swapBytes > 0 ? { swap: { capacity: machine.swapBytes } } : {}),
    },
    daemonEndpoints: { kubeletEndpoint: { Port: options.kubeletPort } },
    images: nodeImages(runtime.images, options.maxImages),
    ...(status === undefined
      ? {}
      : {
          runtimeHandlers: status.runtimeHandlers.map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
            name,
            features: { recursiveReadOnlyMounts, userNamespaces },
          })),
          features: { supplementalGroupsPolicy: status.supplementalGroupsPolicy },
        }),
    conditions: nodeConditions({ runtime, pressure: facts.pressure, missing }, previous?.conditions, now),
  };
}

/** The biggest images, with their digests and tags. */
function nodeImages(images: readonly Image[], most: number): { names: string[]; sizeBytes: number }[] {
  const named = images
    .map((image) => ({ names: [...image.repoDigests, ...image.repoTags], sizeBytes: image.size }))
    .filter(({ names }) => names.length > 0)
    .sort((a, b) => b.sizeBytes - a.sizeBytes || ((a.names[0] ?? '') < (b.names[0] ?? '') ? -1 : 1));
  const kept = most < 0 ? named : named.slice(0, most);
  return kept.map(({ names, sizeBytes }) => ({ names: names.slice(0, NAMES_PER_IMAGE), sizeBytes }));
}
