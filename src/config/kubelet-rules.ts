import { posix } from 'node:path';
import { labelValueError, qualifiedNameError } from '../model/names.ts';
import { parseQuantity } from '../model/quantity.ts';
import { formatDuration } from './duration.ts';
import { type Filled, isPercentage, section, type Values } from './fields.ts';
import { kubeletFields } from './kubelet-fields.ts';

type Given = Values<typeof kubeletFields>;

/** Everything that a KubeletConfiguration says, with its defaults. */
export type Kubelet = Omit<Filled<typeof kubeletFields>, keyof Dependent> & Dependent;

interface Dependent {
  readonly enforceNodeAllocatable: NonNullable<Given['enforceNodeAllocatable']>;
  readonly evictionHard: Readonly<Record<string, string>>;
  readonly nodeStatusReportFrequency: number;
  readonly serializeImagePulls: boolean;
}

/** Reports a mistake of a field; `message` goes on after the field's name: "is 5; expected …". */
export type Wrong = (path: readonly (string | number)[], message: string) => void;
/** Whether a feature gate is on. */
export type Enabled = (gate: string) => boolean;

/** kubelet apis/config/v1beta1/defaults_linux.go */
const EVICTION_DEFAULTS: Readonly<Record<string, string>> = {
  'memory.available': '100Mi',
  'nodefs.available': '10%',
  'nodefs.inodesFree': '5%',
  'imagefs.available': '15%',
  'imagefs.inodesFree': '5%',
};
const SECOND = 1000;
const USER_NAMESPACE = 65_536;
/** Each set of NUMA nodes is looked at, and 8 nodes have 255 sets (topology_manager.go defaultMaxAllowableNUMANodes). */
export const MAX_NUMA_NODES = 8;

const kubelet = section(kubeletFields);

/** Defaults, those that depend on other fields last. */
export function completeKubelet(given: Given): Kubelet {
  const { evictionHard, nodeStatusUpdateFrequency: updateMs, maxParallelImagePulls: parallel } = given;
  return {
    ...kubelet.fill(given),
    enforceNodeAllocatable: given.enforceNodeAllocatable ?? ['pods'],
    evictionHard:
      evictionHard === undefined || given.mergeDefaultEvictionSettings === true
        ? { ...EVICTION_DEFAULTS, ...evictionHard }
        : evictionHard,
    // kubelet reports as often as it updates when only the latter is set.
    nodeStatusReportFrequency: given.nodeStatusReportFrequency ?? updateMs ?? 300_000,
    // One after the other, unless several at once are allowed.
    serializeImagePulls: given.serializeImagePulls ?? (parallel === undefined || parallel < 2),
  };
}

/** What no single field can tell (pkg/kubelet/apis/config/validation). `given` tells what was not left to its default. */
export function checkKubelet(config: Kubelet, given: Given, enabled: Enabled, wrong: Wrong): void {
  checkGated(config, given, enabled, wrong);
  checkCgroups(config, wrong);
  checkImages(config, given, enabled, wrong);
  checkShutdown(config, enabled, wrong);
  checkReservations(config, wrong);
  checkCpuManager(config, enabled, wrong);
  checkNumaManagers(config, wrong);
  checkEviction(config, wrong);
  checkFiles(config, wrong);
  checkLogging(config, enabled, wrong);
  for (const [index, taint] of config.registerWithTaints.entries()) checkTaint(taint, index, wrong);
  const ids = config.userNamespaces.idsPerPod;
  if (ids % USER_NAMESPACE !== 0) {
    wrong(['userNamespaces', 'idsPerPod'], `is ${ids}; expected a multiple of ${USER_NAMESPACE}`);
  }
  if (config.enableSystemLogQuery && !config.enableSystemLogHandler) {
    wrong(['enableSystemLogQuery'], 'is true, but enableSystemLogHandler is false; expected both, or none');
  }
  const hidden = config.showHiddenMetricsForVersion;
  if (hidden !== '' && hidden !== '1.35') {
    wrong(
      ['showHiddenMetricsForVersion'],
      `is ${JSON.stringify(hidden)}; expected the version before this one, "1.35"`,
    );
  }
}

