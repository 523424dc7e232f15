import type { Image } from '../host/cri/port.ts';
import type { FilesystemCapacity, MachineFacts } from '../host/machine/port.ts';
import type { ResourceList } from '../model/meta.ts';
import type { NodeStatus } from '../model/node.ts';
import { formatBytes } from '../model/quantity.ts';
import { isExtendedResource } from './extended-resources.ts';
import { type FoundIPs, nodeAddresses } from './node-addresses.ts';
import { nodeConditions } from './node-conditions.ts';
import type { PressureKind } from './pressure.ts';
import type { RuntimeFacts } from './runtime-facts.ts';
import { shownRuntimeVersion } from './runtime-version.ts';

export interface NodeStatusOptions {
  readonly nodeName: string;
  /** --node-ip. */
  readonly nodeIPs: readonly string[];
  /** --cloud-provider=external: another process sets the addresses. */
  readonly externalCloudProvider: boolean;
  readonly maxPods: number;
  /** 0: no limit of that kind. */
  readonly podsPerCore: number;
  readonly kubeletPort: number;
  /** -1: all. */
  readonly maxImages: number;
  /** False: the node has no capacity of ephemeral storage (localStorageCapacityIsolation). Default true. */
  readonly localStorage?: boolean;
  /** status.nodeInfo.kubeletVersion, such as v1.36.0+deckhand.0.1.0. */
  readonly kubeletVersion: string;
  /** Sorted names of what this node can do beyond what every node can (KEP-5328). */
  readonly declaredFeatures: readonly string[];
}

export interface NodeFacts {
  readonly machine: MachineFacts;
  readonly ips: FoundIPs;
  /** The file system of the pod directories. */
  readonly nodefs: FilesystemCapacity | undefined;
  readonly runtime: RuntimeFacts;
  readonly unhealthy: readonly string[];
  /** The machine is going down (graceful node shutdown). */
  readonly shuttingDown?: boolean;
  readonly pressures: ReadonlySet<PressureKind>;
  /** A capacity without what is reserved. */
  readonly allocatable: (capacity: ResourceList) => ResourceList;
  /** What device plugins have: all of it, what is healthy, and resources that are no more. */
  readonly devices?: DeviceResources | undefined;
  /** Attachable volumes that pods here have; undefined: not known yet, what the API has stays. */
  readonly volumesInUse?: readonly string[] | undefined;
}

export interface DeviceResources {
  readonly capacity: ResourceList;
  readonly allocatable: ResourceList;
  readonly removed: readonly string[];
}

/** Milliseconds since the epoch for what is written, Clock.monotonic for what is measured. */
export interface Moment {
  readonly now: number;
  readonly monotonic: number;
}

/** kubelet lists at most five names of an image (nodestatus/setters.go, maxNamesPerImageInNodeStatus). */
const NAMES_PER_IMAGE = 5;

/** What the machine has (kubelet nodestatus.MachineInfo). */
export function nodeCapacity(
  machine: Pick<MachineFacts, 'cpuCount' | 'memoryBytes' | 'hugepages'>,
  nodefs: Pick<FilesystemCapacity, 'capacityBytes'> | undefined,
  options: Pick<NodeStatusOptions, 'maxPods' | 'podsPerCore'>,
): ResourceList {
  const { maxPods, podsPerCore } = options;
  const pods = podsPerCore > 0 ? Math.min(maxPods, podsPerCore * machine.cpuCount) : maxPods;
  const capacity: ResourceList = {
    cpu: String(machine.cpuCount),
    memory: formatBytes(machine.memoryBytes),
    pods: String(pods),
  };
  if (nodefs !== undefined) capacity['ephemeral-storage'] = formatBytes(nodefs.capacityBytes);
  for (const { size, bytes } of machine.hugepages) capacity[`hugepages-${size}`] = formatBytes(bytes);
  return capacity;
}

/**
 * The whole status that this node writes of itself, worked out in kubelet's order. `previous` is the API's: it gives
 * unchanged conditions their age, and holds resources that others advertise on this node.
 */
