import { type Documents, type Kind, mergedValues, readDocument } from './config-documents.ts';
import type { PlacedFinding } from './read-config-file.ts';

/** One command-line flag that stands for a configuration field, with kubelet's or kube-proxy's name where they have one. */
export interface Flag {
  readonly name: string;
  /** What stands for the value in --help; undefined: a switch. */
  readonly value?: string;
  readonly help: string;
  readonly kind: Kind;
  readonly path: readonly string[];
  readonly as: 'text' | 'integer' | 'boolean' | 'list' | 'labels' | 'taints';
}

const kubelet = (name: string, path: string, as: Flag['as'], value: string, help: string): Flag => ({
  name,
  value,
  help,
  kind: 'KubeletConfiguration',
  path: [path],
  as,
});
const deckhand = (name: string, path: string, as: Flag['as'], value: string, help: string): Flag => ({
  name,
  value,
  help,
  kind: 'DeckhandConfiguration',
  path: path.split('.'),
  as,
});

/** All flags of `deckhand run` and `deckhand config check` besides --config. */
export const flags: readonly Flag[] = [
  deckhand('kubeconfig', 'kubeconfig', 'text', 'FILE', 'API server to join; without it the embedded API runs'),
  deckhand('bootstrap-kubeconfig', 'bootstrapKubeconfig', 'text', 'FILE', 'makes the kubeconfig by TLS bootstrap'),
  deckhand('proxy-kubeconfig', 'proxyKubeconfig', 'text', 'FILE', 'another identity for Services'),
  deckhand('cert-dir', 'certDir', 'text', 'DIR', 'certificates of the node (ROOT-DIR/pki)'),
  deckhand(
    'image-credential-provider-config',
    'imageCredentialProviderConfig',
    'text',
    'FILE',
    'pull credential plugins',
  ),
  deckhand(
    'image-credential-provider-bin-dir',
    'imageCredentialProviderBinDir',
    'text',
    'DIR',
    'where those plugins are',
  ),
  kubelet('pod-manifest-path', 'staticPodPath', 'text', 'PATH', 'file or folder of static pods'),
  kubelet('manifest-url', 'staticPodURL', 'text', 'URL', 'where more static pods are served'),
  deckhand('manifests', 'embeddedAPI.manifests', 'text', 'DIR', 'apply the YAML of a folder and follow its changes'),
  deckhand('data-dir', 'embeddedAPI.dataDir', 'text', 'DIR', 'state of the embedded API (/var/lib/deckhand)'),
  deckhand('api-port', 'embeddedAPI.port', 'integer', 'PORT', 'port of the embedded API on loopback (6443)'),
  deckhand('service-cidr', 'embeddedAPI.serviceCIDR', 'text', 'CIDR', 'where ClusterIPs come from (10.96.0.0/16)'),
  deckhand('hostname-override', 'hostnameOverride', 'text', 'NAME', "name of the node (the machine's hostname)"),
  deckhand('node-ip', 'nodeIPs', 'list', 'IP[,IP]', 'addresses of the node'),
  deckhand('node-labels', 'nodeLabels', 'labels', 'KEY=VALUE[,…]', 'labels to register the node with'),
  deckhand('root-dir', 'rootDir', 'text', 'DIR', 'pod directories and volumes (/var/lib/kubelet)'),
  kubelet('container-runtime-endpoint', 'containerRuntimeEndpoint', 'text', 'SOCKET', 'where the runtime listens'),
  kubelet('image-service-endpoint', 'imageServiceEndpoint', 'text', 'SOCKET', 'where images are served, if elsewhere'),
  kubelet('cgroup-root', 'cgroupRoot', 'text', 'PATH', 'cgroup below which all pods live (/)'),
  kubelet('cgroup-driver', 'cgroupDriver', 'text', 'NAME', 'cgroupfs'),
  kubelet('cgroups-per-qos', 'cgroupsPerQOS', 'boolean', 'true|false', 'a cgroup for each QoS class and pod (true)'),
  kubelet('enforce-node-allocatable', 'enforceNodeAllocatable', 'list', 'LIST', 'what is limited (pods)'),
  kubelet('kube-reserved', 'kubeReserved', 'labels', 'RES=QUANTITY[,…]', 'kept for Kubernetes daemons'),
  kubelet('system-reserved', 'systemReserved', 'labels', 'RES=QUANTITY[,…]', 'kept for the system'),
  kubelet('max-pods', 'maxPods', 'integer', 'N', 'pods that run at most (110)'),
  kubelet('pod-max-pids', 'podPidsLimit', 'integer', 'N', 'processes of a pod at most (-1: no limit)'),
  kubelet('pod-cidr', 'podCIDR', 'text', 'CIDR', "the pods' addresses, for the runtime"),
  kubelet('cluster-dns', 'clusterDNS', 'list', 'IP[,IP]', 'DNS servers for pods'),
  kubelet('cluster-domain', 'clusterDomain', 'text', 'DOMAIN', 'domain of the cluster'),
  kubelet('resolv-conf', 'resolvConf', 'text', 'FILE', "the host's resolver configuration (/etc/resolv.conf)"),
  kubelet('register-node', 'registerNode', 'boolean', 'true|false', 'create the Node object (true)'),
  kubelet('register-with-taints', 'registerWithTaints', 'taints', 'KEY=VALUE:EFFECT[,…]', 'taints to register with'),
  kubelet('healthz-port', 'healthzPort', 'integer', 'PORT', 'health and metrics (10248; 0: none)'),
  kubelet('healthz-bind-address', 'healthzBindAddress', 'text', 'IP', 'where they are served (127.0.0.1)'),
  {
    name: 'cluster-cidr',
    value: 'CIDR',
    help: "the pods' addresses in the whole cluster, which need no masquerading",
    kind: 'KubeProxyConfiguration',
    path: ['clusterCIDR'],
    as: 'text',
  },
  {
    name: 'masquerade-all',
    value: 'true|false',
    help: 'masquerade all traffic to Services (false)',
    kind: 'KubeProxyConfiguration',
    path: ['iptables', 'masqueradeAll'],
    as: 'boolean',
  },
  {
    name: 'nodeport-addresses',
    value: 'CIDR[,…]',
    help: "where node ports answer (all of the machine's addresses)",
    kind: 'KubeProxyConfiguration',
    path: ['nodePortAddresses'],
    as: 'list',
  },
  deckhand('v', 'log.verbosity', 'integer', 'N', 'verbosity: 0 warnings, 2 changes (default), 4 decisions, 6 wire'),
  deckhand('log-format', 'log.format', 'text', 'json|text', 'how log lines look (json)'),
];