function checkGated(config: Kubelet, given: Given, enabled: Enabled, wrong: Wrong): void {
  const needs = (path: readonly string[], says: string, gate: string): void => {
    if (!enabled(gate)) wrong(path, `is ${says}, which needs the feature gate ${gate}`);
  };
  const period = config.cpuCFSQuotaPeriod;
  if (period !== 100) needs(['cpuCFSQuotaPeriod'], formatDuration(period), 'CustomCPUCFSQuotaPeriod');
  const restart = given.crashLoopBackOff?.maxContainerRestartPeriod;
  if (restart !== undefined) {
    needs(['crashLoopBackOff', 'maxContainerRestartPeriod'], formatDuration(restart), 'KubeletCrashLoopBackOffMax');
  }
  if (config.serverTLSBootstrap) needs(['serverTLSBootstrap'], 'true', 'RotateKubeletServerCertificate');
  if (config.memoryReservationPolicy !== 'None') {
    needs(['memoryReservationPolicy'], config.memoryReservationPolicy, 'MemoryQoS');
  }
  for (const [resource, share] of Object.entries(config.qosReserved)) {
    // cm/qos_container_manager_linux.go; kubelet says nothing when the gate is off.
    const path = ['qosReserved', resource];
    needs(path, share, 'QOSReserved');
    if (resource !== 'memory') wrong(path, `is ${share}, but only memory can be reserved; expected memory`);
    else if (!/^(\d{1,2}|100)%$/.test(share))
      wrong(path, `is ${JSON.stringify(share)}; expected a percentage, 0% to 100%`);
  }
}

function checkCgroups(config: Kubelet, wrong: Wrong): void {
  const path = ['enforceNodeAllocatable'];
  const asked = config.enforceNodeAllocatable;
  const shown = asked.join(', ');
  // Each pod's cgroup stands below that of its QoS class; there is no other place for it.
  if (!config.cgroupsPerQOS) {
    wrong(['cgroupsPerQOS'], 'is false, but deckhand puts every pod into a cgroup of its own; expected true');
  }
  // Only the cluster's controller attaches volumes, as the Node's annotation tells it to.
  if (!config.enableControllerAttachDetach) {
    wrong(
      ['enableControllerAttachDetach'],
      "is false, but deckhand leaves attaching volumes to the cluster's controller; expected true",
    );
  }
  if (new Set(asked).size !== asked.length) wrong(path, `is ${shown}; expected each name once`);
  if (asked.includes('none') && asked.length > 1) {
    wrong(path, `is ${shown}; expected none alone, or the others without it`);
  }
  for (const [key, field] of [
    ['kube-reserved', 'kubeReservedCgroup'],
    ['system-reserved', 'systemReservedCgroup'],
  ] as const) {
    const whole = asked.includes(key);
    const compressible = asked.includes(`${key}-compressible`);
    if (whole && compressible) wrong(path, `is ${shown}; expected ${key} or ${key}-compressible, not both`);
    if ((whole || compressible) && config[field] === '') {
      wrong(path, `has ${key}, but ${field} is not set; expected the cgroup to limit`);
    }
  }
  if (config.systemCgroups !== '' && config.cgroupRoot === '') {
    wrong(['systemCgroups'], `is ${config.systemCgroups}, but cgroupRoot is not set; expected both, or none`);
  }
}

