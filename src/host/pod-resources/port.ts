/** Devices of one resource that are near to the same NUMA nodes. */
export interface ContainerDevices {
  readonly resourceName: string;
  readonly deviceIds: readonly string[];
  /** Empty: the plugin does not say. */
  readonly numaNodes: readonly number[];
}

/** Memory of one kind that is on some NUMA nodes. */
export interface ContainerMemory {
  /** "memory" or "hugepages-2Mi". */
  readonly memoryType: string;
  /** Bytes. */
  readonly size: number;
  readonly numaNodes: readonly number[];
}

export interface PodResources {
  readonly name: string;
  readonly namespace: string;
  readonly containers: readonly {
    readonly name: string;
    readonly devices: readonly ContainerDevices[];
    readonly cpuIds: readonly number[];
    readonly memory: readonly ContainerMemory[];
  }[];
}

/** What is asked of a node's resources (podresources v1). What it throws is told to the caller. */
export interface PodResourcesSource {
  list(): readonly PodResources[];
  allocatable(): {
    readonly devices: readonly ContainerDevices[];
    readonly cpuIds: readonly number[];
    readonly memory: readonly ContainerMemory[];
  };
  /** undefined: there is no such pod. */
  get(namespace: string, name: string): PodResources | undefined;
}

export type ServePodResources = (socket: string, source: PodResourcesSource) => Promise<{ close(): Promise<void> }>;
