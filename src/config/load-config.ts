import { hostname } from 'node:os';
import { CodedError } from '../kit/errors.ts';
import { formatIp, parseCidr, parseIp } from '../model/cidr.ts';
import { dns1123SubdomainError } from '../model/names.ts';
import type { Taint } from '../model/node.ts';
import type { Config } from './config.ts';
import { type Documents, mergedValues } from './config-documents.ts';
import { readFlags } from './flags.ts';
import type { PlacedFinding } from './read-config-file.ts';

export interface ConfigSources {
  /** Files in the order in which they were given; later ones go over earlier ones. */
  readonly files: readonly string[];
  /** By flag name without dashes. */
  readonly flags: Readonly<Record<string, string | true>>;
  /** Default: os.hostname. */
  readonly hostname?: () => string;
}

/** kubelet apis/config/v1beta1/defaults_linux.go */
const EVICTION_DEFAULTS: Readonly<Record<string, string>> = {
  'memory.available': '100Mi',
  'nodefs.available': '10%',
  'nodefs.inodesFree': '5%',
  'imagefs.available': '15%',
  'imagefs.inodesFree': '5%',
};
/** Signals that node allocatable takes into account; eviction itself comes later. */
const EVICTION_HONOURED: ReadonlySet<string> = new Set(['memory.available', 'nodefs.available']);

/**
 * Everything that flags and files say, in one frozen Config. Throws InvalidConfig with one line for each mistake, naming
 * file and line or flag, field, value and what is expected. `warnings` are for the log.
 */
export async function loadConfig(
  sources: ConfigSources,
): Promise<{ readonly config: Config; readonly warnings: readonly string[] }> {
  const { config, findings } = await checkConfig(sources);
  const errors = findings.filter((finding) => finding.level === 'error');
  if (config === undefined) {
    throw new CodedError('InvalidConfig', errors.map((finding) => finding.text).join('\n'), { errors: errors.length });
  }
  return { config, warnings: findings.map((finding) => finding.text) };
}

/** As loadConfig, but tells all findings instead of throwing; `config` is undefined when there is an error among them. */
export async function checkConfig(
  sources: ConfigSources,
): Promise<{ readonly config: Config | undefined; readonly findings: readonly PlacedFinding[] }> {
  const findings: PlacedFinding[] = [];
  let documents: Partial<Documents> = {};
  for (const file of sources.files) {
    // The YAML parser is not loaded where there is no file.
    const { readConfigFile } = await import('./read-config-file.ts');
    const read = await readConfigFile(file);
    findings.push(...read.findings);
    documents = mergedValues(documents, read.documents);
  }
  const flags = readFlags(sources.flags);
  findings.push(...flags.findings);
  documents = mergedValues(documents, flags.documents);
  const wrong = (field: string, message: string): void => {
    findings.push({ level: 'error', text: `${field} ${message}` });
  };
  const config = configOf(documents, sources.hostname ?? hostname, wrong);
  for (const signal of Object.keys(documents.KubeletConfiguration?.evictionHard ?? {})) {
    if (EVICTION_HONOURED.has(signal)) continue;
    findings.push({
      level: 'warning',
      text: `KubeletConfiguration: evictionHard["${signal}"] is known, but not yet honoured`,
    });
  }
  const failed = findings.some((finding) => finding.level === 'error');
  return { config: failed ? undefined : deepFrozen(config), findings };
}