function checkImages(config: Kubelet, given: Given, enabled: Enabled, wrong: Wrong): void {
  const { imageGCHighThresholdPercent: high, imageGCLowThresholdPercent: low } = config;
  if (low >= high) {
    wrong(
      ['imageGCLowThresholdPercent'],
      `is ${low}; expected less than imageGCHighThresholdPercent, which is ${high}`,
    );
  }
  const { imageMaximumGCAge: oldest, imageMinimumGCAge: youngest } = config;
  if (oldest > 0 && oldest <= youngest) {
    const least = formatDuration(youngest);
    wrong(
      ['imageMaximumGCAge'],
      `is ${formatDuration(oldest)}; expected more than imageMinimumGCAge, which is ${least}`,
    );
  }
  const parallel = config.maxParallelImagePulls;
  if (config.serializeImagePulls && parallel !== undefined && parallel > 1) {
    wrong(
      ['maxParallelImagePulls'],
      `is ${parallel}, but serializeImagePulls is true; expected 1, or serializeImagePulls false`,
    );
  }
  const policy = given.imagePullCredentialsVerificationPolicy;
  const listed = given.preloadedImagesVerificationAllowlist ?? [];
  const gate = 'KubeletEnsureSecretPulledImages';
  if (!enabled(gate)) {
    if (policy !== undefined) {
      wrong(['imagePullCredentialsVerificationPolicy'], `is ${policy}, which needs the feature gate ${gate}`);
    }
    if (listed.length > 0) {
      wrong(['preloadedImagesVerificationAllowlist'], `is set, which needs the feature gate ${gate}`);
    }
  } else if (listed.length > 0 && policy !== 'NeverVerifyAllowlistedImages') {
    wrong(
      ['preloadedImagesVerificationAllowlist'],
      `is set, but imagePullCredentialsVerificationPolicy is ${policy ?? 'not'}; expected NeverVerifyAllowlistedImages`,
    );
  }
}

function checkShutdown(config: Kubelet, enabled: Enabled, wrong: Wrong): void {
  const { shutdownGracePeriod: all, shutdownGracePeriodCriticalPods: critical } = config;
  const byPriority = config.shutdownGracePeriodByPodPriority ?? [];
  for (const [name, ms] of [
    ['shutdownGracePeriod', all],
    ['shutdownGracePeriodCriticalPods', critical],
  ] as const) {
    if (ms > 0 && !enabled('GracefulNodeShutdown')) {
      wrong([name], `is ${formatDuration(ms)}, which needs the feature gate GracefulNodeShutdown`);
    } else if (ms > 0 && ms < SECOND) wrong([name], `is ${formatDuration(ms)}; expected 0s, or 1s at least`);
  }
  if (critical > all) {
    wrong(
      ['shutdownGracePeriodCriticalPods'],
      `is ${formatDuration(critical)}; expected no more than shutdownGracePeriod, which is ${formatDuration(all)}`,
    );
  }
  if (byPriority.length === 0) return;
  const path = ['shutdownGracePeriodByPodPriority'];
  const gate = 'GracefulNodeShutdownBasedOnPodPriority';
  if (!enabled(gate)) wrong(path, `is set, which needs the feature gate ${gate}`);
  else if (all > 0 || critical > 0) {
    wrong(path, 'is set, and shutdownGracePeriod, too; expected one of them');
  }
}

function checkReservations(config: Kubelet, wrong: Wrong): void {
  const cpus = config.reservedSystemCPUs;
  for (const field of ['systemReservedCgroup', 'kubeReservedCgroup'] as const) {
    if (cpus !== '' && config[field] !== '') {
      wrong(['reservedSystemCPUs'], `is ${cpus}, but ${field} is ${config[field]}; expected one of them`);
    }
  }
  for (const field of ['kubeReserved', 'systemReserved'] as const) {
    for (const [resource, quantity] of Object.entries(config[field])) {
      if (parseQuantity(quantity) < 0n) wrong([field, resource], `is ${quantity}; expected 0 or more`);
    }
  }
  const seen = new Set<string>();
  for (const [index, { numaNode = 0, limits = {} }] of (config.reservedMemory ?? []).entries()) {
    for (const [resource, quantity] of Object.entries(limits)) {
      const path = ['reservedMemory', index, 'limits', resource];
      if (resource !== 'memory' && !resource.startsWith('hugepages-')) {
        wrong(path, 'is not a resource that NUMA nodes have; expected memory or hugepages-<size>');
      }
      if (parseQuantity(quantity) === 0n) wrong(path, `is ${quantity}; expected more than 0`);
      if (seen.has(`${numaNode} ${resource}`)) wrong(path, `is there a second time for NUMA node ${numaNode}`);
      seen.add(`${numaNode} ${resource}`);
    }
  }
}

