import type { DNSConfig } from '../../host/cri/port.ts';
import type { Pod } from '../../model/pod.ts';
import type { ResolvConf } from './resolv-conf.ts';

const NAMESERVERS = 3;
const SEARCHES = 32;
const SEARCH_CHARACTERS = 2048;
/** DNS1123SubdomainMaxLength: glibc 2.28 aborts on a longer search path (kubelet network/dns). */
const DOMAIN_CHARACTERS = 253;

export interface DNSInput {
  readonly clusterDNS: readonly string[];
  /** Empty: searches stay the host's. */
  readonly clusterDomain: string;
  /** Parsed resolvConf; undefined when configured to none ("" in KubeletConfiguration). */
  readonly hostResolv: ResolvConf | undefined;
  /** For the loopback nameservers that stand in for an absent resolvConf. */
  readonly nodeIPs?: readonly string[];
}

/** A Warning event to record about the pod; MissingClusterDNS also about the node. */
export interface DNSWarning {
  readonly reason: 'DNSConfigForming' | 'MissingClusterDNS';
  readonly message: string;
  /** What was left out, for DNSConfigForming. */
  readonly omitted: readonly string[];
}

/** The resolver configuration of a pod's sandbox (kubelet network/dns GetPodDNS), with the warnings it gives. */
export function dnsConfigFor(
  pod: Pod,
  input: DNSInput,
): { readonly config: DNSConfig; readonly warnings: readonly DNSWarning[] } {
  const warnings: DNSWarning[] = [];
  const base = baseConfig(pod, input, warnings);
  const merged = merge(base, pod.spec.dnsConfig);
  return {
    config: {
      servers: fitServers(merged.servers, warnings),
      searches: fitSearches(merged.searches, warnings),
      options: merged.options,
    },
    warnings,
  };
}

function baseConfig(pod: Pod, input: DNSInput, warnings: DNSWarning[]): DNSConfig {
  const policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'None') return { servers: [], searches: [], options: [] };
  const cluster = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && pod.spec.hostNetwork !== true);
  if (policy === 'Default' || !cluster) return hostConfig(input);
  if (input.clusterDNS.length === 0) {
    const { name = '', namespace = '', uid = '' } = pod.metadata;
    const text = `kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.`;
    warnings.push({
      reason: 'MissingClusterDNS',
      message: `pod: "${name}_${namespace}(${uid})". ${text}`,
      omitted: [],
    });
    return hostConfig(input);
  }
  const hostSearches = input.hostResolv?.searches ?? [];
  const { clusterDomain } = input;
  const svc = `svc.${clusterDomain}`;
  return {
    servers: [...input.clusterDNS],
    searches:
      clusterDomain === ''
        ? [...hostSearches]
        : unique([`${pod.metadata.namespace ?? ''}.${svc}`, svc, clusterDomain, ...hostSearches]),
    options: ['ndots:5'],
  };
}

function hostConfig(input: DNSInput): DNSConfig {
  const { hostResolv, nodeIPs = [] } = input;
  if (hostResolv !== undefined) {
    return {
      servers: [...hostResolv.nameservers],
      searches: [...hostResolv.searches],
      options: [...hostResolv.options],
    };
  }
  // Without a resolvConf a resolver asks the local machine; saying so keeps the runtime from using /etc/resolv.conf.
  const loopbacks = nodeIPs.map((ip) => (ip.includes(':') ? '::1' : '127.0.0.1'));
  return { servers: loopbacks.length > 0 ? loopbacks : ['127.0.0.1'], searches: ['.'], options: [] };
}

function merge(base: DNSConfig, extra: Pod['spec']['dnsConfig']): DNSConfig {
  if (extra === undefined) return base;
  const options = new Map<string, string>();
  for (const option of base.options) {
    const colon = option.indexOf(':');
    options.set(colon === -1 ? option : option.slice(0, colon), colon === -1 ? '' : option.slice(colon + 1));
  }
  for (const { name = '', value = '' } of extra.options ?? []) options.set(name, value);
  return {
    servers: unique([...base.servers, ...(extra.nameservers ?? [])]),
    searches: unique([...base.searches, ...(extra.searches ?? [])]),
    options: [...options].map(([name, value]) => (value === '' ? name : `${name}:${value}`)),
  };
}

function fitServers(servers: readonly string[], warnings: DNSWarning[]): readonly string[] {
  if (servers.length <= NAMESERVERS) return servers;
  const kept = servers.slice(0, NAMESERVERS);
  warnings.push({
    reason: 'DNSConfigForming',
    message: `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${kept.join(' ')}`,
    omitted: servers.slice(NAMESERVERS),
  });
  return kept;
}

function fitSearches(searches: readonly string[], warnings: DNSWarning[]): readonly string[] {
  const kept: string[] = [];
  let length = -1;
  for (const domain of searches.slice(0, SEARCHES)) {
    if (domain.length > DOMAIN_CHARACTERS) continue;
    // The line ends where it would get too long: no later, shorter domain slips in before an omitted one.
    if (length + 1 + domain.length > SEARCH_CHARACTERS) break;
    length += 1 + domain.length;
    kept.push(domain);
  }
  if (kept.length < searches.length) {
    const applied = new Set(kept);
    warnings.push({
      reason: 'DNSConfigForming',
      message: `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${kept.join(' ')}`,
      omitted: searches.filter((domain) => !applied.has(domain)),
    });
  }
  return kept;
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)];
}
