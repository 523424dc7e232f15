import { parseIp } from '../model/cidr.ts';
import {
  boolean,
  cidrList,
  duration,
  exactDuration,
  exactInteger,
  type Field,
  integer,
  ip,
  later,
  listOf,
  mapOf,
  number,
  oneOf,
  or,
  refused,
  section,
  text,
  zeroIsAbsent,
} from './fields.ts';
import { logging } from './kubelet-fields.ts';

const bit = () => or(exactInteger(0, 31), 14);
const yes = () => or(boolean(), true);
const no = () => or(boolean(), false);

/** An address with or without a port: "0.0.0.0:10256", "[::]:10256", "127.0.0.1". */
const ipPort = (): Field<string> => {
  const address = text();
  return {
    ...address,
    read: (value, path, report) => {
      if (value === '') return undefined;
      const [, host = '', port = '1'] =
        /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(String(value))?.filter((part) => part !== undefined) ?? [];
      const bare = typeof value === 'string' && parseIp(value) !== undefined;
      if (bare || (parseIp(host) !== undefined && Number(port) >= 1 && Number(port) <= 65_535)) return String(value);
      report({
        level: 'error',
        path,
        message: `is ${JSON.stringify(value)}; expected an IP address with a port, such as 0.0.0.0:10256`,
      });
      return undefined;
    },
  };
};

/**
 * All fields of kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration in 1.36
 * (staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go) with their defaults (pkg/proxy/apis/config/v1alpha1/defaults.go).
 */
export const kubeProxyFields = {
  // Only tells which address is the node's own; the Node object does so here.
  bindAddress: later(or(ip(), '0.0.0.0')),
  bindAddressHardFail: no(),
  clientConnection: section({
    /** As --proxy-kubeconfig, where that file exists. */
    kubeconfig: or(text(), ''),
    acceptContentTypes: text(),
    contentType: or(text(), 'application/json'),
    qps: later(or(zeroIsAbsent(number(-1, 2 ** 31 - 1)), 5)),
    burst: later(or(integer(1), 10)),
  }),
  clusterCIDR: or(cidrList(), ''),
  configSyncPeriod: later(or(duration(1), '15m')),
  conntrack: section({
    maxPerCore: or(exactInteger(0), 32_768),
    min: or(exactInteger(0), 131_072),
    tcpEstablishedTimeout: or(exactDuration(0), '24h'),
    tcpCloseWaitTimeout: or(exactDuration(0), '1h'),
    tcpBeLiberal: no(),
    udpTimeout: or(exactDuration(0), '0s'),
    udpStreamTimeout: or(exactDuration(0), '0s'),
  }),
  detectLocal: section({ bridgeInterface: or(text(), ''), interfaceNamePrefix: or(text(), '') }),
  detectLocalMode: or(oneOf('ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'), 'ClusterCIDR'),
  enableProfiling: later(no()),
  featureGates: or(mapOf(boolean()), {}),
  healthzBindAddress: ipPort(),
  hostnameOverride: or(text('a node name'), ''),
  iptables: section({
    masqueradeBit: bit(),
    masqueradeAll: no(),
    localhostNodePorts: yes(),
    syncPeriod: or(duration(), '30s'),
    // kube-proxy waits 1 s between two syncs to save rewriting everything; a sync here writes only what changed.
    minSyncPeriod: or(duration(), '50ms'),
  }),
  ipvs: section({
    syncPeriod: or(duration(), '30s'),
    minSyncPeriod: or(exactDuration(0), '0s'),
    scheduler: or(text(), 'rr'),
    excludeCIDRs: or(listOf(text('a CIDR')), []),
    strictARP: no(),
    tcpTimeout: or(exactDuration(0), '0s'),
    tcpFinTimeout: or(exactDuration(0), '0s'),
    udpTimeout: or(exactDuration(0), '0s'),
  }),
  logging,
  metricsBindAddress: ipPort(),
  /** Absent: nftables where this machine has it, else iptables. kube-proxy: iptables. */
  mode: oneOf('iptables', 'nftables', 'ipvs'),
  nftables: section({
    masqueradeBit: bit(),
    masqueradeAll: no(),
    syncPeriod: or(duration(), '30s'),
    minSyncPeriod: or(duration(), '50ms'),
  }),
  nodePortAddresses: or(listOf(text('a CIDR or primary')), []),
  oomScoreAdj: later(or(exactInteger(-1000, 1000), -999)),
  // Ignored by kube-proxy since 1.22.
  portRange: or(text(), ''),
  showHiddenMetricsForVersion: later(or(text(), '')),
  windowsRunAsService: refused('this is not Windows'),
  // Read on Windows only.
  winkernel: section({
    networkName: text(),
    sourceVip: text(),
    enableDSR: boolean(),
    rootHnsEndpointName: text(),
    forwardHealthCheckVip: boolean(),
  }),
} as const;