/** Options of the policy static, with the feature gate that they need (cpumanager/policy_options.go). */
const CPU_OPTIONS: ReadonlyMap<string, string | undefined> = new Map([
  ['full-pcpus-only', undefined],
  ['strict-cpu-reservation', undefined],
  ['prefer-align-cpus-by-uncorecache', undefined],
  ['distribute-cpus-across-numa', 'CPUManagerPolicyBetaOptions'],
  ['align-by-socket', 'CPUManagerPolicyAlphaOptions'],
  ['distribute-cpus-across-cores', 'CPUManagerPolicyAlphaOptions'],
]);
const CPU_CONFLICTS: readonly (readonly [string, string])[] = [
  ['full-pcpus-only', 'distribute-cpus-across-cores'],
  ['distribute-cpus-across-numa', 'distribute-cpus-across-cores'],
  ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-cores'],
  ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-numa'],
];

/** What the policy static cannot begin without (cpumanager/cpu_manager.go NewManager, policy_options.go). */
function checkCpuManager(config: Kubelet, enabled: Enabled, wrong: Wrong): void {
  const { cpuManagerPolicy: policy, cpuManagerPolicyOptions: options = {}, kubeReserved, systemReserved } = config;
  for (const [name, value] of Object.entries(options)) {
    const path = ['cpuManagerPolicyOptions', name];
    const gate = CPU_OPTIONS.get(name);
    if (!CPU_OPTIONS.has(name)) wrong(path, `is no option; expected one of ${[...CPU_OPTIONS.keys()].join(', ')}`);
    else if (!isBoolean(value)) wrong(path, `is ${JSON.stringify(value)}; expected true or false`);
    else if (gate !== undefined && !enabled(gate)) wrong(path, `is ${value}, which needs the feature gate ${gate}`);
  }
  const isOn = (name: string): boolean => options[name] === 'true';
  for (const [one, other] of CPU_CONFLICTS) {
    if (isOn(one) && isOn(other))
      wrong(['cpuManagerPolicyOptions', other], `is true, and ${one}, too; expected one of them`);
  }
  if (isOn('align-by-socket') && config.topologyManagerPolicy === 'single-numa-node') {
    const path = ['cpuManagerPolicyOptions', 'align-by-socket'];
    wrong(path, 'is true, but topologyManagerPolicy is single-numa-node; expected another policy');
  }
  if (policy === 'none') {
    if (Object.keys(options).length > 0) {
      wrong(['cpuManagerPolicyOptions'], 'is set, but cpuManagerPolicy is none; expected static, or no options');
    }
    return;
  }
  const cpus = [kubeReserved, systemReserved].map((list) => parseQuantity(list['cpu'] ?? '0'));
  if (config.reservedSystemCPUs === '' && cpus.every((cpu) => cpu <= 0n)) {
    const detail = 'systemreserved.cpu + kubereserved.cpu to be greater than zero';
    wrong(['cpuManagerPolicy'], `is static; the static policy requires ${detail}, or reservedSystemCPUs`);
  }
}

/** What the managers of NUMA nodes cannot begin without (memorymanager/policy_static.go, topologymanager/policy_options.go). */
function checkNumaManagers(config: Kubelet, wrong: Wrong): void {
  const { memoryManagerPolicy: policy, reservedMemory = [], topologyManagerPolicyOptions: options = {} } = config;
  if (policy === 'Static' && !reservedMemory.some(({ limits }) => limits?.['memory'] !== undefined)) {
    wrong(
      ['memoryManagerPolicy'],
      'is Static, but reservedMemory has no memory; you should specify the system reserved memory',
    );
  }
  for (const [name, value] of Object.entries(options)) {
    const path = ['topologyManagerPolicyOptions', name];
    if (name === 'prefer-closest-numa-nodes') {
      if (!isBoolean(value)) wrong(path, `is ${JSON.stringify(value)}; expected true or false`);
    } else if (name === 'max-allowable-numa-nodes') {
      if (!(/^\d+$/.test(value) && Number(value) >= MAX_NUMA_NODES)) {
        wrong(path, `is ${JSON.stringify(value)}; the minimum value should not be less than ${MAX_NUMA_NODES}`);
      }
    } else wrong(path, 'is no option; expected prefer-closest-numa-nodes or max-allowable-numa-nodes');
  }
}

