import type { Config } from '../config/config.ts';
import { RealConntrack } from '../host/conntrack/real.ts';
import { RealNet } from '../host/net/real.ts';
import type { IPFamily } from '../model/service.ts';
import type { LocalReadiness } from '../pods/local-readiness.ts';
import { applyKernelSettings } from '../services/act/kernel-settings.ts';
import { ServiceLoop } from '../services/loop.ts';
import type { LocalDetector, ProxyFacts } from '../services/port.ts';
import { ProxyMetrics } from '../services/proxy-metrics.ts';
import type { Caches } from './caches.ts';
import type { Foundation } from './foundation.ts';
import { openProxyBackends } from './proxy-backends.ts';

export interface ServicesDeps {
  readonly caches: Caches;
  readonly localReadiness: LocalReadiness;
  readonly hostIPs: () => readonly string[];
  readonly podCIDRs: () => readonly string[];
  /** The Node's topology.kubernetes.io/zone. */
  readonly zone: () => string | undefined;
  readonly cores: number;
}

/** Builds and starts the services room. Rules stay in the kernel when it is closed. */
export async function startServices(foundation: Foundation, deps: ServicesDeps): Promise<ServiceLoop> {
  const { config, clock, log, metrics, closers } = foundation;
  const logger = log.child({ part: 'services' });
  const net = new RealNet();
  const opened = await openProxyBackends(config.services.mode, { clock, log: logger });
  const { backends } = opened;
  logger.info(
    { mode: opened.mode, families: backends.map(({ family }) => family) },
    'chose how Service rules are written',
  );
  closers.add('what writes Service rules', () => opened.close());
  const families = backends.map(({ family }) => family);
  const { localhostNodePorts, conntrack } = config.services;
  const settings = await applyKernelSettings(
    {
      families,
      localhostNodePorts,
      cores: deps.cores,
      conntrackMaxPerCore: conntrack.maxPerCore,
      conntrackMin: conntrack.min,
      tcpEstablishedSeconds: Math.floor(conntrack.tcpEstablishedMs / 1000),
      tcpCloseWaitSeconds: Math.floor(conntrack.tcpCloseWaitMs / 1000),
    },
    net,
    logger,
  );
  const loop = new ServiceLoop(
    {
      facts: proxyFacts(config, deps),
      minSyncMs: config.services.minSyncPeriodMs,
      tcpBeLiberal: settings.tcpBeLiberal,
    },
    {
      clock,
      log: logger,
      metrics: new ProxyMetrics(metrics),
      services: deps.caches.services,
      slices: deps.caches.slices,
      localEndpoints: deps.localReadiness,
      backends,
      net,
      conntrack: new RealConntrack(),
    },
  );
  closers.add('Service rules', () => loop.close());
  void loop.start().catch((error: unknown) => logger.debug({ error: String(error) }, 'the Service loop never started'));
  return loop;
}

export function proxyFacts(config: Config, deps: Pick<ServicesDeps, 'hostIPs' | 'podCIDRs' | 'zone'>): ProxyFacts {
  const { services } = config;
  const nodeIPs: Partial<Record<IPFamily, string>> = {};
  for (const ip of deps.hostIPs()) nodeIPs[ip.includes(':') ? 'IPv6' : 'IPv4'] ??= ip;
  return {
    nodeName: config.nodeName,
    zone: deps.zone(),
    nodeIPs,
    nodePortAddresses: services.nodePortAddresses,
    localDetector: localDetector(config, deps.podCIDRs()),
    masqueradeAll: services.masqueradeAll,
    masqueradeBit: services.masqueradeBit,
    localhostNodePorts: services.localhostNodePorts,
    serviceCIDRs: config.kubeconfig === undefined ? config.embeddedAPI.serviceCIDR : [],
  };
}

function localDetector(config: Config, podCIDRs: readonly string[]): LocalDetector {
  const { detectLocal, clusterCIDR } = config.services;
  switch (detectLocal.mode) {
    case 'BridgeInterface':
      return { kind: 'bridgeInterface', name: detectLocal.bridgeInterface };
    case 'InterfaceNamePrefix':
      return { kind: 'interfaceNamePrefix', prefix: detectLocal.interfaceNamePrefix };
    case 'NodeCIDR':
      return podCIDRs.length === 0 ? { kind: 'none' } : { kind: 'clusterCIDR', cidrs: podCIDRs };
    case 'ClusterCIDR':
      return clusterCIDR.length === 0 ? { kind: 'none' } : { kind: 'clusterCIDR', cidrs: clusterCIDR };
  }
}
