import { labelValueError, qualifiedNameError } from '../model/names.ts';
import {
  absolute,
  anything,
  boolean,
  cidrList,
  duration,
  endpoint,
  integer,
  ip,
  later,
  listOf,
  mapOf,
  number,
  oneOf,
  quantity,
  refused,
  section,
  text,
  threshold,
} from './fields.ts';

const RESERVABLE = ['cpu', 'memory', 'ephemeral-storage', 'pid'];
const SIGNALS = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'containerfs.available',
  'containerfs.inodesFree',
  'allocatableMemory.available',
  'pid.available',
];

const reserved = () =>
  mapOf(quantity(), (key) =>
    RESERVABLE.includes(key) || key.startsWith('hugepages-')
      ? undefined
      : `is not a resource that can be reserved; expected ${RESERVABLE.join(', ')}`,
  );
const signals = () =>
  mapOf(threshold(), (key) =>
    SIGNALS.includes(key) ? undefined : `is not an eviction signal; expected one of ${SIGNALS.join(', ')}`,
  );
const port = () => integer(0, 65_535);
const oomScoreAdj = () => integer(-1000, 1000);

export const taint = section({
  key: text('a taint key'),
  value: text(),
  effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
  timeAdded: text(),
});

export const logging = section({
  format: oneOf('json', 'text'),
  verbosity: integer(0, 10),
  flushFrequency: later(anything()),
  vmodule: later(anything()),
  options: later(anything()),
});

/** Keys and values of labels. */
export const labels = mapOf(
  {
    honoured: true,
    read: (value, path, report) => {
      const error = typeof value === 'string' ? labelValueError(value) : 'is not text';
      if (error !== undefined) report({ level: 'error', path, message: error });
      return typeof value === 'string' && error === undefined ? value : undefined;
    },
  },
  (key) => qualifiedNameError(key),
);

