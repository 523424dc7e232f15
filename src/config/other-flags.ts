/** A flag that kubelet or kube-proxy has or had and that stands for no field of deckhand's configuration. */
export interface OtherFlag {
  readonly level: 'error' | 'warning';
  /** Needs no value. */
  readonly alone: boolean;
  /** Goes on after the flag's name. */
  readonly message: string;
}

const SWITCHES: ReadonlySet<string> = new Set([
  'enable-load-reader',
  'log-cadvisor-usage',
  'storage-driver-secure',
  'experimental-allocatable-ignore-eviction',
  'cleanup',
  'init-only',
  'logtostderr',
  'alsologtostderr',
  'add-dir-header',
  'one-output',
  'skip-headers',
  'skip-log-headers',
  'keep-terminated-pod-volumes',
  'allow-privileged',
  'register-schedulable',
  'really-crash-for-testing',
  'redirect-container-streaming',
  'enable-cadvisor-json-endpoints',
]);

const WARNED: Readonly<Record<string, string>> = {
  'is a known flag, but not yet honoured': `runtime-cgroups experimental-allocatable-ignore-eviction metrics-port
    minimum-container-ttl-duration maximum-dead-containers maximum-dead-containers-per-container vmodule`,
  'is a flag of cAdvisor, which deckhand does without': `housekeeping-interval max-housekeeping-interval
    application-metrics-count-limit boot-id-file container-hints containerd containerd-namespace enable-load-reader
    event-storage-age-limit event-storage-event-limit global-housekeeping-interval log-cadvisor-usage machine-id-file
    storage-driver-buffer-duration storage-driver-db storage-driver-host storage-driver-password
    storage-driver-secure storage-driver-table storage-driver-user`,
  'was removed from kubelet in 1.35, and so it is here: the runtime has its own setting': 'pod-infra-container-image',
};

const REFUSED: Readonly<Record<string, string>> = {
  'is a known flag that deckhand does not honour; expected none, mounts are made by deckhand itself':
    'experimental-mounter-path',
  'is a flag of kube-proxy that deckhand does not honour; expected the server in the kubeconfig': 'master',
  'is a flag of kube-proxy that deckhand does not honour; expected `deckhand config check`': 'write-config-to',
  'is a flag of kube-proxy that deckhand does not honour; expected `deckhand proxy cleanup --kube-proxy`': 'cleanup',
  'is a flag of kube-proxy that deckhand does not honour; expected none, deckhand keeps its privileges': 'init-only',
  'is for Windows only': 'windows-service windows-priorityclass',
  'was removed from kubelet in 1.24, with dockershim; expected it to be dropped': `network-plugin cni-bin-dir
    cni-conf-dir cni-cache-dir network-plugin-mtu docker-endpoint image-pull-progress-deadline
    experimental-dockershim-root-directory docker-root docker-only docker-tls docker-tls-ca docker-tls-cert docker-tls-key`,
  'was removed from kubelet in 1.24, with dynamic configuration; expected --config': 'dynamic-config-dir',
  'was removed from kubelet in 1.26, with the log files of klog; expected it to be dropped': `log-dir log-file
    log-file-max-size logtostderr alsologtostderr stderrthreshold add-dir-header log-backtrace-at one-output
    skip-headers skip-log-headers`,
  'was removed from kubelet; expected it to be dropped': `cloud-config keep-terminated-pod-volumes
    master-service-namespace iptables-drop-bit azure-container-registry-config seccomp-profile-root
    allow-privileged register-schedulable non-masquerade-cidr really-crash-for-testing redirect-container-streaming
    enable-cadvisor-json-endpoints chaos-chance cadvisor-port experimental-bootstrap-kubeconfig
    experimental-kernel-memcg-notification experimental-check-node-capabilities-before-mount`,
};

/** What is to be said of a flag; undefined: nobody knows it. */
export function otherFlag(name: string, value: string | undefined): OtherFlag | undefined {
  const alone = SWITCHES.has(name);
  if (name === 'container-runtime') {
    const message = 'was removed from kubelet in 1.27, and so it is here: the runtime is always a remote one';
    return { level: value === 'remote' ? 'warning' : 'error', alone, message };
  }
  const warned = messageFor(WARNED, name);
  if (warned !== undefined) return { level: 'warning', alone, message: warned };
  const refused = messageFor(REFUSED, name);
  return refused === undefined ? undefined : { level: 'error', alone, message: refused };
}

/** All names, for suggestions. */
export function otherFlagNames(): readonly string[] {
  return [
    'container-runtime',
    ...[...Object.values(WARNED), ...Object.values(REFUSED)].flatMap((names) => names.split(/\s+/)),
  ];
}

function messageFor(table: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.entries(table).find(([, names]) => names.split(/\s+/).includes(name))?.[0];
}
