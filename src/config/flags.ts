import type { Kind } from './config-documents.ts';

/** How a flag's text becomes the value of its field. */
type FlagForm =
  | 'text'
  | 'integer'
  | 'number'
  | 'boolean'
  /** Joined by commas. */
  | 'list'
  /** KEY=VALUE pairs. */
  | 'map'
  /** KEY<VALUE pairs. */
  | 'thresholds'
  /** GATE=true pairs. */
  | 'gates'
  | 'taints'
  /** NAME:VALUE pairs. */
  | 'headers'
  /** NODE:TYPE=QUANTITY[,…];… */
  | 'memory';

export interface FlagTarget {
  readonly kind: Kind;
  readonly path: readonly string[];
}

/** One command-line flag that stands for a configuration field, with kubelet's or kube-proxy's name where they have one. */
export interface Flag extends FlagTarget {
  readonly name: string;
  readonly as: FlagForm;
  /** Another field that it sets, too. */
  readonly also?: FlagTarget;
  /** What stands for the value in --help, and what it is for. Without: known, but left out of --help. */
  readonly value?: string;
  readonly help?: string;
}

export interface FlagGroup {
  readonly title: string;
  readonly flags: readonly Flag[];
}

const of =
  (kind: Kind) =>
  (name: string, path: string, as: FlagForm, value: string, help: string): Flag => ({
    name,
    kind,
    path: path.split('.'),
    as,
    value,
    help,
  });
const kubelet = of('KubeletConfiguration');
const proxy = of('KubeProxyConfiguration');
const deckhand = of('DeckhandConfiguration');

const FEATURE_GATES: Flag = {
  ...kubelet('feature-gates', 'featureGates', 'gates', 'GATE=true|false[,…]', 'features to turn on or off'),
  also: { kind: 'KubeProxyConfiguration', path: ['featureGates'] },
};

