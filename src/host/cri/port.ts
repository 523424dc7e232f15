/**
 * What deckhand asks of a container runtime: CRI v1 in plain records (kubernetes/cri-api runtime/v1 api.proto, v1.36).
 * Names follow the CRI. All times are milliseconds since the epoch (fractions carry the runtime's nanoseconds); 0 means
 * "not yet". Every call throws CodedError: NotFound, Unavailable (socket gone, runtime restarting), DeadlineExceeded,
 * Unimplemented, AlreadyExists, InvalidArgument, Internal (the runtime's own words in the message).
 */
export interface CriRuntime {
  version(signal?: AbortSignal): Promise<VersionInfo>;
  status(signal?: AbortSignal): Promise<RuntimeStatus>;
  /** The image of sandboxes, where the runtime says (containerd does). */
  sandboxImage(): Promise<string | undefined>;
  /** Unimplemented before containerd 2. */
  runtimeConfig(): Promise<{ readonly cgroupDriver: 'cgroupfs' | 'systemd' }>;
  updateRuntimeConfig(podCIDR: string): Promise<void>;

  runPodSandbox(config: PodSandboxConfig, runtimeHandler: string, signal?: AbortSignal): Promise<string>;
  stopPodSandbox(id: string): Promise<void>;
  removePodSandbox(id: string): Promise<void>;
  podSandboxStatus(id: string): Promise<PodSandboxStatus>;
  listPodSandbox(filter?: ListFilter): Promise<PodSandbox[]>;
  updatePodSandboxResources(id: string, overhead: LinuxResources, resources: LinuxResources): Promise<void>;

  createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: PodSandboxConfig,
    signal?: AbortSignal,
  ): Promise<string>;
  startContainer(id: string, signal?: AbortSignal): Promise<void>;
  /** Sends the stop signal, and SIGKILL after `timeoutSeconds`. Idempotent. */
  stopContainer(id: string, timeoutSeconds: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  listContainers(filter?: ListFilter): Promise<Container[]>;
  containerStatus(id: string): Promise<ContainerStatus>;
  updateContainerResources(id: string, resources: LinuxResources): Promise<void>;
  reopenContainerLog(id: string): Promise<void>;
  checkpointContainer(id: string, location: string, timeoutSeconds: number): Promise<void>;
  /** Runs a command and waits. `timeoutSeconds` 0 is no limit; past it the call throws DeadlineExceeded. */
  execSync(id: string, command: readonly string[], timeoutSeconds: number, signal?: AbortSignal): Promise<ExecResult>;
  /** Each answers a URL on the runtime's streaming server. */
  exec(request: ExecRequest): Promise<string>;
  attach(request: Omit<ExecRequest, 'command'>): Promise<string>;
  portForward(sandboxId: string, ports: readonly number[]): Promise<string>;

  containerStats(id: string): Promise<ContainerStats>;
  listContainerStats(filter?: ListFilter): Promise<ContainerStats[]>;
  podSandboxStats(id: string): Promise<PodSandboxStats>;
  listPodSandboxStats(filter?: ListFilter): Promise<PodSandboxStats[]>;

  listImages(): Promise<Image[]>;
  /** undefined when the image is not on the node. */
  imageStatus(image: string): Promise<Image | undefined>;
  /** Returns the image reference (id or digest) to create containers with. No deadline: progress is the runtime's. */
  pullImage(image: string, sandboxConfig: PodSandboxConfig, auth?: AuthConfig, signal?: AbortSignal): Promise<string>;
  removeImage(image: string): Promise<void>;
  imageFsInfo(): Promise<{
    readonly imageFilesystems: FilesystemUsage[];
    readonly containerFilesystems: FilesystemUsage[];
  }>;

  /**
   * What happens to containers, as it happens, from the best source that the runtime has: containerd's own event
   * service, else CRI GetContainerEvents (other runtimes), else none. Reconnects by itself until `signal` aborts.
   * `onEvent` tells which container changed; `onGap` tells that events may have been missed (connected, reconnected),
   * so that the listener lists again. Resolves when aborted; resolves at once with 'unsupported' where there is no source.
   */
  watchEvents(listener: RuntimeEventListener, signal: AbortSignal): Promise<'aborted' | 'unsupported'>;

  close(): void;
}

export interface RuntimeEventListener {
  onEvent(event: RuntimeEvent): void;
  onGap(): void;
}

export interface RuntimeEvent {
  /**
   * `stopped`: from now on the runtime's answers say so too. `exited` may come first, from a source that is ahead of
   * them (containerd's own events: 1 ms after the exit, `stopped` some 45 ms after it).
   */
  readonly type: 'created' | 'started' | 'exited' | 'stopped' | 'deleted';
  /** A container's or a sandbox's id. */
  readonly id: string;
  /** Only from the CRI's own stream. */
  readonly podUid?: string;
  /** Only with `exited`. */
  readonly exitCode?: number;
  readonly atMs: number;
}

export interface VersionInfo {
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly runtimeApiVersion: string;
}

export interface RuntimeStatus {
  readonly conditions: readonly { type: string; status: boolean; reason: string; message: string }[];
  readonly runtimeHandlers: readonly { name: string; recursiveReadOnlyMounts: boolean; userNamespaces: boolean }[];
  /** undefined: the runtime is older than the question (containerd before 2.0). */
  readonly supplementalGroupsPolicy: boolean | undefined;
}

export type Labels = Readonly<Record<string, string>>;

export interface ListFilter {
  readonly id?: string;
  readonly podSandboxId?: string;
  readonly labels?: Labels;
}

export interface PodSandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';

export interface NamespaceOptions {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly targetId?: string;
  /** Of the pod's own user namespace, for uids and gids alike; absent: the host's users. */
  readonly userMapping?: IdMapping;
}