function configOf(
  documents: Partial<Documents>,
  machineName: () => string,
  wrong: (field: string, message: string) => void,
): Config {
  const kubelet = documents.KubeletConfiguration ?? {};
  const proxy = documents.KubeProxyConfiguration ?? {};
  const own = documents.DeckhandConfiguration ?? {};
  const embedded = own.embeddedAPI ?? {};
  const iptables = proxy.iptables ?? {};

  const kubeconfig = absent(own.kubeconfig);
  const manifests = absent(embedded.manifests);
  if (kubeconfig !== undefined && manifests !== undefined) {
    wrong('manifests', `is ${manifests}, but kubeconfig is set; expected manifests only with the embedded API`);
  }
  const endpoint = absent(kubelet.containerRuntimeEndpoint) ?? 'unix:///run/containerd/containerd.sock';
  const updateMs = kubelet.nodeStatusUpdateFrequency ?? 10_000;
  return {
    nodeName: nodeNameOf(own.hostnameOverride, proxy.hostnameOverride, machineName, wrong),
    nodeIPs: canonicalIps(own.nodeIPs ?? [], wrong),
    rootDir: absent(own.rootDir) ?? '/var/lib/kubelet',
    podLogsDir: absent(kubelet.podLogsDir) ?? '/var/log/pods',
    kubeconfig,
    proxyKubeconfig: absent(own.proxyKubeconfig),
    bootstrapKubeconfig: absent(own.bootstrapKubeconfig),
    certificates: {
      directory: absent(own.certDir) ?? `${absent(own.rootDir) ?? '/var/lib/kubelet'}/pki`,
      rotateClient: kubelet.rotateCertificates ?? false,
      serverBootstrap: kubelet.serverTLSBootstrap ?? false,
      tlsCertFile: absent(kubelet.tlsCertFile),
      tlsPrivateKeyFile: absent(kubelet.tlsPrivateKeyFile),
      clientCAFile: absent(kubelet.authentication?.x509?.clientCAFile),
    },
    staticPods: {
      path: absent(kubelet.staticPodPath),
      url: absent(kubelet.staticPodURL),
      urlHeader: kubelet.staticPodURLHeader ?? {},
      fileCheckMs: kubelet.fileCheckFrequency ?? 20_000,
      httpCheckMs: kubelet.httpCheckFrequency ?? 20_000,
    },
    checkpoint: { enabled: own.checkpoint?.enabled ?? kubeconfig === undefined },
    featureGates: kubelet.featureGates ?? {},
    embeddedAPI: {
      dataDir: absent(embedded.dataDir) ?? '/var/lib/deckhand',
      port: embedded.port ?? 6443,
      serviceCIDR: serviceCidr(embedded.serviceCIDR, wrong),
      manifests,
    },
    log: {
      verbosity: own.log?.verbosity ?? kubelet.logging?.verbosity ?? 2,
      format: own.log?.format ?? kubelet.logging?.format ?? 'json',
    },
    healthz: { address: kubelet.healthzBindAddress ?? '127.0.0.1', port: kubelet.healthzPort ?? 10_248 },
    api: { qps: kubelet.kubeAPIQPS ?? 50, burst: kubelet.kubeAPIBurst ?? 100 },
    events: { qps: kubelet.eventRecordQPS ?? 50, burst: kubelet.eventBurst ?? 100 },
    runtime: {
      endpoint,
      imageEndpoint: absent(kubelet.imageServiceEndpoint) ?? endpoint,
      requestTimeoutMs: kubelet.runtimeRequestTimeout ?? 120_000,
    },
    dns: {
      clusterDNS: kubelet.clusterDNS ?? [],
      clusterDomain: kubelet.clusterDomain ?? '',
      resolvConf: kubelet.resolvConf ?? '/etc/resolv.conf',
    },
    pods: {
      maxPods: kubelet.maxPods ?? 110,
      podsPerCore: kubelet.podsPerCore ?? 0,
      podPidsLimit: kubelet.podPidsLimit ?? -1,
      syncFrequencyMs: kubelet.syncFrequency ?? 60_000,
      maxCrashBackoffMs: kubelet.crashLoopBackOff?.maxContainerRestartPeriod ?? 300_000,
      podCIDR: kubelet.podCIDR ?? [],
      seccompDefault: kubelet.seccompDefault ?? false,
      allowedUnsafeSysctls: kubelet.allowedUnsafeSysctls ?? [],
    },
    images: {
      maxParallelPulls: parallelPulls(kubelet.serializeImagePulls, kubelet.maxParallelImagePulls, wrong),
      pullQPS: kubelet.registryPullQPS ?? 5,
      pullBurst: kubelet.registryBurst ?? 10,
      credentialProviderConfig: absent(own.imageCredentialProviderConfig),
      credentialProviderBinDir: absent(own.imageCredentialProviderBinDir),
    },
    cgroups: cgroupsOf(kubelet, wrong),
    reserved: {
      kube: kubelet.kubeReserved ?? {},
      system: kubelet.systemReserved ?? {},
      evictionHard:
        kubelet.evictionHard === undefined || kubelet.mergeDefaultEvictionSettings === true
          ? { ...EVICTION_DEFAULTS, ...kubelet.evictionHard }
          : kubelet.evictionHard,
    },
    node: {
      register: kubelet.registerNode ?? true,
      labels: own.nodeLabels ?? {},
      taints: taintsOf(kubelet.registerWithTaints ?? [], wrong),
      providerID: absent(kubelet.providerID),
      kubeletPort: kubelet.port ?? 10_250,
      statusUpdateMs: updateMs,
      // kubelet reports as often as it updates when only the latter is set (defaults.go).
      statusReportMs:
        kubelet.nodeStatusReportFrequency ?? (kubelet.nodeStatusUpdateFrequency === undefined ? 300_000 : updateMs),
      leaseSeconds: kubelet.nodeLeaseDurationSeconds ?? 40,
      maxImages: kubelet.nodeStatusMaxImages ?? 50,
    },
    services: {
      mode: 'iptables',
      clusterCIDR: proxy.clusterCIDR ?? [],
      detectLocal: detectLocalOf(proxy, wrong),
      nodePortAddresses: nodePortAddressesOf(proxy.nodePortAddresses ?? [], wrong),
      masqueradeAll: iptables.masqueradeAll ?? false,
      masqueradeBit: iptables.masqueradeBit ?? 14,
      localhostNodePorts: iptables.localhostNodePorts ?? true,
      syncPeriodMs: iptables.syncPeriod ?? 30_000,
      // kube-proxy waits 1 s between two syncs to save rewriting everything; a sync here writes only what changed.
      minSyncPeriodMs: iptables.minSyncPeriod ?? 50,
    },
  };
}