/** What `deckhand run --help` shows; each flag leads to a field that deckhand follows. */
const GROUPS: readonly FlagGroup[] = [
  {
    title: 'Joining a cluster',
    flags: [
      deckhand('kubeconfig', 'kubeconfig', 'text', 'FILE', 'API server to join; without it the embedded API runs'),
      deckhand('bootstrap-kubeconfig', 'bootstrapKubeconfig', 'text', 'FILE', 'makes the kubeconfig by TLS bootstrap'),
      deckhand('proxy-kubeconfig', 'proxyKubeconfig', 'text', 'FILE', 'another identity for Services'),
      deckhand('cert-dir', 'certDir', 'text', 'DIR', 'certificates of the node (ROOT-DIR/pki)'),
      kubelet(
        'rotate-certificates',
        'rotateCertificates',
        'boolean',
        'true|false',
        'renew the client certificate (false)',
      ),
      kubelet(
        'rotate-server-certificates',
        'serverTLSBootstrap',
        'boolean',
        'true|false',
        'serving certificate by CSR (false)',
      ),
      kubelet('tls-cert-file', 'tlsCertFile', 'text', 'FILE', 'a serving certificate of your own'),
      kubelet('tls-private-key-file', 'tlsPrivateKeyFile', 'text', 'FILE', 'its key'),
      kubelet(
        'client-ca-file',
        'authentication.x509.clientCAFile',
        'text',
        'FILE',
        "whose certificates may call the node's API",
      ),
      kubelet('kube-api-qps', 'kubeAPIQPS', 'integer', 'N', 'requests to the API server a second (50)'),
      kubelet('kube-api-burst', 'kubeAPIBurst', 'integer', 'N', 'and at once (100)'),
    ],
  },
  {
    title: 'The node',
    flags: [
      deckhand('hostname-override', 'hostnameOverride', 'text', 'NAME', "name of the node (the machine's hostname)"),
      deckhand('node-ip', 'nodeIPs', 'list', 'IP[,IP]', 'addresses of the node; 0.0.0.0 or :: prefers a family'),
      deckhand('node-labels', 'nodeLabels', 'map', 'KEY=VALUE[,…]', 'labels to register the node with'),
      kubelet(
        'register-with-taints',
        'registerWithTaints',
        'taints',
        'KEY=VALUE:EFFECT[,…]',
        'taints to register with',
      ),
      kubelet('register-node', 'registerNode', 'boolean', 'true|false', 'create the Node object (true)'),
      kubelet('provider-id', 'providerID', 'text', 'ID', "the machine's name at its cloud provider"),
      deckhand('cloud-provider', 'cloudProvider', 'text', 'external', 'a cloud controller manager completes the Node'),
      kubelet(
        'node-status-update-frequency',
        'nodeStatusUpdateFrequency',
        'text',
        'DURATION',
        'between two looks at the node (10s)',
      ),
      kubelet(
        'node-status-max-images',
        'nodeStatusMaxImages',
        'integer',
        'N',
        'images that the status lists (50; -1: all)',
      ),
      deckhand('root-dir', 'rootDir', 'text', 'DIR', 'pod directories and volumes (/var/lib/kubelet)'),
      deckhand('lock-file', 'lockFile', 'text', 'FILE', 'a lock that one process at a time holds'),
      deckhand(
        'exit-on-lock-contention',
        'exitOnLockContention',
        'boolean',
        'true|false',
        'end when another waits for it (false)',
      ),
      FEATURE_GATES,
    ],
  },
  {
    title: 'Runtime and images',
    flags: [
      kubelet('container-runtime-endpoint', 'containerRuntimeEndpoint', 'text', 'SOCKET', 'where the runtime listens'),
      kubelet(
        'image-service-endpoint',
        'imageServiceEndpoint',
        'text',
        'SOCKET',
        'where images are served, if elsewhere',
      ),
      kubelet(
        'runtime-request-timeout',
        'runtimeRequestTimeout',
        'text',
        'DURATION',
        'for what is not long by nature (2m)',
      ),
      deckhand(
        'image-credential-provider-config',
        'imageCredentialProviderConfig',
        'text',
        'PATH',
        'pull credential plugins',
      ),
      deckhand(
        'image-credential-provider-bin-dir',
        'imageCredentialProviderBinDir',
        'text',
        'DIR',
        'where those plugins are',
      ),
      kubelet(
        'serialize-image-pulls',
        'serializeImagePulls',
        'boolean',
        'true|false',
        'one pull after the other (true)',
      ),
      kubelet('registry-qps', 'registryPullQPS', 'integer', 'N', 'pulls a second (5; 0: no limit)'),
      kubelet('registry-burst', 'registryBurst', 'integer', 'N', 'and at once (10)'),
    ],
  },
  {
    title: 'Pods',
    flags: [
      kubelet('pod-manifest-path', 'staticPodPath', 'text', 'PATH', 'file or folder of static pods'),
      kubelet('manifest-url', 'staticPodURL', 'text', 'URL', 'where more static pods are served'),
      kubelet('manifest-url-header', 'staticPodURLHeader', 'headers', 'NAME:VALUE[,…]', 'headers to ask for them with'),
      kubelet('file-check-frequency', 'fileCheckFrequency', 'text', 'DURATION', 'between two looks at that path (20s)'),
      kubelet('http-check-frequency', 'httpCheckFrequency', 'text', 'DURATION', 'and at that URL (20s)'),
      kubelet('max-pods', 'maxPods', 'integer', 'N', 'pods that run at most (110)'),
      kubelet('pods-per-core', 'podsPerCore', 'integer', 'N', 'and for each CPU (0: no limit)'),
      kubelet('pod-max-pids', 'podPidsLimit', 'integer', 'N', 'processes of a pod at most (-1: no limit)'),
      kubelet('pod-cidr', 'podCIDR', 'text', 'CIDR', "the pods' addresses, for the runtime"),
      kubelet('cluster-dns', 'clusterDNS', 'list', 'IP[,IP]', 'DNS servers for pods'),
      kubelet('cluster-domain', 'clusterDomain', 'text', 'DOMAIN', 'domain of the cluster'),
      kubelet('resolv-conf', 'resolvConf', 'text', 'FILE', "the host's resolver configuration (/etc/resolv.conf)"),
      kubelet('sync-frequency', 'syncFrequency', 'text', 'DURATION', 'a pod is looked at this often at least (1m)'),
      kubelet(
        'seccomp-default',
        'seccompDefault',
        'boolean',
        'true|false',
        'RuntimeDefault where a pod says nothing (false)',
      ),
      kubelet(
        'allowed-unsafe-sysctls',
        'allowedUnsafeSysctls',
        'list',
        'NAME[,…]',
        'sysctls that pods may set besides the safe ones',
      ),
    ],
  },
  {
    title: 'Resources',
    flags: [
      kubelet('cgroup-root', 'cgroupRoot', 'text', 'PATH', 'cgroup below which all pods live (/)'),
      kubelet('cgroup-driver', 'cgroupDriver', 'text', 'NAME', 'cgroupfs'),
      kubelet(
        'cgroups-per-qos',
        'cgroupsPerQOS',
        'boolean',
        'true|false',
        'a cgroup for each QoS class and pod (true)',
      ),
      kubelet('enforce-node-allocatable', 'enforceNodeAllocatable', 'list', 'LIST', 'what is limited (pods)'),
      kubelet('kube-reserved', 'kubeReserved', 'map', 'RES=QUANTITY[,…]', 'kept for Kubernetes daemons'),
      kubelet('system-reserved', 'systemReserved', 'map', 'RES=QUANTITY[,…]', 'kept for the system'),
      kubelet('reserved-cpus', 'reservedSystemCPUs', 'text', 'CPUS', 'CPUs kept for both, such as 0-1'),
      kubelet('eviction-hard', 'evictionHard', 'thresholds', 'SIGNAL<QUANTITY[,…]', 'kept free of pods'),
      kubelet('cpu-cfs-quota', 'cpuCFSQuota', 'boolean', 'true|false', 'CPU limits are enforced (true)'),
      kubelet('cpu-cfs-quota-period', 'cpuCFSQuotaPeriod', 'text', 'DURATION', 'over this time (100ms)'),
      kubelet('fail-swap-on', 'failSwapOn', 'boolean', 'true|false', 'refuse to start with swap (true)'),
      kubelet('fail-cgroupv1', 'failCgroupV1', 'boolean', 'true|false', 'refuse to start on cgroup v1 (false)'),
      kubelet(
        'protect-kernel-defaults',
        'protectKernelDefaults',
        'boolean',
        'true|false',
        'check sysctls instead of setting them (false)',
      ),
      kubelet('oom-score-adj', 'oomScoreAdj', 'integer', 'N', "deckhand's own oom_score_adj (-999)"),
      kubelet('max-open-files', 'maxOpenFiles', 'integer', 'N', 'files that deckhand may open (1000000)'),
    ],
  },
  {
    title: 'Services',
    flags: [
      proxy('proxy-mode', 'mode', 'text', 'MODE', 'nftables, iptables or ipvs (default: nftables if it works here)'),
      proxy(
        'cluster-cidr',
        'clusterCIDR',
        'text',
        'CIDR',
        "the pods' addresses in the whole cluster, which need no masquerading",
      ),
      proxy(
        'detect-local-mode',
        'detectLocalMode',
        'text',
        'MODE',
        'how local pods are told from others (ClusterCIDR)',
      ),
      proxy('pod-bridge-interface', 'detectLocal.bridgeInterface', 'text', 'NAME', 'for BridgeInterface'),
      proxy(
        'pod-interface-name-prefix',
        'detectLocal.interfaceNamePrefix',
        'text',
        'PREFIX',
        'for InterfaceNamePrefix',
      ),
      proxy(
        'nodeport-addresses',
        'nodePortAddresses',
        'list',
        'CIDR[,…]',
        "where node ports answer (all of the machine's addresses)",
      ),
      proxy(
        'masquerade-all',
        'iptables.masqueradeAll',
        'boolean',
        'true|false',
        'masquerade all traffic to Services (false)',
      ),
      proxy(
        'iptables-masquerade-bit',
        'iptables.masqueradeBit',
        'integer',
        'BIT',
        'marks what is to be masqueraded (14)',
      ),
      proxy(
        'iptables-localhost-nodeports',
        'iptables.localhostNodePorts',
        'boolean',
        'true|false',
        'node ports on loopback (true)',
      ),
      proxy('iptables-sync-period', 'iptables.syncPeriod', 'text', 'DURATION', 'rules are read back this often (30s)'),
      proxy(
        'iptables-min-sync-period',
        'iptables.minSyncPeriod',
        'text',
        'DURATION',
        'least time between two syncs (50ms)',
      ),
      proxy(
        'conntrack-max-per-core',
        'conntrack.maxPerCore',
        'integer',
        'N',
        'tracked connections for each CPU (32768)',
      ),
      proxy('conntrack-min', 'conntrack.min', 'integer', 'N', 'and at least (131072)'),
      proxy('conntrack-tcp-timeout-established', 'conntrack.tcpEstablishedTimeout', 'text', 'DURATION', 'idle (24h)'),
      proxy(
        'conntrack-tcp-timeout-close-wait',
        'conntrack.tcpCloseWaitTimeout',
        'text',
        'DURATION',
        'half closed (1h)',
      ),
    ],
  },
  {
    title: 'Health, events and log',
    flags: [
      kubelet('healthz-port', 'healthzPort', 'integer', 'PORT', 'health and metrics (10248; 0: none)'),
      kubelet('healthz-bind-address', 'healthzBindAddress', 'text', 'IP', 'where they are served (127.0.0.1)'),
      kubelet('port', 'port', 'integer', 'PORT', "port of the node's API in the Node object (10250)"),
      kubelet('event-qps', 'eventRecordQPS', 'integer', 'N', 'events a second (50; 0: no limit)'),
      kubelet('event-burst', 'eventBurst', 'integer', 'N', 'and at once (100)'),
      deckhand('v', 'log.verbosity', 'integer', 'N', '-v: 0 warnings, 2 changes (default), 4 decisions, 6 wire'),
      deckhand('logging-format', 'log.format', 'text', 'json|text', 'how log lines look (json)'),
    ],
  },
  {
    title: 'The embedded API',
    flags: [
      deckhand(
        'manifests',
        'embeddedAPI.manifests',
        'text',
        'DIR',
        'apply the YAML of a folder and follow its changes',
      ),
      deckhand('data-dir', 'embeddedAPI.dataDir', 'text', 'DIR', 'state of the embedded API (/var/lib/deckhand)'),
      deckhand('api-port', 'embeddedAPI.port', 'integer', 'PORT', 'port of the embedded API on loopback (6443)'),
      deckhand('service-cidr', 'embeddedAPI.serviceCIDR', 'text', 'CIDR', 'where ClusterIPs come from (10.96.0.0/16)'),
    ],
  },
];