export interface IdMapping {
  readonly hostId: number;
  readonly containerId: number;
  readonly length: number;
}

export interface SecurityProfileConfig {
  readonly type: 'RuntimeDefault' | 'Unconfined' | 'Localhost';
  /** An absolute path (seccomp) or a profile name (AppArmor) for Localhost. */
  readonly localhostRef?: string;
}

export interface SELinuxOption {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

export interface DNSConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export interface LinuxResources {
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly memoryLimitInBytes?: number;
  readonly oomScoreAdj?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly hugepageLimits?: readonly { pageSize: string; limit: number }[];
  /** cgroup v2 files by name. */
  readonly unified?: Labels;
  readonly memorySwapLimitInBytes?: number;
}

export interface PodSandboxConfig {
  readonly metadata: PodSandboxMetadata;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dnsConfig?: DNSConfig;
  readonly portMappings: readonly PortMapping[];
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly linux: {
    readonly cgroupParent: string;
    readonly namespaceOptions: NamespaceOptions;
    readonly selinuxOptions?: SELinuxOption;
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly readonlyRootfs?: boolean;
    readonly supplementalGroups?: readonly number[];
    readonly supplementalGroupsPolicy?: 'Merge' | 'Strict';
    readonly privileged?: boolean;
    readonly seccomp?: SecurityProfileConfig;
    readonly apparmor?: SecurityProfileConfig;
    readonly sysctls?: Labels;
    readonly overhead?: LinuxResources;
    readonly resources?: LinuxResources;
  };
}

export type SandboxState = 'READY' | 'NOTREADY';

export interface PodSandbox {
  readonly id: string;
  readonly metadata: PodSandboxMetadata;
  readonly state: SandboxState;
  readonly createdAt: number;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly runtimeHandler: string;
}

export interface PodSandboxStatus extends PodSandbox {
  /** Primary address first; empty in host network. */
  readonly ips: readonly string[];
  readonly namespaceOptions: NamespaceOptions;
}

export interface Mount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly selinuxRelabel?: boolean;
  readonly propagation: 'PRIVATE' | 'HOST_TO_CONTAINER' | 'BIDIRECTIONAL';
  readonly recursiveReadOnly?: boolean;
  /** An image to mount instead of a host path (KEP-4639), of which containerd knows since 2.1. */
  readonly image?: { readonly image: string; readonly userSpecifiedImage: string };
  readonly imageSubPath?: string;
  /** The owners of what is mounted, as the container sees them. */
  readonly idMapping?: IdMapping;
}

export interface Device {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly permissions: string;
}

export interface ContainerSecurity {
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  readonly privileged: boolean;
  readonly namespaceOptions: NamespaceOptions;
  readonly selinuxOptions?: SELinuxOption;
  readonly runAsUser?: number;
  readonly runAsUsername?: string;
  readonly runAsGroup?: number;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy?: 'Merge' | 'Strict';
  readonly noNewPrivs: boolean;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp?: SecurityProfileConfig;
  readonly apparmor?: SecurityProfileConfig;
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number };
  /** What to run (an image id from imageStatus or pullImage). */
  readonly image: string;
  /** What the user wrote in the pod. */
  readonly userSpecifiedImage: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly envs: readonly { key: string; value: string }[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  /** Devices that the runtime looks up by their names (CDI), such as vendor.com/gpu=0. */
  readonly cdiDevices?: readonly string[];
  readonly labels: Labels;
  readonly annotations: Labels;
  /** Relative to the sandbox's log directory. */
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly resources: LinuxResources;
  readonly security: ContainerSecurity;
}

export type ContainerStateName = 'CREATED' | 'RUNNING' | 'EXITED' | 'UNKNOWN';

export interface Container {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly image: string;
  readonly imageRef: string;
  /** The image's id on this node, where the runtime tells (containerd 2). */
  readonly imageId?: string;
  readonly state: ContainerStateName;
  readonly createdAt: number;
  readonly labels: Labels;
  readonly annotations: Labels;
}

export interface ContainerStatus {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly state: ContainerStateName;
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly image: string;
  readonly imageRef: string;
  /** The image's id on this node, where the runtime tells (containerd 2). */
  readonly imageId?: string;
  /** The runtime's: Completed, Error, OOMKilled, StartError. */
  readonly reason: string;
  readonly message: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly mounts: readonly Mount[];
  readonly logPath: string;
  readonly resources?: LinuxResources;
  readonly user?: { readonly uid: number; readonly gid: number; readonly supplementalGroups: readonly number[] };
}

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

export interface ExecRequest {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface CpuUsage {
  readonly atMs: number;
  readonly usageCoreNanoSeconds: number;
  readonly usageNanoCores?: number;
}

export interface MemoryUsage {
  readonly atMs: number;
  readonly workingSetBytes: number;
  readonly availableBytes?: number;
  readonly usageBytes?: number;
  readonly rssBytes?: number;
  readonly pageFaults?: number;
  readonly majorPageFaults?: number;
}

export interface FilesystemUsage {
  readonly atMs: number;
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

export interface ContainerStats {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly cpu?: CpuUsage;
  readonly memory?: MemoryUsage;
  readonly writableLayer?: FilesystemUsage;
}

export interface PodSandboxStats {
  readonly id: string;
  readonly metadata: PodSandboxMetadata;
  readonly labels: Labels;
  readonly cpu?: CpuUsage;
  readonly memory?: MemoryUsage;
  readonly network?: { readonly interface: string; readonly rxBytes: number; readonly txBytes: number };
  readonly processCount?: number;
}

export interface Image {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: number;
  readonly uid?: number;
  readonly username: string;
  readonly pinned: boolean;
}

export interface AuthConfig {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}