export function nodeStatus(
  facts: NodeFacts,
  options: NodeStatusOptions,
  previous: NodeStatus | undefined,
  { now, monotonic }: Moment,
): NodeStatus {
  const { machine, runtime } = facts;
  const local = options.localStorage ?? true;
  const own = nodeCapacity(machine, local ? facts.nodefs : undefined, options);
  const { devices } = facts;
  const none = Object.fromEntries((devices?.removed ?? []).map((name) => [name, '0']));
  const capacity = { ...previous?.capacity, ...own, ...devices?.capacity, ...none };
  const needed = ['cpu', 'memory', 'pods', ...(local ? ['ephemeral-storage'] : [])];
  const missing = needed.filter((name) => capacity[name] === undefined);
  const { version, abilities } = runtime;
  return {
    addresses: nodeAddresses(facts.ips, options, previous?.addresses),
    capacity,
    allocatable: {
      ...allocatableOf(capacity, facts.allocatable, previous?.allocatable),
      ...devices?.allocatable,
      ...none,
    },
    nodeInfo: {
      machineID: machine.machineID,
      systemUUID: machine.systemUUID,
      bootID: machine.bootID,
      kernelVersion: machine.kernelVersion,
      osImage: machine.osImage,
      containerRuntimeVersion:
        version === undefined
          ? 'containerd://Unknown'
          : `${version.runtimeName}://${shownRuntimeVersion(version.runtimeVersion)}`,
      kubeletVersion: options.kubeletVersion,
      // No longer filled since 1.33 (DisableNodeKubeProxyVersion).
      kubeProxyVersion: '',
      operatingSystem: machine.operatingSystem,
      architecture: machine.architecture,
      ...(machine.swapBytes > 0 ? { swap: { capacity: machine.swapBytes } } : {}),
    },
    daemonEndpoints: { kubeletEndpoint: { Port: options.kubeletPort } },
    images: nodeImages(runtime.images, options.maxImages),
    ...(abilities === undefined
      ? keptAbilities(previous)
      : {
          runtimeHandlers: abilities.runtimeHandlers
            .map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
              name,
              features: { recursiveReadOnlyMounts, userNamespaces },
            }))
            .sort((a, b) => (a.name < b.name ? -1 : 1)),
          ...(abilities.supplementalGroupsPolicy === undefined
            ? {}
            : { features: { supplementalGroupsPolicy: abilities.supplementalGroupsPolicy } }),
        }),
    conditions: nodeConditions(
      {
        runtime,
        unhealthy: facts.unhealthy,
        shuttingDown: facts.shuttingDown ?? false,
        pressures: facts.pressures,
        missing,
      },
      previous?.conditions,
      now,
      monotonic,
    ),
    declaredFeatures: [...options.declaredFeatures],
    ...volumesInUse(facts.volumesInUse ?? previous?.volumesInUse),
  };
}

/** Every resource in capacity has an allocatable amount; an extended one that is in capacity no longer has none. */
function allocatableOf(
  capacity: ResourceList,
  allocatable: (capacity: ResourceList) => ResourceList,
  previous: ResourceList | undefined,
): ResourceList {
  const kept = Object.entries(previous ?? {}).filter(([name]) => !(name in capacity) && !isExtendedResource(name));
  return { ...Object.fromEntries(kept), ...allocatable(capacity) };
}

function volumesInUse(names: readonly string[] | undefined): Pick<NodeStatus, 'volumesInUse'> {
  return names === undefined || names.length === 0 ? {} : { volumesInUse: [...names] };
}

/** While the runtime has not yet said what it can do, what it could do before stands. */
function keptAbilities(previous: NodeStatus | undefined): Pick<NodeStatus, 'runtimeHandlers' | 'features'> {
  const { runtimeHandlers, features } = previous ?? {};
  return {
    ...(runtimeHandlers === undefined ? {} : { runtimeHandlers }),
    ...(features === undefined ? {} : { features }),
  };
}

/** The biggest images, with their digests and tags; of equal ones the greater id first (sliceutils.ByImageSize). */
function nodeImages(images: readonly Image[], most: number): { names: string[]; sizeBytes: number }[] {
  const sorted = [...images].sort((a, b) => b.size - a.size || (a.id > b.id ? -1 : 1));
  const kept = most < 0 ? sorted : sorted.slice(0, most);
  return kept.map(({ repoDigests, repoTags, size }) => ({
    names: [...repoDigests, ...repoTags].slice(0, NAMES_PER_IMAGE),
    sizeBytes: size,
  }));
}
