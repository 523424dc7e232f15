import { formatIp, parseCidr, parseIp } from '../model/cidr.ts';
import { dns1123SubdomainError } from '../model/names.ts';
import type { Taint } from '../model/node.ts';
import { milliValueOf, wholeValueOf } from '../model/quantity.ts';
import type { Config } from './config.ts';
import type { Kind } from './config-documents.ts';
import type { deckhandFields } from './deckhand-fields.ts';
import type { Filled } from './fields.ts';
import type { KubeProxy } from './kube-proxy-rules.ts';
import { cpusOf } from './kubelet-fields.ts';
import { type Enabled, type Kubelet, MAX_NUMA_NODES } from './kubelet-rules.ts';
import { nodeLabelsError } from './node-labels.ts';
import { opensslCiphers } from './tls-ciphers.ts';

/** Everything that the three kinds say, with their defaults. */
export interface Complete {
  readonly kubelet: Kubelet;
  readonly proxy: KubeProxy;
  readonly own: Filled<typeof deckhandFields>;
  /** Fields that were not left to their defaults. */
  readonly given: {
    readonly maxOpenFiles: boolean;
  };
  /** Whether a feature gate is on. */
  readonly enabled: Enabled;
  /** Whether KubeProxyConfiguration's clientConnection.kubeconfig is there. */
  readonly proxyKubeconfigExists: boolean;
}

/** Reports a mistake of a field that lies between the kinds. */
export type WrongIn = (kind: Kind, path: readonly (string | number)[], message: string) => void;

/** What the cloud controller manager takes off when it knows the node (cloud-provider/api TaintExternalCloudProvider). */
const UNINITIALIZED: Taint = {
  key: 'node.cloudprovider.kubernetes.io/uninitialized',
  value: 'true',
  effect: 'NoSchedule',
};

