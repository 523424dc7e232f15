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
