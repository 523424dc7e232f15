import { absolute, boolean, cidrList, integer, ip, listOf, oneOf, section, text } from './fields.ts';
import { labels } from './kubelet-fields.ts';

/** deckhand.dev/v1alpha1 DeckhandConfiguration: what is neither kubelet's nor kube-proxy's, or theirs by flag only. */
export const deckhandFields = {
  /** An API server to join; without it the embedded API runs. */
  kubeconfig: text('a path of a kubeconfig file'),
  /** The identity for Services and EndpointSlices, where the node's own may not list them. */
  proxyKubeconfig: text('a path of a kubeconfig file'),
  /** A kubeconfig with a bootstrap token, from which the one at `kubeconfig` is made when that does not exist. */
  bootstrapKubeconfig: text('a path of a kubeconfig file'),
  /** Client and serving certificates. */
  certDir: absolute('a directory'),
  hostnameOverride: text('a node name'),
  nodeIPs: listOf(ip()),
  nodeLabels: labels,
  /** Volumes, pod directories and plugins. */
  rootDir: absolute('a directory'),
  imageCredentialProviderConfig: absolute('a file or a directory'),
  imageCredentialProviderBinDir: absolute('a directory'),
  /** Keeps the last known pods, encrypted, for a reboot without the API. Default: on without a kubeconfig. */
  checkpoint: section({ enabled: boolean() }),
  embeddedAPI: section({
    /** The write-ahead file, certificates and the kubeconfig file. */
    dataDir: absolute('a directory'),
    port: integer(0, 65_535),
    serviceCIDR: cidrList(),
    /** A folder whose YAML is applied and followed. */
    manifests: text('a path of a directory'),
  }),
  log: section({ format: oneOf('json', 'text'), verbosity: integer(0, 10) }),
} as const;