/** The settings of the process. */
export function configOf(complete: Complete, machineName: () => string, wrong: WrongIn): Config {
  const { kubelet, proxy, own, given } = complete;
  const embedded = own.embeddedAPI;
  const kubeconfig = absent(own.kubeconfig);
  const manifests = absent(embedded.manifests);
  const bootstrapKubeconfig = absent(own.bootstrapKubeconfig);
  const ofDeckhand = (path: string) => (message: string) => wrong('DeckhandConfiguration', path.split('.'), message);
  if (kubeconfig !== undefined && manifests !== undefined) {
    ofDeckhand('embeddedAPI.manifests')(
      `is ${manifests}, but kubeconfig is set; expected manifests only with the embedded API`,
    );
  }
  if (bootstrapKubeconfig !== undefined && kubeconfig === undefined) {
    ofDeckhand('bootstrapKubeconfig')(
      `is ${bootstrapKubeconfig}, but kubeconfig is not set; expected where to write it`,
    );
  }
  if (own.exitOnLockContention && own.lockFile === '') {
    ofDeckhand('exitOnLockContention')('is true, but lockFile is not set; expected both');
  }
  const labelsError = nodeLabelsError(Object.keys(own.nodeLabels));
  if (labelsError !== undefined) ofDeckhand('nodeLabels')(`has ${labelsError}`);
  const endpoint = kubelet.containerRuntimeEndpoint;
  const external = own.cloudProvider === 'external';
  return {
    nodeName: nodeNameOf(own.hostnameOverride, proxy.hostnameOverride, machineName, wrong),
    nodeIPs: canonicalIps(own.nodeIPs, ofDeckhand('nodeIPs')),
    rootDir: own.rootDir === '' ? '/var/lib/kubelet' : own.rootDir,
    podLogsDir: kubelet.podLogsDir,
    containerLogsDir: own.containerLogsDir,
    containerLogs: {
      maxBytes: wholeValueOf(kubelet.containerLogMaxSize),
      maxFiles: kubelet.containerLogMaxFiles,
      workers: kubelet.containerLogMaxWorkers,
      monitorMs: kubelet.containerLogMonitorInterval,
    },
    kubeconfig,
    proxyKubeconfig: absent(own.proxyKubeconfig) ?? proxysOwn(complete),
    bootstrapKubeconfig,
    certificates: {
      directory: absent(own.certDir) ?? `${absent(own.rootDir) ?? '/var/lib/kubelet'}/pki`,
      rotateClient: kubelet.rotateCertificates,
      serverBootstrap: kubelet.serverTLSBootstrap,
      tlsCertFile: absent(kubelet.tlsCertFile),
      tlsPrivateKeyFile: absent(kubelet.tlsPrivateKeyFile),
      clientCAFile: absent(kubelet.authentication.x509.clientCAFile),
      tlsMinVersion: kubelet.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2',
      tlsCipherSuites: opensslCiphers(kubelet.tlsCipherSuites ?? [], (_field, message) =>
        wrong('KubeletConfiguration', ['tlsCipherSuites'], message),
      ),
      requestedLifeSeconds: own.certificateLife === undefined ? undefined : Math.floor(own.certificateLife / 1000),
    },
    staticPods: {
      path: absent(kubelet.staticPodPath),
      url: absent(kubelet.staticPodURL),
      urlHeader: kubelet.staticPodURLHeader,
      fileCheckMs: kubelet.fileCheckFrequency,
      httpCheckMs: kubelet.httpCheckFrequency,
    },
    checkpoint: { enabled: own.checkpoint.enabled ?? kubeconfig === undefined },
    featureGates: { ...proxy.featureGates, ...kubelet.featureGates },
    embeddedAPI: {
      dataDir: absent(embedded.dataDir) ?? '/var/lib/deckhand',
      port: embedded.port,
      serviceCIDR: serviceCidr(embedded.serviceCIDR, ofDeckhand('embeddedAPI.serviceCIDR')),
      manifests,
    },
    log: {
      verbosity: own.log.verbosity ?? kubelet.logging.verbosity ?? 2,
      format: own.log.format ?? kubelet.logging.format ?? 'json',
    },
    healthz: { address: kubelet.healthzBindAddress, port: kubelet.healthzPort },
    nodeAPI: nodeApiOf(kubelet),
    api: { qps: kubelet.kubeAPIQPS, burst: kubelet.kubeAPIBurst },
    events: { qps: kubelet.eventRecordQPS, burst: kubelet.eventBurst },
    runtime: {
      endpoint,
      imageEndpoint: absent(kubelet.imageServiceEndpoint) ?? endpoint,
      requestTimeoutMs: kubelet.runtimeRequestTimeout,
    },
    dns: {
      clusterDNS: kubelet.clusterDNS,
      clusterDomain: kubelet.clusterDomain,
      resolvConf: kubelet.resolvConf,
    },
    pods: {
      maxPods: kubelet.maxPods,
      podsPerCore: kubelet.podsPerCore,
      podPidsLimit: Math.max(-1, kubelet.podPidsLimit),
      syncFrequencyMs: kubelet.syncFrequency,
      maxCrashBackoffMs: kubelet.crashLoopBackOff.maxContainerRestartPeriod,
      podCIDR: kubelet.podCIDR,
      seccompDefault: kubelet.seccompDefault,
      allowedUnsafeSysctls: kubelet.allowedUnsafeSysctls,
      idsPerUserNamespace: kubelet.userNamespaces.idsPerPod,
    },
    cpuManager: cpuManagerOf(complete),
    ...numaManagersOf(complete),
    resize: {
      initContainers: complete.enabled('InPlacePodVerticalScalingInitContainers'),
      podLevel: complete.enabled('InPlacePodLevelResourcesVerticalScaling'),
    },
    images: {
      maxParallelPulls: kubelet.serializeImagePulls ? 1 : kubelet.maxParallelImagePulls,
      pullQPS: kubelet.registryPullQPS,
      pullBurst: kubelet.registryBurst,
      credentialProviderConfig: absent(own.imageCredentialProviderConfig),
      credentialProviderBinDir: absent(own.imageCredentialProviderBinDir),
      verificationPolicy: kubelet.imagePullCredentialsVerificationPolicy ?? 'NeverVerifyPreloadedImages',
      verificationAllowlist: kubelet.preloadedImagesVerificationAllowlist ?? [],
      collection: {
        highPercent: kubelet.imageGCHighThresholdPercent,
        lowPercent: kubelet.imageGCLowThresholdPercent,
        minAgeMs: kubelet.imageMinimumGCAge,
        maxAgeMs: kubelet.imageMaximumGCAge,
      },
    },
    cgroups: {
      root: absent(kubelet.cgroupRoot) ?? '/',
      driver: kubelet.cgroupDriver,
      perQOS: kubelet.cgroupsPerQOS,
      cpuCFSQuota: kubelet.cpuCFSQuota,
      cpuCFSQuotaPeriodMs: kubelet.cpuCFSQuotaPeriod,
      enforceNodeAllocatable: kubelet.enforceNodeAllocatable.filter((key) => key !== 'none'),
      kubeReservedCgroup: absent(kubelet.kubeReservedCgroup),
      systemReservedCgroup: absent(kubelet.systemReservedCgroup),
      swapBehavior: kubelet.memorySwap.swapBehavior ?? 'NoSwap',
      singleProcessOOMKill: kubelet.singleProcessOOMKill,
      memoryQos: complete.enabled('MemoryQoS')
        ? {
            tiered: kubelet.memoryReservationPolicy === 'TieredReservation',
            throttlingFactor: kubelet.memoryThrottlingFactor,
          }
        : undefined,
      memoryReservedPercent: percentOf(kubelet.qosReserved['memory']),
    },
    host: {
      failSwapOn: kubelet.failSwapOn,
      failCgroupV1: kubelet.failCgroupV1,
      protectKernelDefaults: kubelet.protectKernelDefaults,
      oomScoreAdj: kubelet.oomScoreAdj,
      maxOpenFiles: given.maxOpenFiles ? kubelet.maxOpenFiles : undefined,
      lockFile: absent(own.lockFile),
      exitOnLockContention: own.exitOnLockContention,
    },
    reserved: reservedOf(kubelet),
    eviction: {
      soft: kubelet.evictionSoft ?? {},
      softGraceMs: kubelet.evictionSoftGracePeriod ?? {},
      minimumReclaim: kubelet.evictionMinimumReclaim ?? {},
      transitionMs: kubelet.evictionPressureTransitionPeriod,
      maxPodGraceSeconds: kubelet.evictionMaxPodGracePeriod,
      storageIsolation: kubelet.localStorageCapacityIsolation,
      volumeStatsMs: kubelet.volumeStatsAggPeriod,
    },
    shutdown: {
      allMs: kubelet.shutdownGracePeriod,
      criticalMs: kubelet.shutdownGracePeriodCriticalPods,
      byPriority: (kubelet.shutdownGracePeriodByPodPriority ?? []).map(
        ({ priority = 0, shutdownGracePeriodSeconds = 0 }) => ({ priority, seconds: shutdownGracePeriodSeconds }),
      ),
    },
    node: {
      register: kubelet.registerNode,
      labels: own.nodeLabels,
      taints: external ? [...taintsOf(kubelet), UNINITIALIZED] : taintsOf(kubelet),
      providerID: absent(kubelet.providerID),
      externalCloudProvider: external,
      // On its own the node serves nobody but itself.
      address: kubelet.address ?? (kubeconfig === undefined ? '127.0.0.1' : '0.0.0.0'),
      kubeletPort: kubelet.port,
      statusUpdateMs: kubelet.nodeStatusUpdateFrequency,
      statusReportMs: kubelet.nodeStatusReportFrequency,
      leaseSeconds: kubelet.nodeLeaseDurationSeconds,
      maxImages: kubelet.nodeStatusMaxImages,
    },
    makeIPTablesUtilChains: kubelet.makeIPTablesUtilChains,
    services: {
      mode: proxy.mode ?? 'auto',
      clusterCIDR: proxy.clusterCIDR,
      detectLocal: detectLocalOf(proxy),
      ...rulesOf(proxy),
      ipvs: {
        scheduler: proxy.ipvs.scheduler,
        strictARP: proxy.ipvs.strictARP,
        excludeCIDRs: proxy.ipvs.excludeCIDRs,
        tcpMs: proxy.ipvs.tcpTimeout,
        tcpFinMs: proxy.ipvs.tcpFinTimeout,
        udpMs: proxy.ipvs.udpTimeout,
      },
      healthz: placeOf(proxy.healthzBindAddress),
      metrics: placeOf(proxy.metricsBindAddress),
      bindAddressHardFail: proxy.bindAddressHardFail,
      resetTcpFlows: own.services.resetTCPFlows,
      conntrack: {
        maxPerCore: proxy.conntrack.maxPerCore,
        min: proxy.conntrack.min,
        tcpEstablishedMs: proxy.conntrack.tcpEstablishedTimeout,
        tcpCloseWaitMs: proxy.conntrack.tcpCloseWaitTimeout,
        tcpBeLiberal: proxy.conntrack.tcpBeLiberal,
        udpMs: proxy.conntrack.udpTimeout,
        udpStreamMs: proxy.conntrack.udpStreamTimeout,
      },
    },
  };
}

