import { parseCidr } from '../model/cidr.ts';
import { formatDuration } from './duration.ts';
import { type Filled, section, type Values } from './fields.ts';
import { kubeProxyFields } from './kube-proxy-fields.ts';
import type { Wrong } from './kubelet-rules.ts';

/** Everything that a KubeProxyConfiguration says, with its defaults. */
export type KubeProxy = Omit<Filled<typeof kubeProxyFields>, 'healthzBindAddress' | 'metricsBindAddress'> & {
  readonly healthzBindAddress: string;
  readonly metricsBindAddress: string;
};

const kubeProxy = section(kubeProxyFields);

export function completeKubeProxy(given: Values<typeof kubeProxyFields>): KubeProxy {
  const config = kubeProxy.fill(given);
  const [any, own] = config.bindAddress.includes(':') ? ['[::]', '[::1]'] : ['0.0.0.0', '127.0.0.1'];
  return {
    ...config,
    healthzBindAddress: withPort(given.healthzBindAddress ?? any, 10_256),
    metricsBindAddress: withPort(given.metricsBindAddress ?? own, 10_249),
  };
}

/** What no single field can tell (pkg/proxy/apis/config/validation). */
export function checkKubeProxy(config: KubeProxy, wrong: Wrong): void {
  const { syncPeriod, minSyncPeriod } = config.iptables;
  if (minSyncPeriod > syncPeriod) {
    wrong(
      ['iptables', 'minSyncPeriod'],
      `is ${formatDuration(minSyncPeriod)}; expected no more than iptables.syncPeriod, which is ${formatDuration(syncPeriod)}`,
    );
  }
  if (config.mode === 'ipvs') checkIpvs(config.ipvs, wrong);
  const { detectLocalMode: mode, detectLocal } = config;
  const needed =
    mode === 'BridgeInterface' ? 'bridgeInterface' : mode === 'InterfaceNamePrefix' ? 'interfaceNamePrefix' : undefined;
  if (needed !== undefined && detectLocal[needed] === '') {
    wrong(['detectLocal', needed], `is missing; expected it with mode ${mode}`);
  }
  const addresses = config.nodePortAddresses;
  for (const [index, address] of addresses.entries()) {
    const primary = address === 'primary' && addresses.length === 1;
    if (!primary && parseCidr(address) === undefined) {
      wrong(['nodePortAddresses', index], `is ${JSON.stringify(address)}; expected CIDRs, or primary alone`);
    }
  }
  const hidden = config.showHiddenMetricsForVersion;
  if (hidden !== '' && hidden !== '1.35') {
    wrong(
      ['showHiddenMetricsForVersion'],
      `is ${JSON.stringify(hidden)}; expected the version before this one, "1.35"`,
    );
  }
}

/** The name of a kernel module follows from the scheduler's. */
const schedulerName = /^[a-z][a-z0-9_-]{0,14}$/;

function checkIpvs({ syncPeriod, minSyncPeriod, scheduler, excludeCIDRs }: KubeProxy['ipvs'], wrong: Wrong): void {
  if (minSyncPeriod > syncPeriod) {
    wrong(
      ['ipvs', 'minSyncPeriod'],
      `is ${formatDuration(minSyncPeriod)}; expected no more than ipvs.syncPeriod, which is ${formatDuration(syncPeriod)}`,
    );
  }
  if (!schedulerName.test(scheduler)) {
    wrong(
      ['ipvs', 'scheduler'],
      `is ${JSON.stringify(scheduler)}; expected the name of one of the kernel's, such as rr`,
    );
  }
  for (const [index, text] of excludeCIDRs.entries()) {
    if (parseCidr(text) === undefined) {
      wrong(['ipvs', 'excludeCIDRs', index], `is ${JSON.stringify(text)}; expected a CIDR such as 10.0.0.0/8`);
    }
  }
}

function withPort(address: string, port: number): string {
  if (/^(\[.*\]|[^:]*):\d+$/.test(address)) return address;
  return address.includes(':') && !address.startsWith('[') ? `[${address}]:${port}` : `${address}:${port}`;
}
