import type { Taint } from '../model/node.ts';

/** All settings of one process, checked and with their defaults. Times in milliseconds. Frozen. */
export interface Config {
  readonly nodeName: string;
  /** Empty: the machine's address that the default route leaves by. */
  readonly nodeIPs: readonly string[];
  /** Pod directories, volumes and plugins: kubelet's --root-dir. */
  readonly rootDir: string;
  readonly podLogsDir: string;
  /** A link to each container's log is made here. */
  readonly containerLogsDir: string;
  readonly containerLogs: {
    /** A log of this size is rotated; negative: none is. */
    readonly maxBytes: number;
    /** The live one included. */
    readonly maxFiles: number;
    readonly workers: number;
    readonly monitorMs: number;
  };
  /** An API server to join; undefined: the embedded API runs. */
  readonly kubeconfig: string | undefined;
  /** The identity that Services and EndpointSlices are read with; undefined: kubeconfig's. */
  readonly proxyKubeconfig: string | undefined;
  /** How to get a first client certificate while kubeconfig does not exist: kubelet's --bootstrap-kubeconfig. */
  readonly bootstrapKubeconfig: string | undefined;
  readonly certificates: {
    /** kubelet-client-current.pem, kubelet-server-current.pem and their predecessors: kubelet's --cert-dir. */
    readonly directory: string;
    /** Renew the client certificate by CSR. */
    readonly rotateClient: boolean;
    /** Get the serving certificate by CSR instead of signing one ourselves. */
    readonly serverBootstrap: boolean;
    readonly tlsCertFile: string | undefined;
    readonly tlsPrivateKeyFile: string | undefined;
    readonly tlsMinVersion: 'TLSv1.2' | 'TLSv1.3';
    /** OpenSSL's names, for TLS 1.2; empty: Node's default. */
    readonly tlsCipherSuites: readonly string[];
    /** spec.expirationSeconds of our requests; undefined: the signer decides. */
    readonly requestedLifeSeconds: number | undefined;
    /** Who may call the node's HTTPS API by certificate. */
    readonly clientCAFile: string | undefined;
  };
  readonly staticPods: {
    /** A file or a folder. */
    readonly path: string | undefined;
    readonly url: string | undefined;
    readonly urlHeader: Readonly<Record<string, readonly string[]>>;
    readonly fileCheckMs: number;
    readonly httpCheckMs: number;
  };
  /** Keeps the last known pods on disk, encrypted, so that a reboot without the API starts them. */
  readonly checkpoint: { readonly enabled: boolean };
  /** Gates by name, as given; unknown ones were refused or warned about. */
  readonly featureGates: Readonly<Record<string, boolean>>;
  readonly embeddedAPI: {
    readonly dataDir: string;
    /** 0: any free one. */
    readonly port: number;
    readonly serviceCIDR: readonly string[];
    readonly manifests: string | undefined;
  };
  readonly log: { readonly verbosity: number; readonly format: 'json' | 'text' };
  /** Port 0: none is served. */
  readonly healthz: { readonly address: string; readonly port: number };
  /** The node's own API, which node.address and node.kubeletPort place. */
  readonly nodeAPI: {
    readonly enabled: boolean;
    /** 0: none. It answers anybody over plain HTTP. */
    readonly readOnlyPort: number;
    readonly anonymous: boolean;
    /** Ask the API server who holds a bearer token, and how long its answer holds. */
    readonly tokens: { readonly enabled: boolean; readonly cacheMs: number };
    readonly authorization: {
      readonly mode: 'AlwaysAllow' | 'Webhook';
      readonly allowedMs: number;
      readonly deniedMs: number;
    };
    readonly debuggingHandlers: boolean;
    readonly profilingHandler: boolean;
    readonly debugFlagsHandler: boolean;
    readonly systemLogHandler: boolean;
    readonly systemLogQuery: boolean;
    /** A stream in which nothing moves for this long is ended. */
    readonly streamIdleMs: number;
  };
  readonly api: { readonly qps: number; readonly burst: number };
  readonly events: { readonly qps: number; readonly burst: number };
  readonly runtime: {
    readonly endpoint: string;
    readonly imageEndpoint: string;
    readonly requestTimeoutMs: number;
  };
  readonly dns: {
    readonly clusterDNS: readonly string[];
    readonly clusterDomain: string;
    /** "" is no file: nothing of the host's. */
    readonly resolvConf: string;
  };
  readonly pods: {
    readonly maxPods: number;
    readonly podsPerCore: number;
    /** -1: no limit. */
    readonly podPidsLimit: number;
    readonly syncFrequencyMs: number;
    readonly maxCrashBackoffMs: number;
    readonly podCIDR: readonly string[];
    readonly seccompDefault: boolean;
    readonly allowedUnsafeSysctls: readonly string[];
    /** Users of a pod with hostUsers: false; a multiple of 65,536. */
    readonly idsPerUserNamespace: number;
  };
  /** Undefined: no container has CPUs of its own. */
  readonly cpuManager:
    | {
        /** Never given away: these CPUs, or so many. */
        readonly reserved: readonly number[] | number;
        readonly fullPhysicalCpusOnly: boolean;
        readonly strictReservation: boolean;
        readonly acrossNuma: boolean;
        readonly bySocket: boolean;
        readonly acrossCores: boolean;
        readonly byUncoreCache: boolean;
        readonly reconcileMs: number;
        /** A container with CPUs of its own has no CFS quota. */
        readonly withoutQuota: boolean;
      }
    | undefined;
  /** Undefined: memory is nobody's own. */
  readonly memoryManager:
    | {
        /** What no pod gets of which NUMA node. */
        readonly reserved: readonly { readonly numaNode: number; readonly limits: Readonly<Record<string, string>> }[];
      }
    | undefined;
  /** Whether CPUs, memory and devices of a container, or of a pod, have to be near to each other. */
  readonly topologyManager: {
    readonly policy: 'none' | 'best-effort' | 'restricted' | 'single-numa-node';
    readonly scope: 'container' | 'pod';
    /** Of as many nodes those that are near to each other. */
    readonly preferClosest: boolean;
    /** With more nodes a policy other than none is refused. */
    readonly maxNumaNodes: number;
  };
  /** Which running pods get other resources, beside app containers and sidecars. */
  readonly resize: { readonly initContainers: boolean; readonly podLevel: boolean };
  readonly images: {
    /** Undefined: as many at once as there are. 1: one after the other. */
    readonly maxParallelPulls: number | undefined;
    /** 0: no limit. */
    readonly pullQPS: number;
    readonly pullBurst: number;
    /** Exec plugins for pull credentials: the CredentialProviderConfig file or folder, and where the plugins are. */
    readonly credentialProviderConfig: string | undefined;
    readonly credentialProviderBinDir: string | undefined;
    /** When a pod must prove that it may use an image that is on the node already (KEP-2535). */
    readonly verificationPolicy:
      | 'NeverVerify'
      | 'NeverVerifyPreloadedImages'
      | 'NeverVerifyAllowlistedImages'
      | 'AlwaysVerify';
    readonly verificationAllowlist: readonly string[];
    /** When unused ones are removed: percent of their file system, and age. */
    readonly collection: {
      readonly highPercent: number;
      readonly lowPercent: number;
      readonly minAgeMs: number;
      /** 0: none for its age. */
      readonly maxAgeMs: number;
    };
  };
  readonly cgroups: {
    readonly root: string;
    /** As configured; what the runtime says goes before it. */
    readonly driver: 'cgroupfs' | 'systemd';
    readonly perQOS: boolean;
    readonly cpuCFSQuota: boolean;
    readonly cpuCFSQuotaPeriodMs: number;
    /** Empty: nothing is enforced. */
    readonly enforceNodeAllocatable: readonly string[];
    readonly kubeReservedCgroup: string | undefined;
    readonly systemReservedCgroup: string | undefined;
    /** Whether pods may swap at all, within limits (cgroup v2). */
    readonly swapBehavior: 'NoSwap' | 'LimitedSwap';
    /** Undefined: true on cgroup v1, false on v2. */
    readonly singleProcessOOMKill: boolean | undefined;
    /** How memory is protected and slowed down on cgroup v2; undefined: not at all. */
    readonly memoryQos: { readonly tiered: boolean; readonly throttlingFactor: number } | undefined;
    /** So many per cent of the memory that pods of a class ask for is out of reach for lower classes; undefined: none. */
    readonly memoryReservedPercent: number | undefined;
  };
  /** What the machine has to be like. */
  readonly host: {
    readonly failSwapOn: boolean;
    readonly failCgroupV1: boolean;
    readonly protectKernelDefaults: boolean;
    readonly oomScoreAdj: number;
    /** Undefined: as many as the service manager allows. */
    readonly maxOpenFiles: number | undefined;
    readonly lockFile: string | undefined;
    readonly exitOnLockContention: boolean;
  };
  readonly reserved: {
    readonly kube: Readonly<Record<string, string>>;
    readonly system: Readonly<Record<string, string>>;
    /** Signal → quantity or percentage. */
    readonly evictionHard: Readonly<Record<string, string>>;
  };
  /** When the node is under pressure, besides reserved.evictionHard. By signal. */
  readonly eviction: {
    readonly soft: Readonly<Record<string, string>>;
    readonly softGraceMs: Readonly<Record<string, number>>;
    readonly minimumReclaim: Readonly<Record<string, string>>;
    /** A pressure shows for this long after it is over. */
    readonly transitionMs: number;
    /** What a pod gets at most when a soft threshold evicts it. */
    readonly maxPodGraceSeconds: number;
    /** Pods are held to their limits of local storage, and the node has a capacity of it. */
    readonly storageIsolation: boolean;
    /** How often volumes are measured; negative: never. */
    readonly volumeStatsMs: number;
  };
  /** How long a shutdown of the machine is held up for its pods; milliseconds. All 0 and none: not at all. */
  readonly shutdown: {
    readonly allMs: number;
    /** The last part of it, for critical pods. */
    readonly criticalMs: number;
    /** Instead of those two. */
    readonly byPriority: readonly { readonly priority: number; readonly seconds: number }[];
  };
  readonly node: {
    readonly register: boolean;
    readonly labels: Readonly<Record<string, string>>;
    readonly taints: readonly Taint[];
    readonly providerID: string | undefined;
    /** A cloud controller manager fills in addresses and provider ID, and takes the taint off. */
    readonly externalCloudProvider: boolean;
    /** Where the node's HTTPS API listens. */
    readonly address: string;
    /** Its port, which status.daemonEndpoints says. */
    readonly kubeletPort: number;
    readonly statusUpdateMs: number;
    readonly statusReportMs: number;
    readonly leaseSeconds: number;
    /** -1: all. */
    readonly maxImages: number;
  };
  /** kubelet's chains in iptables, for others. */
  readonly makeIPTablesUtilChains: boolean;
  readonly services: {
    /** auto: nftables where this machine has it, else iptables; all else as kube-proxy without a mode. */
    readonly mode: 'auto' | 'iptables' | 'nftables' | 'ipvs';
    readonly clusterCIDR: readonly string[];
    readonly detectLocal:
      | { readonly mode: 'ClusterCIDR' | 'NodeCIDR' }
      | { readonly mode: 'BridgeInterface'; readonly bridgeInterface: string }
      | { readonly mode: 'InterfaceNamePrefix'; readonly interfaceNamePrefix: string };
    readonly nodePortAddresses: readonly string[];
    readonly masqueradeAll: boolean;
    readonly masqueradeBit: number;
    readonly localhostNodePorts: boolean;
    /** Of mode ipvs. Milliseconds; 0 leaves what the kernel has. */
    readonly ipvs: {
      readonly scheduler: string;
      readonly strictARP: boolean;
      readonly excludeCIDRs: readonly string[];
      readonly tcpMs: number;
      readonly tcpFinMs: number;
      readonly udpMs: number;
    };
    /** Connections to an endpoint that is gone are broken off. */
    readonly resetTcpFlows: boolean;
    /** Connection tracking of the kernel; 0 leaves what it has. */
    readonly conntrack: {
      readonly maxPerCore: number;
      readonly min: number;
      readonly tcpEstablishedMs: number;
      readonly tcpCloseWaitMs: number;
      readonly tcpBeLiberal: boolean;
      readonly udpMs: number;
      readonly udpStreamMs: number;
    };
    /** Where kube-proxy's /healthz and /livez are, and its /metrics and /proxyMode. */
    readonly healthz: { readonly address: string; readonly port: number };
    readonly metrics: { readonly address: string; readonly port: number };
    /** A port of these two that is taken ends the daemon. */
    readonly bindAddressHardFail: boolean;
    readonly syncPeriodMs: number;
    readonly minSyncPeriodMs: number;
  };
}
