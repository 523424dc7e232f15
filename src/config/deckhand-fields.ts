import {
  absolute,
  boolean,
  cidrList,
  exactDuration,
  exactInteger,
  ip,
  listOf,
  oneOf,
  or,
  section,
  text,
} from './fields.ts';
import { labels } from './kubelet-fields.ts';

/** deckhand.dev/v1alpha1 DeckhandConfiguration: what is neither kubelet's nor kube-proxy's, or theirs by flag only. */
export const deckhandFields = {
  /** An API server to join; without it the embedded API runs. */
  kubeconfig: or(text('a path of a kubeconfig file'), ''),
  /** The identity for Services and EndpointSlices, where the node's own may not list them. */
  proxyKubeconfig: or(text('a path of a kubeconfig file'), ''),
  /** A kubeconfig with a bootstrap token, from which the one at `kubeconfig` is made when that does not exist. */
  bootstrapKubeconfig: or(text('a path of a kubeconfig file'), ''),
  /** How long certificates of the node should live: a wish that their requests carry. Default: as the signer likes. */
  certificateLife: exactDuration(600_000),
  /** Client and serving certificates. Empty: rootDir/pki. */
  certDir: or(absolute('a directory'), ''),
  /** With external, the cloud controller manager fills in the Node object and takes the taint off. */
  cloudProvider: oneOf('external'),
  hostnameOverride: or(text('a node name'), ''),
  nodeIPs: or(listOf(ip()), []),
  nodeLabels: or(labels, {}),
  /** Volumes, pod directories and plugins. */
  rootDir: or(absolute('a directory'), '/var/lib/kubelet'),
  /** A link to each container's log, for log shippers. */
  containerLogsDir: or(absolute('a directory'), '/var/log/containers'),
  imageCredentialProviderConfig: or(text('a path of a file or a directory'), ''),
  imageCredentialProviderBinDir: or(text('a path of a directory'), ''),
  /** Held by one process at a time. */
  lockFile: or(text('a path of a file'), ''),
  /** Ends when another process waits for lockFile. */
  exitOnLockContention: or(boolean(), false),
  /** Keeps the last known pods, encrypted, for a reboot without the API. Default: on without a kubeconfig. */
  checkpoint: section({ enabled: boolean() }),
  services: section({
    /** Breaks off TCP connections through a Service to an endpoint that is gone. */
    resetTCPFlows: or(boolean(), false),
  }),
  embeddedAPI: section({
    /** The write-ahead file, certificates and the kubeconfig file. */
    dataDir: or(absolute('a directory'), '/var/lib/deckhand'),
    port: or(exactInteger(0, 65_535), 6443),
    serviceCIDR: or(cidrList(), '10.96.0.0/16'),
    /** A folder whose YAML is applied and followed. */
    manifests: or(text('a path of a directory'), ''),
  }),
  log: section({ format: oneOf('json', 'text'), verbosity: exactInteger(0, 10) }),
} as const;
