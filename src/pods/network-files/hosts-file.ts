import type { Pod } from '../../model/pod.ts';
import { hostnameOf } from './hostname.ts';

const LOOPBACK = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::0\tip6-localnet',
  'fe00::0\tip6-mcastprefix',
  'fe00::1\tip6-allnodes',
  'fe00::2\tip6-allrouters',
];

export interface HostsFileInput {
  readonly podIPs: readonly string[];
  readonly clusterDomain: string;
  /** The node's own /etc/hosts; only read for pods in the host's network. */
  readonly hostFile: string;
}

/** The text of a pod's /etc/hosts (kubelet managedHostsFileContent and nodeHostsFileContent, same lines). */
export function hostsFileOf(pod: Pod, input: HostsFileInput): string {
  const aliases = aliasLines(pod);
  if (pod.spec.hostNetwork === true) {
    return `# Kubernetes-managed hosts file (host network).\n${input.hostFile}${aliases}`;
  }
  const { hostname, domain } = hostnameOf(pod, input.clusterDomain);
  const names = domain === '' ? hostname : `${hostname}.${domain}\t${hostname}`;
  const own = input.podIPs.map((ip) => `${ip}\t${names}`);
  return `${['# Kubernetes-managed hosts file.', ...LOOPBACK, ...own].join('\n')}\n${aliases}`;
}

/**
 * Whether a container gets the managed /etc/hosts: once the pod has an address (or the host's), and unless the container
 * mounts something of its own there.
 */
export function wantsHostsFile(
  pod: Pod,
  container: { volumeMounts?: { mountPath: string }[] },
  podIPs: readonly string[],
): boolean {
  if (podIPs.length === 0 && pod.spec.hostNetwork !== true) return false;
  return !(container.volumeMounts ?? []).some(
    (mount) => mount.mountPath.replace(/\/+/g, '/').replace(/\/$/, '') === '/etc/hosts',
  );
}

function aliasLines(pod: Pod): string {
  const aliases = pod.spec.hostAliases ?? [];
  if (aliases.length === 0) return '';
  const lines = aliases.map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join('\t')}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join('')}`;
}
