import type { Pod } from '../../model/pod.ts';

/**
 * A sysctl's name with dots between its parts (component-helpers node/util/sysctl NormalizeName): when the first separator
 * is a slash, slashes and dots change places, so that `net/ipv4/conf/eth0.100/rp_filter` keeps its dot as a slash.
 */
export function normalizeSysctl(name: string): string {
  const first = /[./]/.exec(name);
  if (first === null || first[0] === '.') return name;
  return name.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}

/** A pod's sysctls by normalized name. */
export function sysctlsOf(pod: Pod): Record<string, string> {
  const sysctls = pod.spec.securityContext?.sysctls ?? [];
  return Object.fromEntries(sysctls.map(({ name, value }) => [normalizeSysctl(name), value]));
}

/** Sysctls that are namespaced and isolated, so that every pod may set them (kubelet sysctl/safe_sysctls.go), with the kernel they need. */
const SAFE: ReadonlyMap<string, string> = new Map([
  ['kernel.shm_rmid_forced', ''],
  ['net.ipv4.ip_local_port_range', ''],
  ['net.ipv4.tcp_syncookies', ''],
  ['net.ipv4.ping_group_range', ''],
  ['net.ipv4.ip_unprivileged_port_start', ''],
  ['net.ipv4.ip_local_reserved_ports', '3.16'],
  ['net.ipv4.tcp_keepalive_time', '4.5'],
  ['net.ipv4.tcp_fin_timeout', '4.6'],
  ['net.ipv4.tcp_keepalive_intvl', '4.5'],
  ['net.ipv4.tcp_keepalive_probes', '4.5'],
  ['net.ipv4.tcp_rmem', '4.15'],
  ['net.ipv4.tcp_wmem', '4.15'],
]);

/** Groups of sysctls that follow a namespace of the pod; the others belong to the node. */
const NAMESPACED: readonly { readonly prefix: string; readonly needs: 'ipc' | 'net' }[] = [
  { prefix: 'kernel.sem', needs: 'ipc' },
  { prefix: 'kernel.shm', needs: 'ipc' },
  { prefix: 'kernel.msg', needs: 'ipc' },
  { prefix: 'fs.mqueue.', needs: 'ipc' },
  { prefix: 'net.', needs: 'net' },
];

/**
 * Why a pod's sysctls keep it off this node: the first that is neither safe nor in `allowedUnsafe` (names, or prefixes
 * ending in "*"), or that needs a namespace which the pod shares with the host. undefined: all may be set. The pod fails
 * with reason SysctlForbidden (kubelet sysctl/allowlist.go).
 */
export function forbiddenSysctl(pod: Pod, allowedUnsafe: readonly string[], kernel: string): string | undefined {
  for (const name of Object.keys(sysctlsOf(pod))) {
    const group = NAMESPACED.find(({ prefix }) => name.startsWith(prefix));
    if (group?.needs === 'net' && pod.spec.hostNetwork === true)
      return `forbidden sysctl: "${name}" not allowed with host net enabled`;
    if (group?.needs === 'ipc' && pod.spec.hostIPC === true)
      return `forbidden sysctl: "${name}" not allowed with host ipc enabled`;
    const since = SAFE.get(name);
    const safe = since !== undefined && atLeast(kernel, since);
    const listed = allowedUnsafe.some((pattern) =>
      pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
    );
    if (!safe && !(listed && group !== undefined)) return `forbidden sysctl: "${name}" not allowlisted`;
  }
  return undefined;
}

function atLeast(kernel: string, minimum: string): boolean {
  if (minimum === '') return true;
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [wantMajor = 0, wantMinor = 0] = minimum.split('.').map(Number);
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}
