import { release } from 'node:os';
import { ProxyHealth } from '../api/proxy-health.ts';
import type { EventRecorder } from '../cluster/port.ts';
import type { Config } from '../config/config.ts';
import type { EffectiveDocument } from '../config/effective-documents.ts';
import { RealConntrack } from '../host/conntrack/real.ts';
import { RealNet } from '../host/net/real.ts';
import type { Clock } from '../kit/clock.ts';
import type { Node } from '../model/node.ts';
import type { IPFamily } from '../model/service.ts';
import type { LocalReadiness } from '../pods/local-readiness.ts';
import { applyKernelSettings } from '../services/act/kernel-settings.ts';
import { ServiceInspector } from '../services/explain/service-inspector.ts';
import { ServiceLoop } from '../services/loop.ts';
import type { LocalDetector, ProxyFacts } from '../services/port.ts';
import { ProxyMetrics } from '../services/proxy-metrics.ts';
import type { Caches } from './caches.ts';
import { removeOtherMode } from './clean-up-rules.ts';
import type { Foundation } from './foundation.ts';
import { openProxyBackends } from './proxy-backends.ts';
import { openHealthCheckNodePorts, serveProxy } from './proxy-servers.ts';

export interface ServicesDeps {
  readonly caches: Caches;
  readonly events: EventRecorder;
  readonly localReadiness: LocalReadiness;
  readonly node: () => Node | undefined;
  readonly hostIPs: () => readonly string[];
  readonly podCIDRs: () => readonly string[];
  /** The Node's topology.kubernetes.io/zone. */
  readonly zone: () => string | undefined;
  readonly cores: number;
  /** As the files and flags have it, for /configz. */
  readonly effective: () => readonly EffectiveDocument[];
}

/** Builds and starts the services room. Rules stay in the kernel when it is closed. */
export async function startServices(foundation: Foundation, deps: ServicesDeps): Promise<ServiceLoop> {
  const { config, clock, log, metrics, closers } = foundation;
  const logger = log.child({ part: 'services' });
  const net = new RealNet();
  const opened = await openProxyBackends(config.services, { clock, log: logger });
  const { backends } = opened;
  logger.info(
    { mode: opened.mode, families: backends.map(({ family }) => family) },
    'chose how Service rules are written',
  );
  if (opened.mode === 'ipvs') {
    const { nodeName } = config;
    const message =
      "The ipvs proxier is now deprecated and may be removed in a future release. Please use 'nftables' instead.";
    logger.warn({ mode: opened.mode }, message);
    const about = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName };
    deps.events.event(about, 'Warning', 'IPVSDeprecation', message);
  }
  closers.add('what writes Service rules', () => opened.close());
  const families = backends.map(({ family }) => family);
  const facts = proxyFacts(config, deps);
  const { localhostNodePorts, conntrack, ipvs } = config.services;
  const settings = await applyKernelSettings(
    {
      families,
      localhostNodePorts,
      cores: deps.cores,
      conntrackMaxPerCore: conntrack.maxPerCore,
      conntrackMin: conntrack.min,
      tcpEstablishedSeconds: Math.floor(conntrack.tcpEstablishedMs / 1000),
      tcpCloseWaitSeconds: Math.floor(conntrack.tcpCloseWaitMs / 1000),
      tcpBeLiberal: conntrack.tcpBeLiberal,
      udpSeconds: Math.floor(conntrack.udpMs / 1000),
      udpStreamSeconds: Math.floor(conntrack.udpStreamMs / 1000),
      ...(opened.mode === 'ipvs' ? { ipvs: { strictARP: ipvs.strictARP, kernelRelease: release() } } : {}),
    },
    net,
    logger,
  );
  const health = new ProxyHealth(2 * config.services.syncPeriodMs, {
    families: () => loop.status().families,
    node: deps.node,
    now: () => clock.now(),
    metrics,
  });
  const healthChecks = openHealthCheckNodePorts(foundation, { net, health, events: deps.events, facts });
  const loop: ServiceLoop = new ServiceLoop(
    {
      facts,
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
      events: deps.events,
      healthChecks,
      conntrack: new RealConntrack(),
    },
  );
  closers.add('Service rules', () => loop.close());
  await serveProxy(foundation, {
    mode: opened.mode,
    health,
    effective: deps.effective,
    inspector: new ServiceInspector({ loop, backends, net }),
  });
  void loop
    .start()
    .then(() => loop.settled())
    // The rules are in the kernel: what another mode left can go without a gap.
    .then(() => removeOtherMode(opened.mode, { nodeIPs: facts.nodeIPs, clock, log: logger }))
    .catch((error: unknown) => logger.debug({ error: String(error) }, 'the Service loop never started'));
  return loop;
}

/** A kernel that refuses rules must not keep a container from its end; one that is slow may, for a while. */
const REFUSED_PATIENCE_MS = 1_000;
const SLOW_PATIENCE_MS = 5_000;

/** So long a server has for connections that the kernel took for it before the rules led elsewhere. */
const BACKLOG_MS = 50;

/**
 * Waits until everything that was told of endpoints is in the kernel, five seconds at most, and then for connections that
 * were made just before: who closes its socket at SIGTERM resets those that it has not taken yet.
 */
export async function rulesFollowed(loop: Pick<ServiceLoop, 'settled' | 'status'>, clock: Clock): Promise<void> {
  const patience = new AbortController();
  const giveUp = (): void => patience.abort(new Error('the Service rules are late'));
  const families = () => loop.status().families;
  const timers = [
    clock.after(REFUSED_PATIENCE_MS, () => {
      if (families().some(({ lastError }) => lastError !== undefined)) giveUp();
    }),
    clock.after(SLOW_PATIENCE_MS, giveUp),
  ];
  await loop.settled(patience.signal).catch(() => {});
  for (const timer of timers) timer.cancel();
  const followed = Math.max(0, ...families().map(({ lastSyncedAt }) => lastSyncedAt ?? 0));
  const left = followed + BACKLOG_MS - clock.now();
  if (left > 0) await clock.sleep(Math.min(left, BACKLOG_MS));
}

export function proxyFacts(
  config: Config,
  deps: Pick<ServicesDeps, 'hostIPs' | 'podCIDRs' | 'zone'> & { readonly caches: Pick<Caches, 'serviceCIDRs'> },
): ProxyFacts {
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
    resetTcp: services.resetTcpFlows,
    serviceCIDRs: serviceCidrs(config, deps.caches.serviceCIDRs),
  };
}

/** Until the embedded API has been asked its own are those of the configuration: else the first rules were written twice. */
function serviceCidrs({ kubeconfig, embeddedAPI }: Config, cache: Caches['serviceCIDRs']): readonly string[] {
  if (kubeconfig === undefined && !cache.synced) return embeddedAPI.serviceCIDR;
  return [...cache.values()].flatMap((one) => one.spec?.cidrs ?? []);
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
