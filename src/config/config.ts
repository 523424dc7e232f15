import type { Taint } from '../model/node.ts';

/** All settings of one process, checked and with their defaults. Times in milliseconds. Frozen. */
export interface Config {
  readonly nodeName: string;
  /** Empty: the machine's address that the default route leaves by. */
  readonly nodeIPs: readonly string[];
  /** Pod directories, volumes and plugins: kubelet's --root-dir. */
  readonly rootDir: string;
  readonly podLogsDir: string;
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
  };
  readonly images: {
    /** Undefined: as many at once as there are. 1: one after the other. */
    readonly maxParallelPulls: number | undefined;
    /** 0: no limit. */
    readonly pullQPS: number;
    readonly pullBurst: number;
    /** Exec plugins for pull credentials: the CredentialProviderConfig file or folder, and where the plugins are. */
    readonly credentialProviderConfig: string | undefined;
    readonly credentialProviderBinDir: string | undefined;
  };
  readonly cgroups: {
    readonly root: string;
    readonly driver: 'cgroupfs';
    readonly perQOS: boolean;
    readonly cpuCFSQuota: boolean;
    readonly cpuCFSQuotaPeriodMs: number;
    /** Empty: nothing is enforced. */
    readonly enforceNodeAllocatable: readonly string[];
    readonly kubeReservedCgroup: string | undefined;
    readonly systemReservedCgroup: string | undefined;
  };
  readonly reserved: {
    readonly kube: Readonly<Record<string, string>>;
    readonly system: Readonly<Record<string, string>>;
    /** Signal → quantity or percentage. */
    readonly evictionHard: Readonly<Record<string, string>>;
  };
  readonly node: {
    readonly register: boolean;
    readonly labels: Readonly<Record<string, string>>;
    readonly taints: readonly Taint[];
    readonly providerID: string | undefined;
    /** What status.daemonEndpoints says. */
    readonly kubeletPort: number;
    readonly statusUpdateMs: number;
    readonly statusReportMs: number;
    readonly leaseSeconds: number;
    /** -1: all. */
    readonly maxImages: number;
  };
  readonly services: {
    readonly mode: 'iptables';
    readonly clusterCIDR: readonly string[];
    readonly detectLocal:
      | { readonly mode: 'ClusterCIDR' | 'NodeCIDR' }
      | { readonly mode: 'BridgeInterface'; readonly bridgeInterface: string }
      | { readonly mode: 'InterfaceNamePrefix'; readonly interfaceNamePrefix: string };
    readonly nodePortAddresses: readonly string[];
    readonly masqueradeAll: boolean;
    readonly masqueradeBit: number;
    readonly localhostNodePorts: boolean;
    readonly syncPeriodMs: number;
    readonly minSyncPeriodMs: number;
  };
}