/** Reads flags by their names as if they were documents. Later documents go over earlier ones; flags come last. */
export function readFlags(given: Readonly<Record<string, string | true>>): {
  readonly documents: Partial<Documents>;
  readonly findings: PlacedFinding[];
} {
  const findings: PlacedFinding[] = [];
  const documents: Partial<Record<Kind, unknown>> = {};
  for (const flag of flags) {
    const value = given[flag.name];
    if (value === undefined) continue;
    const raw = flag.path.reduceRight<unknown>((inner, part) => ({ [part]: inner }), rawOf(flag, value));
    const values = readDocument(flag.kind, raw as Record<string, unknown>, ({ level, message, path }) => {
      const inside = path.slice(flag.path.length).join('.');
      findings.push({ level, text: `--${flag.name}: ${inside === '' ? '' : `${inside} `}${message}` });
    });
    documents[flag.kind] = mergedValues(documents[flag.kind] ?? {}, values as unknown);
  }
  return { documents: documents as Partial<Documents>, findings };
}

/** The value as it would stand in YAML. What cannot be converted stays text, and its field says what it expects. */
function rawOf(flag: Flag, given: string | true): unknown {
  if (given === true) return true;
  switch (flag.as) {
    case 'text':
      return given;
    case 'integer':
      return /^-?\d+$/.test(given) ? Number(given) : given;
    case 'boolean':
      return given === 'true' ? true : given === 'false' ? false : given;
    case 'list':
      return partsOf(given);
    case 'labels':
      return Object.fromEntries(partsOf(given).map((part) => splitAt(part, '=')));
    case 'taints':
      return partsOf(given).map((part) => {
        const [key, effect] = splitAt(part, ':');
        const [name, value] = splitAt(key, '=');
        return { key: name, effect, ...(value === '' ? {} : { value }) };
      });
  }
}

function partsOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