/** kubeadm's names a file inside of kube-proxy's own pod, which is not there on the host. */
function proxysOwn({ proxy, own, proxyKubeconfigExists }: Complete): string | undefined {
  if (own.kubeconfig === '' || !proxyKubeconfigExists) return undefined;
  return absent(proxy.clientConnection.kubeconfig);
}

function nodeNameOf(own: string, proxys: string, machineName: () => string, wrong: WrongIn): string {
  const path = ['hostnameOverride'];
  if (own !== '' && proxys !== '' && own !== proxys) {
    wrong('KubeProxyConfiguration', path, `is ${proxys}, but the node's is ${own}; expected the same`);
  }
  // util/node GetHostname: trimmed and in lower case.
  const name = (absent(own) ?? absent(proxys) ?? machineName()).trim().toLowerCase();
  const error = dns1123SubdomainError(name);
  if (error !== undefined)
    wrong('DeckhandConfiguration', path, `makes the node name ${JSON.stringify(name)}: ${error}`);
  return name;
}

function nodeApiOf(kubelet: Kubelet): Config['nodeAPI'] {
  const { anonymous, webhook } = kubelet.authentication;
  const { mode, webhook: review } = kubelet.authorization;
  return {
    enabled: kubelet.enableServer,
    readOnlyPort: kubelet.readOnlyPort,
    anonymous: anonymous.enabled,
    tokens: { enabled: webhook.enabled, cacheMs: webhook.cacheTTL },
    authorization: { mode, allowedMs: review.cacheAuthorizedTTL, deniedMs: review.cacheUnauthorizedTTL },
    debuggingHandlers: kubelet.enableDebuggingHandlers,
    profilingHandler: kubelet.enableProfilingHandler,
    debugFlagsHandler: kubelet.enableDebugFlagsHandler,
    systemLogHandler: kubelet.enableSystemLogHandler,
    systemLogQuery: kubelet.enableSystemLogQuery,
    streamIdleMs: kubelet.streamingConnectionIdleTimeout,
  };
}