type Wrong = (field: string, message: string) => void;

function nodeNameOf(
  own: string | undefined,
  proxys: string | undefined,
  machineName: () => string,
  wrong: Wrong,
): string {
  if (absent(own) !== undefined && absent(proxys) !== undefined && own !== proxys) {
    wrong('KubeProxyConfiguration: hostnameOverride', `is ${proxys}, but the node's is ${own}; expected the same`);
  }
  // util/node GetHostname: trimmed and in lower case.
  const name = (absent(own) ?? absent(proxys) ?? machineName()).trim().toLowerCase();
  const error = dns1123SubdomainError(name);
  if (error !== undefined) wrong('hostnameOverride', `makes the node name ${JSON.stringify(name)}: ${error}`);
  return name;
}

function cgroupsOf(kubelet: Documents['KubeletConfiguration'], wrong: Wrong): Config['cgroups'] {
  const perQOS = kubelet.cgroupsPerQOS ?? true;
  const asked = kubelet.enforceNodeAllocatable ?? (perQOS ? ['pods'] : []);
  const field = 'KubeletConfiguration: enforceNodeAllocatable';
  if (asked.includes('none') && asked.length > 1) {
    wrong(field, `is ${asked.join(', ')}; expected none alone, or the others without it`);
  }
  const enforced = asked.filter((key) => key !== 'none');
  if (!perQOS && enforced.length > 0) {
    wrong(field, `is ${enforced.join(', ')}, but cgroupsPerQOS is false; expected [] or none`);
  }
  for (const [key, cgroup] of [
    ['kube-reserved', kubelet.kubeReservedCgroup],
    ['system-reserved', kubelet.systemReservedCgroup],
  ] as const) {
    const named = enforced.some((entry) => entry === key || entry === `${key}-compressible`);
    if (named && absent(cgroup) === undefined) {
      const other = key === 'kube-reserved' ? 'kubeReservedCgroup' : 'systemReservedCgroup';
      wrong(field, `has ${key}, but ${other} is not set; expected the cgroup to limit`);
    }
  }
  return {
    root: absent(kubelet.cgroupRoot) ?? '/',
    driver: 'cgroupfs',
    perQOS,
    cpuCFSQuota: kubelet.cpuCFSQuota ?? true,
    cpuCFSQuotaPeriodMs: kubelet.cpuCFSQuotaPeriod ?? 100,
    enforceNodeAllocatable: enforced,
    kubeReservedCgroup: absent(kubelet.kubeReservedCgroup),
    systemReservedCgroup: absent(kubelet.systemReservedCgroup),
  };
}

