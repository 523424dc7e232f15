import type { Config } from '../config/config.ts';
import { RealIpset } from '../host/ipset/real.ts';
import { openIptables } from '../host/iptables/real.ts';
import { RealIpvs } from '../host/ipvs/real.ts';
import { FastNftables } from '../host/nftables/fast.ts';
import { openNftables } from '../host/nftables/real.ts';
import { NftSession } from '../host/nftables/session.ts';
import { OwnWriters } from '../host/rule-watch/own-writers.ts';
import { XtablesMonitor } from '../host/rule-watch/real.ts';
import { RealServiceDevice } from '../host/service-device/real.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { IPFamily } from '../model/service.ts';
import { checkIpvs } from '../services/act/check-ipvs.ts';
import { IptablesBackend } from '../services/act/iptables-backend.ts';
import { IpvsBackend } from '../services/act/ipvs-backend.ts';
import { NftablesBackend } from '../services/act/nftables-backend.ts';
import type { ProxyBackend } from '../services/port.ts';
import { serviceDevice } from '../services/render/ipvs/sets.ts';

export type ProxyMode = 'iptables' | 'nftables' | 'ipvs';

export interface ProxyBackends {
  readonly mode: ProxyMode;
  /** One for each address family that this kernel has. */
  readonly backends: readonly ProxyBackend[];
  close(): Promise<void>;
}

interface Deps {
  readonly clock: Clock;
  readonly log: Logger;
}

const families = ['IPv4', 'IPv6'] as const;

/** What writes the rules of Services here. Throws Unavailable when this machine has nothing that could. */
export async function openProxyBackends(
  { mode: wanted, ipvs }: Pick<Config['services'], 'mode' | 'ipvs'>,
  deps: Deps,
): Promise<ProxyBackends> {
  const { log } = deps;
  if (wanted === 'ipvs') return openIpvsBackends(ipvs, deps);
  if (wanted === 'iptables') return required(await openIptablesBackends(deps), wanted);
  if (wanted === 'nftables') return required(await openNftablesBackends(deps), wanted);
  // Nobody chose: nftables, for there a change costs the same with ten Services as with ten thousand.
  const nftables = await openNftablesBackends(deps).catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, 'nftables does not work here, Service rules go by iptables');
    return undefined;
  });
  if (nftables !== undefined && nftables.backends.length > 0) return nftables;
  await nftables?.close();
  return required(await openIptablesBackends(deps), 'iptables');
}

function required(opened: ProxyBackends, mode: 'iptables' | 'nftables'): ProxyBackends {
  if (opened.backends.length > 0) return opened;
  throw new CodedError('Unavailable', `no ${mode} here: install the package ${mode}, and run as root`, { mode });
}

async function openIptablesBackends({ clock, log }: Deps): Promise<ProxyBackends> {
  const own = new OwnWriters();
  const ports = await each((family) => openIptables({ family, started: own.note }));
  const isHeard = ports.some(({ flavour }) => flavour === 'nft');
  const watch = isHeard ? new XtablesMonitor({}, { clock, log, own }) : undefined;
  const backends = ports.map((iptables) => {
    return new IptablesBackend({ iptables, log, ...(watch === undefined ? {} : { watch }) });
  });
  return { mode: 'iptables', backends, close: async () => watch?.close() };
}

/** Throws Unavailable that names what this machine lacks; there is no other mode to fall back to, as with kube-proxy. */
async function openIpvsBackends(settings: Config['services']['ipvs'], { log }: Deps): Promise<ProxyBackends> {
  const ports = {
    ipvs: new RealIpvs(),
    ipset: new RealIpset(),
    device: new RealServiceDevice({ name: serviceDevice }),
  };
  await checkIpvs(ports, settings.scheduler);
  const seconds = [settings.tcpMs, settings.tcpFinMs, settings.udpMs].map((ms) => Math.floor(ms / 1000));
  const [tcp = 0, tcpFin = 0, udp = 0] = seconds;
  if (seconds.some((one) => one > 0)) {
    await ports.ipvs.setTimeouts(tcp, tcpFin, udp).catch((error: unknown) => {
      log.warn({ tcp, tcpFin, udp, error: messageOf(error) }, 'cannot set the time-outs of IPVS connections');
    });
  }
  const backends = await each(async (family) => {
    const iptables = await openIptables({ family });
    return iptables === undefined ? undefined : new IpvsBackend(settings, { ...ports, iptables, log });
  });
  return required({ mode: 'ipvs', backends, close: async () => {} }, 'iptables');
}

async function openNftablesBackends({ clock, log }: Deps): Promise<ProxyBackends> {
  const own = new OwnWriters();
  const ports = await each((family) => openNftables({ family, started: own.note }));
  if (ports.length === 0) return { mode: 'nftables', backends: [], close: async () => {} };
  const session = new NftSession({ started: own.note }, { clock });
  const watch = new XtablesMonitor({}, { clock, log, own });
  const backends = ports.map((plain) => {
    return new NftablesBackend({ nftables: new FastNftables({ plain, session, log }), log, watch });
  });
  const close = async (): Promise<void> => {
    await Promise.all([session.close(), watch.close()]);
  };
  return { mode: 'nftables', backends, close };
}

/** What each family has; those that this kernel does not have are left out. */
async function each<T>(open: (family: IPFamily) => Promise<T | undefined>): Promise<readonly T[]> {
  const opened: T[] = [];
  for (const family of families) {
    const one = await open(family);
    if (one !== undefined) opened.push(one);
  }
  return opened;
}