function cpuManagerOf({ kubelet, enabled }: Complete): Config['cpuManager'] {
  if (kubelet.cpuManagerPolicy !== 'static') return undefined;
  const { cpuManagerPolicyOptions: options = {}, reservedSystemCPUs, kubeReserved, systemReserved } = kubelet;
  const list = cpusOf(reservedSystemCPUs);
  const milli = milliValueOf(kubeReserved['cpu'] ?? '0') + milliValueOf(systemReserved['cpu'] ?? '0');
  return {
    reserved: list === undefined ? Math.ceil(milli / 1000) : [...list],
    fullPhysicalCpusOnly: options['full-pcpus-only'] === 'true',
    strictReservation: options['strict-cpu-reservation'] === 'true',
    acrossNuma: options['distribute-cpus-across-numa'] === 'true',
    bySocket: options['align-by-socket'] === 'true',
    acrossCores: options['distribute-cpus-across-cores'] === 'true',
    byUncoreCache: options['prefer-align-cpus-by-uncorecache'] === 'true',
    reconcileMs: kubelet.cpuManagerReconcilePeriod,
    withoutQuota: enabled('DisableCPUQuotaWithExclusiveCPUs'),
  };
}

function numaManagersOf({ kubelet }: Complete): Pick<Config, 'memoryManager' | 'topologyManager'> {
  const { memoryManagerPolicy, reservedMemory = [], topologyManagerPolicyOptions: options = {} } = kubelet;
  const reserved = reservedMemory.map(({ numaNode = 0, limits = {} }) => ({ numaNode, limits }));
  return {
    memoryManager: memoryManagerPolicy === 'Static' ? { reserved } : undefined,
    topologyManager: {
      policy: kubelet.topologyManagerPolicy,
      scope: kubelet.topologyManagerScope,
      preferClosest: options['prefer-closest-numa-nodes'] === 'true',
      maxNumaNodes: Number(options['max-allowable-numa-nodes'] ?? MAX_NUMA_NODES),
    },
  };
}