function isBoolean(value: string): boolean {
  return value === 'true' || value === 'false';
}

/** eviction/helpers.go parseThresholdStatements */
function checkEviction(config: Kubelet, wrong: Wrong): void {
  for (const field of ['evictionHard', 'evictionSoft'] as const) {
    for (const [signal, threshold] of Object.entries(config[field] ?? {})) {
      if (!isPercentage(threshold) && parseQuantity(threshold) < 0n) {
        wrong([field, signal], `is ${threshold}; expected 0 or more`);
      }
    }
  }
  const grace = config.evictionSoftGracePeriod ?? {};
  for (const signal of Object.keys(config.evictionSoft ?? {})) {
    if (grace[signal] === undefined) {
      wrong(['evictionSoft', signal], `is set, but evictionSoftGracePeriod has no ${signal}; expected both`);
    }
  }
}

function checkFiles(config: Kubelet, wrong: Wrong): void {
  const logs = config.podLogsDir;
  if (!logs.startsWith('/') || logs !== clean(logs)) {
    wrong(['podLogsDir'], `is ${JSON.stringify(logs)}; expected an absolute path without "..", "." or double slashes`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what is asked for.
  } else if (!/^[\x00-\x7f]*$/.test(logs)) wrong(['podLogsDir'], `is ${JSON.stringify(logs)}; expected ASCII only`);
  if ((config.tlsCertFile === '') !== (config.tlsPrivateKeyFile === '')) {
    const [has, lacks] =
      config.tlsCertFile === '' ? ['tlsPrivateKeyFile', 'tlsCertFile'] : ['tlsCertFile', 'tlsPrivateKeyFile'];
    wrong([has], `is set, but ${lacks} is not; expected both, or none`);
  }
  const url = config.staticPodURL;
  if (url !== '' && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) {
    wrong(['staticPodURL'], `is ${JSON.stringify(url)}; expected an http or https URL`);
  }
}

/** component-base logs/api/v1 Validate */
function checkLogging({ logging }: Kubelet, enabled: Enabled, wrong: Wrong): void {
  if ((logging.vmodule ?? []).length > 0 && logging.format === 'json') {
    wrong(['logging', 'vmodule'], 'is set, but logging.format is json; expected format text');
  }
  for (const [index, { filePattern = '' }] of (logging.vmodule ?? []).entries()) {
    if (!/^[^=,]+$/.test(filePattern)) {
      const path = ['logging', 'vmodule', index, 'filePattern'];
      wrong(path, `is ${JSON.stringify(filePattern)}; expected a pattern without "=" and ","`);
    }
  }
  for (const format of ['text', 'json'] as const) {
    if (logging.options[format].splitStream && !enabled('LoggingAlphaOptions')) {
      const path = ['logging', 'options', format, 'splitStream'];
      wrong(path, 'is true, which needs the feature gate LoggingAlphaOptions');
    }
  }
}

/** pkg/util/taints CheckTaintValidation; and without an effect the API server refuses the Node. */
function checkTaint(
  taint: { readonly key?: string; readonly value?: string; readonly effect?: string },
  index: number,
  wrong: Wrong,
): void {
  const path = ['registerWithTaints', index];
  const { key = '', value = '', effect } = taint;
  if (key === '' || effect === undefined) {
    wrong(path, `is ${JSON.stringify(taint)}; expected key and effect`);
    return;
  }
  const keyError = qualifiedNameError(key);
  if (keyError !== undefined) wrong([...path, 'key'], `is ${JSON.stringify(key)}: ${keyError}`);
  const valueError = labelValueError(value);
  if (valueError !== undefined) wrong([...path, 'value'], `is ${JSON.stringify(value)}: ${valueError}`);
}

/** Go's filepath.Clean, which has no slash at the end. */
function clean(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