/** All fields of kubelet.config.k8s.io/v1beta1 KubeletConfiguration (staging/src/k8s.io/kubelet/config/v1beta1/types.go). */
export const kubeletFields = {
  address: later(ip()),
  allowedUnsafeSysctls: listOf(text()),
  authentication: section({
    anonymous: later(section({ enabled: boolean() })),
    webhook: later(section({ enabled: boolean(), cacheTTL: duration() })),
    x509: section({ clientCAFile: text() }),
  }),
  authorization: later(
    section({
      mode: oneOf('AlwaysAllow', 'Webhook'),
      webhook: section({ cacheAuthorizedTTL: duration(), cacheUnauthorizedTTL: duration() }),
    }),
  ),
  // The systemd driver comes later; a node that is set up for it would run pods in cgroups that systemd takes away.
  cgroupDriver: oneOf('', 'cgroupfs'),
  cgroupRoot: absolute('a cgroup'),
  cgroupsPerQOS: boolean(),
  clusterDNS: listOf(ip()),
  clusterDomain: text('a DNS domain such as cluster.local'),
  configMapAndSecretChangeDetectionStrategy: later(oneOf('Watch', 'Cache', 'Get')),
  containerLogMaxFiles: later(integer(2)),
  containerLogMaxSize: later(quantity()),
  containerLogMaxWorkers: later(integer(1)),
  containerLogMonitorInterval: later(duration(3000)),
  containerRuntimeEndpoint: endpoint(),
  contentType: later(text()),
  cpuCFSQuota: boolean(),
  cpuCFSQuotaPeriod: duration(1),
  cpuManagerPolicy: later(oneOf('none', 'static')),
  cpuManagerPolicyOptions: later(mapOf(text())),
  cpuManagerReconcilePeriod: later(duration()),
  crashLoopBackOff: section({ maxContainerRestartPeriod: duration(1000, 300_000) }),
  defaultPodSysctls: later(mapOf(text())),
  enableContentionProfiling: later(boolean()),
  enableControllerAttachDetach: later(boolean()),
  enableDebugFlagsHandler: later(boolean()),
  enableDebuggingHandlers: later(boolean()),
  enableProfilingHandler: later(boolean()),
  enableServer: later(boolean()),
  enableSystemLogHandler: later(boolean()),
  enableSystemLogQuery: later(boolean()),
  enforceNodeAllocatable: listOf(
    oneOf(
      'none',
      'pods',
      'system-reserved',
      'kube-reserved',
      'system-reserved-compressible',
      'kube-reserved-compressible',
    ),
  ),
  eventBurst: integer(1),
  eventRecordQPS: integer(0),
  evictionHard: signals(),
  evictionMaxPodGracePeriod: later(integer(0)),
  evictionMinimumReclaim: later(signals()),
  evictionPressureTransitionPeriod: later(duration()),
  evictionSoft: later(signals()),
  evictionSoftGracePeriod: later(mapOf(duration())),
  failCgroupV1: later(boolean()),
  failSwapOn: later(boolean()),
  featureGates: mapOf(boolean()),
  fileCheckFrequency: duration(),
  hairpinMode: later(oneOf('promiscuous-bridge', 'hairpin-veth', 'none')),
  healthzBindAddress: ip(),
  healthzPort: port(),
  httpCheckFrequency: duration(),
  imageGCHighThresholdPercent: later(integer(0, 100)),
  imageGCLowThresholdPercent: later(integer(0, 100)),
  imageMaximumGCAge: later(duration()),
  imageMinimumGCAge: later(duration()),
  imagePullCredentialsVerificationPolicy: later(
    oneOf('NeverVerify', 'NeverVerifyPreloadedImages', 'NeverVerifyAllowlistedImages', 'AlwaysVerify'),
  ),
  imageServiceEndpoint: endpoint(),
  iptablesDropBit: later(integer(0, 31)),
  iptablesMasqueradeBit: later(integer(0, 31)),
  kernelMemcgNotification: later(boolean()),
  kubeAPIBurst: integer(1),
  kubeAPIQPS: integer(-1),
  kubeReserved: reserved(),
  kubeReservedCgroup: later(absolute('a cgroup')),
  kubeletCgroups: later(text()),
  localStorageCapacityIsolation: later(boolean()),
  logging,
  makeIPTablesUtilChains: later(boolean()),
  maxOpenFiles: later(integer(1, Number.MAX_SAFE_INTEGER)),
  maxParallelImagePulls: integer(1),
  maxPods: integer(1),
  memoryManagerPolicy: later(oneOf('None', 'Static')),
  memoryReservationPolicy: later(oneOf('None', 'TieredReservation')),
  memorySwap: later(section({ swapBehavior: oneOf('', 'NoSwap', 'LimitedSwap') })),
  memoryThrottlingFactor: later(number(0, 1)),
  mergeDefaultEvictionSettings: later(boolean()),
  nodeLeaseDurationSeconds: integer(1),
  nodeStatusMaxImages: integer(-1),
  nodeStatusReportFrequency: duration(1000),
  nodeStatusUpdateFrequency: duration(1000),
  oomScoreAdj: later(oomScoreAdj()),
  podCIDR: cidrList(),
  podLogsDir: absolute('a directory'),
  podPidsLimit: integer(-1, Number.MAX_SAFE_INTEGER),
  podsPerCore: integer(0),
  port: integer(1, 65_535),
  preloadedImagesVerificationAllowlist: later(listOf(text())),
  protectKernelDefaults: later(boolean()),
  providerID: text(),
  qosReserved: later(mapOf(text())),
  readOnlyPort: later(port()),
  registerNode: boolean(),
  registerWithTaints: listOf(taint),
  registryBurst: integer(1),
  registryPullQPS: integer(0),
  reservedMemory: later(listOf(section({ numaNode: integer(0), limits: mapOf(quantity()) }))),
  reservedSystemCPUs: later(text('a list of CPUs such as 0-3,7')),
  resolvConf: absolute('a file'),
  rotateCertificates: boolean(),
  runOnce: refused('running once is not supported'),
  runtimeRequestTimeout: duration(1000),
  seccompDefault: boolean(),
  serializeImagePulls: boolean(),
  serverTLSBootstrap: boolean(),
  showHiddenMetricsForVersion: later(text()),
  shutdownGracePeriod: later(duration()),
  shutdownGracePeriodByPodPriority: later(
    listOf(section({ priority: integer(-(2 ** 31)), shutdownGracePeriodSeconds: integer(0) })),
  ),
  shutdownGracePeriodCriticalPods: later(duration()),
  singleProcessOOMKill: later(boolean()),
  staticPodPath: absolute('a file or a directory'),
  staticPodURL: text('an http or https URL'),
  staticPodURLHeader: mapOf(listOf(text())),
  streamingConnectionIdleTimeout: later(duration()),
  syncFrequency: duration(1000),
  systemCgroups: later(text()),
  systemReserved: reserved(),
  systemReservedCgroup: later(absolute('a cgroup')),
  tlsCertFile: text(),
  tlsCipherSuites: later(listOf(text())),
  tlsCurvePreferences: later(listOf(integer(0))),
  tlsMinVersion: later(text()),
  tlsPrivateKeyFile: text(),
  topologyManagerPolicy: later(oneOf('none', 'best-effort', 'restricted', 'single-numa-node')),
  topologyManagerPolicyOptions: later(mapOf(text())),
  topologyManagerScope: later(oneOf('container', 'pod')),
  tracing: later(anything()),
  userNamespaces: later(section({ idsPerPod: integer(65_536, 2 ** 32) })),
  volumePluginDir: later(text()),
  volumeStatsAggPeriod: later(anything()),
} as const;