function percentOf(share: string | undefined): number | undefined {
  return share === undefined ? undefined : Number.parseInt(share, 10);
}

/** A list of CPUs goes before amounts of CPU, as in cmd/kubelet/app/server.go. */
function reservedOf({ kubeReserved, systemReserved, reservedSystemCPUs, evictionHard }: Kubelet): Config['reserved'] {
  const cpus = cpusOf(reservedSystemCPUs);
  if (cpus === undefined) return { kube: kubeReserved, system: systemReserved, evictionHard };
  const { cpu: _cpu, ...kube } = kubeReserved;
  return { kube, system: { ...systemReserved, cpu: String(cpus.size) }, evictionHard };
}

/** "0.0.0.0:10256", "[::]:10256" */
function placeOf(text: string): { readonly address: string; readonly port: number } {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon).replace(/[[\]]/g, ''), port: Number(text.slice(colon + 1)) };
}

/**
 * Each mode has settings of its own; in nftables mode node ports are at the node's first address and not on loopback, and
 * ipvs mode takes how to masquerade from iptables mode (cmd/kube-proxy/app/server_linux.go).
 */
function rulesOf(
  proxy: KubeProxy,
): Pick<
  Config['services'],
  'nodePortAddresses' | 'masqueradeAll' | 'masqueradeBit' | 'localhostNodePorts' | 'syncPeriodMs' | 'minSyncPeriodMs'
> {
  const { nodePortAddresses, nftables, iptables, ipvs, mode } = proxy;
  const own = mode === 'nftables' ? nftables : iptables;
  const times = mode === 'ipvs' ? ipvs : own;
  return {
    nodePortAddresses: mode === 'nftables' && nodePortAddresses.length === 0 ? ['primary'] : nodePortAddresses,
    localhostNodePorts: mode !== 'nftables' && mode !== 'ipvs' && iptables.localhostNodePorts,
    masqueradeAll: own.masqueradeAll,
    masqueradeBit: own.masqueradeBit,
    syncPeriodMs: times.syncPeriod,
    minSyncPeriodMs: times.minSyncPeriod,
  };
}

function detectLocalOf({ detectLocalMode: mode, detectLocal }: KubeProxy): Config['services']['detectLocal'] {
  const { bridgeInterface, interfaceNamePrefix } = detectLocal;
  if (mode === 'BridgeInterface') return { mode, bridgeInterface };
  return mode === 'InterfaceNamePrefix' ? { mode, interfaceNamePrefix } : { mode };
}

function serviceCidr(given: readonly string[], wrong: (message: string) => void): readonly string[] {
  const cidrs = given.length === 0 ? ['10.96.0.0/16'] : given;
  for (const text of cidrs) {
    const cidr = parseCidr(text);
    if (cidr === undefined) continue;
    const [least, most] = cidr.family === 'IPv4' ? [8, 29] : [64, 125];
    if (cidr.prefix < least || cidr.prefix > most) {
      wrong(`is ${text}; expected a prefix of ${least} to ${most} bits`);
    }
  }
  return cidrs;
}

/** component-helpers node/util ParseNodeIPArgument: one address, or one of each family, neither of them unspecified. */
function canonicalIps(addresses: readonly string[], wrong: (message: string) => void): readonly string[] {
  const canonical = addresses.flatMap((address) => {
    const ip = parseIp(address);
    return ip === undefined ? [] : [{ family: ip.family, text: formatIp(ip) }];
  });
  const shown = addresses.join(',');
  if (new Set(canonical.map(({ family }) => family)).size < canonical.length) {
    wrong(`is ${shown}; expected one address, or one of each IP family`);
  } else if (canonical.length === 2 && canonical.some(({ text }) => text === '0.0.0.0' || text === '::')) {
    wrong(`is ${shown}; expected 0.0.0.0 or :: alone, for it stands for a family`);
  }
  return canonical.map(({ text }) => text);
}

function taintsOf({ registerWithTaints }: Kubelet): readonly Taint[] {
  return registerWithTaints.flatMap(({ key = '', value = '', effect }) =>
    effect === undefined ? [] : [{ key, effect, ...(value === '' ? {} : { value }) }],
  );
}

function absent(text: string): string | undefined {
  return text === '' ? undefined : text;
}