function parallelPulls(serialize: boolean | undefined, most: number | undefined, wrong: Wrong): number | undefined {
  if (serialize === true && most !== undefined && most > 1) {
    wrong(
      'KubeletConfiguration: maxParallelImagePulls',
      `is ${most}, but serializeImagePulls is true; expected 1, or serializeImagePulls false`,
    );
  }
  // Serial by default, unless several are allowed.
  return serialize === false || (serialize === undefined && most !== undefined && most > 1) ? most : 1;
}

function detectLocalOf(proxy: Documents['KubeProxyConfiguration'], wrong: Wrong): Config['services']['detectLocal'] {
  const { bridgeInterface, interfaceNamePrefix } = proxy.detectLocal ?? {};
  const mode = proxy.detectLocalMode ?? '';
  if (mode === 'BridgeInterface') {
    if (absent(bridgeInterface) === undefined) {
      wrong('KubeProxyConfiguration: detectLocal.bridgeInterface', `is missing; expected it with mode ${mode}`);
    }
    return { mode, bridgeInterface: bridgeInterface ?? '' };
  }
  if (mode === 'InterfaceNamePrefix') {
    if (absent(interfaceNamePrefix) === undefined) {
      wrong('KubeProxyConfiguration: detectLocal.interfaceNamePrefix', `is missing; expected it with mode ${mode}`);
    }
    return { mode, interfaceNamePrefix: interfaceNamePrefix ?? '' };
  }
  return { mode: mode === '' ? 'ClusterCIDR' : mode };
}

function nodePortAddressesOf(addresses: readonly string[], wrong: Wrong): readonly string[] {
  for (const address of addresses) {
    const primary = address === 'primary' && addresses.length === 1;
    if (!primary && parseCidr(address) === undefined) {
      wrong(
        'KubeProxyConfiguration: nodePortAddresses',
        `has ${JSON.stringify(address)}; expected CIDRs, or primary alone`,
      );
    }
  }
  return addresses;
}

function serviceCidr(given: readonly string[] | undefined, wrong: Wrong): readonly string[] {
  const cidrs = given === undefined || given.length === 0 ? ['10.96.0.0/16'] : given;
  for (const text of cidrs) {
    const cidr = parseCidr(text);
    if (cidr === undefined) continue;
    const [least, most] = cidr.family === 'IPv4' ? [8, 29] : [64, 125];
    if (cidr.prefix < least || cidr.prefix > most) {
      wrong('serviceCIDR', `is ${text}; expected a prefix of ${least} to ${most} bits`);
    }
  }
  return cidrs;
}

function canonicalIps(addresses: readonly string[], wrong: Wrong): readonly string[] {
  const families = new Set<string>();
  return addresses.map((address) => {
    const ip = parseIp(address);
    if (ip === undefined) return address;
    if (families.has(ip.family)) wrong('nodeIPs', `has two ${ip.family} addresses; expected one per family at most`);
    families.add(ip.family);
    return formatIp(ip);
  });
}

function taintsOf(
  taints: readonly { readonly key?: string; readonly value?: string; readonly effect?: Taint['effect'] }[],
  wrong: Wrong,
): readonly Taint[] {
  const result: Taint[] = [];
  for (const { key, value, effect } of taints) {
    if (absent(key) === undefined || effect === undefined) {
      wrong('registerWithTaints', `has ${JSON.stringify({ key, value, effect })}; expected key and effect`);
    } else result.push({ key: key ?? '', effect, ...(absent(value) === undefined ? {} : { value: value ?? '' }) });
  }
  return result;
}

function absent(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function deepFrozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFrozen(inner);
  }
  return value;
}