/** Further flags of kubelet 1.36 (cmd/kubelet/app/options): form, name, field. */
const MORE_OF_KUBELET = `
  text address address
  boolean anonymous-auth authentication.anonymous.enabled
  boolean authentication-token-webhook authentication.webhook.enabled
  text authentication-token-webhook-cache-ttl authentication.webhook.cacheTTL
  text authorization-mode authorization.mode
  text authorization-webhook-cache-authorized-ttl authorization.webhook.cacheAuthorizedTTL
  text authorization-webhook-cache-unauthorized-ttl authorization.webhook.cacheUnauthorizedTTL
  integer container-log-max-files containerLogMaxFiles
  text container-log-max-size containerLogMaxSize
  boolean contention-profiling enableContentionProfiling
  text cpu-manager-policy cpuManagerPolicy
  map cpu-manager-policy-options cpuManagerPolicyOptions
  text cpu-manager-reconcile-period cpuManagerReconcilePeriod
  boolean enable-controller-attach-detach enableControllerAttachDetach
  boolean enable-debugging-handlers enableDebuggingHandlers
  boolean enable-server enableServer
  integer eviction-max-pod-grace-period evictionMaxPodGracePeriod
  map eviction-minimum-reclaim evictionMinimumReclaim
  text eviction-pressure-transition-period evictionPressureTransitionPeriod
  thresholds eviction-soft evictionSoft
  map eviction-soft-grace-period evictionSoftGracePeriod
  text hairpin-mode hairpinMode
  integer image-gc-high-threshold imageGCHighThresholdPercent
  integer image-gc-low-threshold imageGCLowThresholdPercent
  boolean kernel-memcg-notification kernelMemcgNotification
  text kube-api-content-type contentType
  text kube-reserved-cgroup kubeReservedCgroup
  text kubelet-cgroups kubeletCgroups
  boolean local-storage-capacity-isolation localStorageCapacityIsolation
  text log-flush-frequency logging.flushFrequency
  text log-json-info-buffer-size logging.options.json.infoBufferSize
  boolean log-json-split-stream logging.options.json.splitStream
  text log-text-info-buffer-size logging.options.text.infoBufferSize
  boolean log-text-split-stream logging.options.text.splitStream
  boolean make-iptables-util-chains makeIPTablesUtilChains
  text memory-manager-policy memoryManagerPolicy
  text minimum-image-ttl-duration imageMinimumGCAge
  map qos-reserved qosReserved
  integer read-only-port readOnlyPort
  memory reserved-memory reservedMemory
  boolean runonce runOnce
  text show-hidden-metrics-for-version showHiddenMetricsForVersion
  text streaming-connection-idle-timeout streamingConnectionIdleTimeout
  text system-cgroups systemCgroups
  text system-reserved-cgroup systemReservedCgroup
  list tls-cipher-suites tlsCipherSuites
  text tls-min-version tlsMinVersion
  text topology-manager-policy topologyManagerPolicy
  map topology-manager-policy-options topologyManagerPolicyOptions
  text topology-manager-scope topologyManagerScope
  text volume-plugin-dir volumePluginDir
  text volume-stats-agg-period volumeStatsAggPeriod`;

