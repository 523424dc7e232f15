import { parseCpus } from '../model/cpu-set.ts';
import { labelValueError, qualifiedNameError } from '../model/names.ts';
import {
  absolute,
  boolean,
  cidrList,
  duration,
  emptyIsAbsent,
  endpoint,
  exactDuration,
  exactInteger,
  type Field,
  integer,
  ip,
  later,
  listOf,
  mapOf,
  number,
  oneOf,
  or,
  quantity,
  refused,
  section,
  text,
  threshold,
  zeroIsAbsent,
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
const port = () => exactInteger(0, 65_535);
const yes = () => or(boolean(), true);
const no = () => or(boolean(), false);
const oomScoreAdj = () => or(exactInteger(-1000, 1000), -999);

/** CPUs as the kernel lists them: "0-3,7" (cpuset(7)). */
const cpuList = (): Field<string> => {
  const list = text('a list of CPUs such as 0-3,7');
  return {
    ...list,
    read: (value, path, report) => {
      const read = list.read(value, path, report);
      if (read === undefined || read === '' || cpusOf(read) !== undefined) return read;
      report({ level: 'error', path, message: `is ${JSON.stringify(read)}; expected a list of CPUs such as 0-3,7` });
      return undefined;
    },
  };
};

/** The CPUs of a list such as "0-3,7"; undefined when it is none. Unlike the kernel's files, a configuration has no blanks. */
export function cpusOf(list: string): ReadonlySet<number> | undefined {
  return list === '' || list !== list.trim() ? undefined : parseCpus(list);
}

export const taint = section({
  key: text('a taint key'),
  value: text(),
  effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
  timeAdded: refused('a taint to register with has no time yet'),
});

/** Nanoseconds as a number in old files, a duration in new ones (component-base TimeOrMetaDuration). */
const flushFrequency = (): Field<number> => {
  const asDuration = duration();
  return {
    ...asDuration,
    read: (value, path, report) => asDuration.read(typeof value === 'number' ? `${value}ns` : value, path, report),
  };
};
const routing = () => later(section({ splitStream: no(), infoBufferSize: or(quantity(), '0') }));

/** component-base logs/api/v1 LoggingConfiguration. Verbosity 0 is nothing said: a program that writes it out means that. */
export const logging = section({
  format: oneOf('json', 'text'),
  verbosity: integer(1, 10),
  // Lines are written at once.
  flushFrequency: flushFrequency(),
  vmodule: later(listOf(section({ filePattern: text('a pattern of file names'), verbosity: exactInteger(0) }))),
  options: section({ text: routing(), json: routing() }),
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

/**
 * All fields of kubelet.config.k8s.io/v1beta1 KubeletConfiguration in 1.36 (staging/src/k8s.io/kubelet/config/v1beta1/types.go)
 * with their defaults (pkg/kubelet/apis/config/v1beta1/defaults.go). Those that depend on others are in kubelet-rules.ts.
 */
export const kubeletFields = {
  // Without a kubeconfig: 127.0.0.1.
  address: ip(),
  allowedUnsafeSysctls: or(listOf(text()), []),
  authentication: section({
    anonymous: section({ enabled: no() }),
    webhook: section({ enabled: yes(), cacheTTL: or(duration(), '2m') }),
    x509: section({ clientCAFile: or(text('a path of a file'), '') }),
  }),
  authorization: section({
    mode: or(oneOf('AlwaysAllow', 'Webhook'), 'Webhook'),
    webhook: section({
      cacheAuthorizedTTL: or(duration(), '5m'),
      cacheUnauthorizedTTL: or(duration(), '30s'),
    }),
  }),
  // What the runtime says goes before it (KEP-4033); see daemon/check-machine.ts.
  cgroupDriver: or(oneOf('cgroupfs', 'systemd'), 'cgroupfs'),
  cgroupRoot: or(absolute('a cgroup'), ''),
  cgroupsPerQOS: yes(),
  clusterDNS: or(listOf(ip()), []),
  clusterDomain: or(text('a DNS domain such as cluster.local'), ''),
  configMapAndSecretChangeDetectionStrategy: later(or(oneOf('Watch', 'Cache', 'Get'), 'Watch')),
  containerLogMaxFiles: or(exactInteger(2), 5),
  containerLogMaxSize: or(emptyIsAbsent(quantity()), '10Mi'),
  containerLogMaxWorkers: or(exactInteger(1), 1),
  containerLogMonitorInterval: or(exactDuration(3000), '10s'),
  containerRuntimeEndpoint: or(emptyIsAbsent(endpoint()), 'unix:///run/containerd/containerd.sock'),
  // A preference between encodings of the same API; deckhand speaks JSON.
  contentType: or(emptyIsAbsent(text('a media type')), 'application/json'),
  cpuCFSQuota: yes(),
  cpuCFSQuotaPeriod: or(exactDuration(1, 1000), '100ms'),
  cpuManagerPolicy: or(oneOf('none', 'static'), 'none'),
  cpuManagerPolicyOptions: mapOf(text()),
  cpuManagerReconcilePeriod: or(duration(), '10s'),
  crashLoopBackOff: section({ maxContainerRestartPeriod: or(exactDuration(1000, 300_000), '5m') }),
  enableContentionProfiling: later(no()),
  enableControllerAttachDetach: yes(),
  // Handlers that deckhand does not have yet, so that false is true already.
  enableDebugFlagsHandler: yes(),
  enableDebuggingHandlers: yes(),
  enableProfilingHandler: yes(),
  enableServer: yes(),
  enableSystemLogHandler: yes(),
  enableSystemLogQuery: no(),
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
  eventBurst: or(integer(1), 100),
  eventRecordQPS: or(exactInteger(0), 50),
  evictionHard: signals(),
  evictionMaxPodGracePeriod: or(exactInteger(-(2 ** 31)), 0),
  evictionMinimumReclaim: signals(),
  evictionPressureTransitionPeriod: or(duration(), '5m'),
  evictionSoft: signals(),
  evictionSoftGracePeriod: mapOf(exactDuration(0), (key) =>
    SIGNALS.includes(key) ? undefined : `is not an eviction signal; expected one of ${SIGNALS.join(', ')}`,
  ),
  // kubelet's default is true; deckhand is made to run on cgroup v1 as well and only warns (daemon/check-machine.ts).
  failCgroupV1: no(),
  failSwapOn: yes(),
  featureGates: or(mapOf(boolean()), {}),
  fileCheckFrequency: or(duration(), '20s'),
  // Without effect in kubelet, too, since the runtime's network plugins do it.
  hairpinMode: or(oneOf('promiscuous-bridge', 'hairpin-veth', 'none'), 'promiscuous-bridge'),
  healthzBindAddress: or(ip(), '127.0.0.1'),
  healthzPort: or(port(), 10_248),
  httpCheckFrequency: or(duration(), '20s'),
  imageGCHighThresholdPercent: or(exactInteger(0, 100), 85),
  imageGCLowThresholdPercent: or(exactInteger(0, 100), 80),
  imageMaximumGCAge: or(exactDuration(0), '0s'),
  imageMinimumGCAge: or(duration(), '2m'),
  imagePullCredentialsVerificationPolicy: or(
    oneOf('NeverVerify', 'NeverVerifyPreloadedImages', 'NeverVerifyAllowlistedImages', 'AlwaysVerify'),
    'NeverVerifyPreloadedImages',
  ),
  imageServiceEndpoint: or(endpoint(), ''),
  // Without effect in kubelet since 1.28.
  iptablesDropBit: or(exactInteger(0, 31), 15),
  iptablesMasqueradeBit: or(exactInteger(0, 31), 14),
  kernelMemcgNotification: later(no()),
  kubeAPIBurst: or(integer(1), 100),
  kubeAPIQPS: or(integer(1), 50),
  kubeReserved: or(reserved(), {}),
  kubeReservedCgroup: or(absolute('a cgroup'), ''),
  kubeletCgroups: later(or(text(), '')),
  localStorageCapacityIsolation: yes(),
  logging,
  makeIPTablesUtilChains: yes(),
  maxOpenFiles: or(integer(1, Number.MAX_SAFE_INTEGER), 1_000_000),
  maxParallelImagePulls: exactInteger(1),
  maxPods: or(integer(1), 110),
  memoryManagerPolicy: or(oneOf('None', 'Static'), 'None'),
  memoryReservationPolicy: or(oneOf('None', 'TieredReservation'), 'None'),
  memorySwap: section({ swapBehavior: oneOf('NoSwap', 'LimitedSwap') }),
  memoryThrottlingFactor: or(number(Number.MIN_VALUE, 1), 0.9),
  mergeDefaultEvictionSettings: no(),
  nodeLeaseDurationSeconds: or(integer(1), 40),
  nodeStatusMaxImages: or(exactInteger(-1), 50),
  nodeStatusReportFrequency: duration(1000),
  nodeStatusUpdateFrequency: or(duration(1000), '10s'),
  oomScoreAdj: oomScoreAdj(),
  podCIDR: or(cidrList(), ''),
  podLogsDir: or(emptyIsAbsent(text('a path of a directory')), '/var/log/pods'),
  podPidsLimit: or(exactInteger(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), -1),
  podsPerCore: or(exactInteger(0), 0),
  port: or(integer(1, 65_535), 10_250),
  preloadedImagesVerificationAllowlist: listOf(text('an image name, or a registry with /* at the end')),
  protectKernelDefaults: no(),
  providerID: or(text(), ''),
  qosReserved: or(mapOf(text()), {}),
  readOnlyPort: or(port(), 0),
  registerNode: yes(),
  registerWithTaints: or(listOf(taint), []),
  registryBurst: or(integer(1), 10),
  registryPullQPS: or(exactInteger(0), 5),
  reservedMemory: listOf(section({ numaNode: or(exactInteger(0), 0), limits: mapOf(quantity()) })),
  reservedSystemCPUs: or(cpuList(), ''),
  resolvConf: or(text('a path of a file'), '/etc/resolv.conf'),
  rotateCertificates: no(),
  runOnce: refused('kubelet has done away with running once, and deckhand never had it'),
  runtimeRequestTimeout: or(duration(1000), '2m'),
  seccompDefault: no(),
  serializeImagePulls: boolean(),
  serverTLSBootstrap: no(),
  showHiddenMetricsForVersion: later(or(text(), '')),
  shutdownGracePeriod: or(exactDuration(0), '0s'),
  shutdownGracePeriodByPodPriority: listOf(
    section({ priority: or(exactInteger(-(2 ** 31)), 0), shutdownGracePeriodSeconds: or(exactInteger(0), 0) }),
  ),
  shutdownGracePeriodCriticalPods: or(exactDuration(0), '0s'),
  singleProcessOOMKill: boolean(),
  staticPodPath: or(text('a path of a file or a directory'), ''),
  staticPodURL: or(text('an http or https URL'), ''),
  staticPodURLHeader: or(mapOf(listOf(text())), {}),
  streamingConnectionIdleTimeout: or(duration(), '4h'),
  syncFrequency: or(duration(1000), '1m'),
  systemCgroups: later(or(text(), '')),
  systemReserved: or(reserved(), {}),
  systemReservedCgroup: or(absolute('a cgroup'), ''),
  tlsCertFile: or(text('a path of a file'), ''),
  tlsCipherSuites: or(listOf(text()), []),
  tlsCurvePreferences: later(listOf(exactInteger(0))),
  // Versions before 1.2 are taken for 1.2: OpenSSL no longer has ciphers for them at its default level.
  tlsMinVersion: or(oneOf('VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'), 'VersionTLS12'),
  tlsPrivateKeyFile: or(text('a path of a file'), ''),
  topologyManagerPolicy: or(oneOf('none', 'best-effort', 'restricted', 'single-numa-node'), 'none'),
  topologyManagerPolicyOptions: mapOf(text()),
  topologyManagerScope: or(oneOf('container', 'pod'), 'container'),
  tracing: section({ endpoint: later(text('host:port')), samplingRatePerMillion: later(exactInteger(0, 1_000_000)) }),
  userNamespaces: section({ idsPerPod: or(exactInteger(65_536, 2 ** 32 - 1), 65_536) }),
  volumePluginDir: later(or(text(), '/usr/libexec/kubernetes/kubelet-plugins/volume/exec/')),
  volumeStatsAggPeriod: or(zeroIsAbsent(exactDuration(Number.MIN_SAFE_INTEGER)), '1m'),
} as const;

/** Fields that name files; in a file, relative ones are below its folder (kubelet config helpers.go). */
export const kubeletPaths: readonly (readonly string[])[] = [
  ['staticPodPath'],
  ['authentication', 'x509', 'clientCAFile'],
  ['tlsCertFile'],
  ['tlsPrivateKeyFile'],
  ['resolvConf'],
  ['volumePluginDir'],
  ['podLogsDir'],
];
