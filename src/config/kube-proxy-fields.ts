import {
  anything,
  boolean,
  cidrList,
  duration,
  integer,
  later,
  listOf,
  mapOf,
  oneOf,
  refused,
  section,
  text,
} from './fields.ts';
import { logging } from './kubelet-fields.ts';

const bit = () => integer(0, 31);

/** All fields of kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration (staging/src/k8s.io/kube-proxy/config/v1alpha1). */
export const kubeProxyFields = {
  bindAddress: later(text('an IP address')),
  bindAddressHardFail: later(boolean()),
  // One API client serves the whole daemon; its kubeconfig is the flag's.
  clientConnection: later(
    section({
      kubeconfig: text(),
      acceptContentTypes: text(),
      contentType: text(),
      qps: integer(-1),
      burst: integer(0),
    }),
  ),
  clusterCIDR: cidrList(),
  configSyncPeriod: later(duration()),
  conntrack: later(
    section({
      maxPerCore: integer(0),
      min: integer(0),
      tcpEstablishedTimeout: duration(),
      tcpCloseWaitTimeout: duration(),
      tcpBeLiberal: boolean(),
      udpTimeout: duration(),
      udpStreamTimeout: duration(),
    }),
  ),
  detectLocal: section({ bridgeInterface: text(), interfaceNamePrefix: text() }),
  detectLocalMode: oneOf('', 'ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'),
  enableProfiling: later(boolean()),
  featureGates: later(mapOf(boolean())),
  healthzBindAddress: later(text('an address such as 0.0.0.0:10256')),
  hostnameOverride: text('a node name'),
  iptables: section({
    masqueradeBit: bit(),
    masqueradeAll: boolean(),
    localhostNodePorts: boolean(),
    syncPeriod: duration(),
    minSyncPeriod: duration(),
  }),
  ipvs: later(
    section({
      syncPeriod: duration(),
      minSyncPeriod: duration(),
      scheduler: text(),
      excludeCIDRs: listOf(text()),
      strictARP: boolean(),
      tcpTimeout: duration(),
      tcpFinTimeout: duration(),
      udpTimeout: duration(),
    }),
  ),
  logging: later(logging),
  metricsBindAddress: later(text('an address such as 127.0.0.1:10249')),
  mode: oneOf('', 'iptables'),
  nftables: later(
    section({
      masqueradeBit: bit(),
      masqueradeAll: boolean(),
      syncPeriod: duration(),
      minSyncPeriod: duration(),
    }),
  ),
  nodePortAddresses: listOf(text('a CIDR or primary')),
  oomScoreAdj: later(integer(-1000, 1000)),
  portRange: later(text()),
  showHiddenMetricsForVersion: later(text()),
  windowsRunAsService: refused('this is not Windows'),
  winkernel: later(anything()),
} as const;