/** Further flags of kube-proxy 1.36 (cmd/kube-proxy/app/options.go) that kubelet has no other use for. */
const MORE_OF_KUBE_PROXY = `
  text bind-address bindAddress
  boolean bind-address-hard-fail bindAddressHardFail
  text config-sync-period configSyncPeriod
  boolean conntrack-tcp-be-liberal conntrack.tcpBeLiberal
  text conntrack-udp-timeout conntrack.udpTimeout
  text conntrack-udp-timeout-stream conntrack.udpStreamTimeout
  list ipvs-exclude-cidrs ipvs.excludeCIDRs
  text ipvs-min-sync-period ipvs.minSyncPeriod
  text ipvs-scheduler ipvs.scheduler
  boolean ipvs-strict-arp ipvs.strictARP
  text ipvs-sync-period ipvs.syncPeriod
  text ipvs-tcp-timeout ipvs.tcpTimeout
  text ipvs-tcpfin-timeout ipvs.tcpFinTimeout
  text ipvs-udp-timeout ipvs.udpTimeout
  text metrics-bind-address metricsBindAddress
  boolean profiling enableProfiling`;

const MORE_OF_DECKHAND = `
  text log-format log.format`;

/** All flags that stand for a field, besides --config and --config-dir. */
export const flags: readonly Flag[] = [
  ...GROUPS.flatMap((group) => group.flags),
  ...rows('KubeletConfiguration', MORE_OF_KUBELET),
  ...rows('KubeProxyConfiguration', MORE_OF_KUBE_PROXY),
  ...rows('DeckhandConfiguration', MORE_OF_DECKHAND),
];

/** The part of --help that tells of configuration flags. */
export function flagsHelp(): string {
  const config: FlagGroup = {
    title: 'Configuration',
    flags: [
      deckhand(
        'config',
        '',
        'text',
        'FILE',
        '-c: documents of the three kinds (docs/configuration.md); may be given again',
      ),
      deckhand('config-dir', '', 'text', 'DIR', 'drop-ins: its *.conf go over --config in lexical order'),
    ],
  };
  const lines: string[] = [];
  for (const { title, flags: shown } of [config, ...GROUPS]) {
    lines.push('', `${title}:`);
    for (const { name, value = '', help = '' } of shown) {
      const left = `  --${name} ${value}`;
      lines.push(left.length < 46 ? `${left.padEnd(46)}${help}` : `${left}\n${' '.repeat(46)}${help}`);
    }
  }
  lines.push('', 'All other flags of kubelet and kube-proxy 1.36 are known, too: see docs/configuration.md.');
  return lines.join('\n');
}

function rows(kind: Kind, table: string): Flag[] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const [as = '', name = '', path = ''] = line.trim().split(' ');
      return { name, kind, path: path.split('.'), as: as as FlagForm };
    });
}
