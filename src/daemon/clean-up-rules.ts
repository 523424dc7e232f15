import { RealConntrack } from '../host/conntrack/real.ts';
import { RealIpset } from '../host/ipset/real.ts';
import type { IptablesPort } from '../host/iptables/port.ts';
import { detectFlavour, openIptables } from '../host/iptables/real.ts';
import { RealIpvs } from '../host/ipvs/real.ts';
import { type NftablesPort, nftFamily } from '../host/nftables/port.ts';
import { openNftables } from '../host/nftables/real.ts';
import { RealServiceDevice } from '../host/service-device/real.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import { type Logger, silent } from '../kit/log.ts';
import type { IPFamily } from '../model/service.ts';
import { IptablesBackend } from '../services/act/iptables-backend.ts';
import { IpvsBackend } from '../services/act/ipvs-backend.ts';
import { deviceAlias } from '../services/act/ipvs-kernel.ts';
import { NftablesBackend } from '../services/act/nftables-backend.ts';
import { removeUtilChains } from '../services/act/util-chains.ts';
import { canaryChain } from '../services/render/iptables/chains.ts';
import { serviceDevice } from '../services/render/ipvs/sets.ts';
import { tableName } from '../services/render/nftables/words.ts';
import { forgetFlows, type LeaveIpvsOptions, leaveIpvs } from './leave-ipvs.ts';
import type { ProxyMode } from './proxy-backends.ts';

export interface CleanedUp {
  readonly removed: readonly string[];
  readonly failures: readonly string[];
}

/** For a mode that is left while its clients go on asking. */
type Leaving = LeaveIpvsOptions & { readonly clock: Clock; readonly log: Logger };

const families = ['IPv4', 'IPv6'] as const;
/** kube-proxy's table in nftables mode. */
const KUBE_PROXY_TABLE = 'kube-proxy';

/**
 * Takes all Service rules of deckhand away, and with `kubeProxy` those of kube-proxy in any of its modes. Its chains in
 * iptables have the names of deckhand's, which cannot be told apart once their canary is gone: without `kubeProxy` they
 * go only when the canary says that deckhand wrote them. Each part is tried although others fail.
 */
export async function cleanUpRules(kubeProxy: boolean): Promise<CleanedUp> {
  const removed: string[] = [];
  const failures: string[] = [];
  const attempt = async (what: string, work: () => Promise<boolean>): Promise<void> => {
    try {
      if (await work()) removed.push(what);
    } catch (error) {
      failures.push(`${what}: ${messageOf(error)}`);
    }
  };
  // First: the chains around IPVS are in part those of iptables mode, and sets go when no rule looks into them.
  await attempt('the virtual servers of Services, their device, KUBE- sets and chains (ipvs)', () =>
    removeIpvs(kubeProxy, false),
  );
  for (const family of families) {
    await attempt(`the ${family} table ${tableName} (nftables)`, () => removeNftables(family));
    // Opened once: which flavour it is can no longer be told when the first chains are gone.
    const iptables = iptablesOf(family);
    await attempt(`the ${family} KUBE- chains (iptables)`, async () => removeIptables(await iptables, kubeProxy));
    await attempt(`the ${family} chains that kubelet keeps (iptables)`, async () => {
      const opened = await iptables;
      return opened !== undefined && (await removeUtilChains(opened));
    });
    if (kubeProxy) {
      await attempt(`the ${family} table ${KUBE_PROXY_TABLE} (nftables)`, () => removeTable(family, KUBE_PROXY_TABLE));
    }
  }
  return { removed, failures };
}

/** What deckhand itself wrote in the mode that is not used now; after its rules in the other one are in the kernel. */
export async function removeOtherMode(mode: ProxyMode, leaving: Leaving): Promise<void> {
  const { log } = leaving;
  const attempt = async (work: () => Promise<boolean>, about: { readonly family?: IPFamily }): Promise<void> => {
    try {
      if (await work()) log.info(about, 'took away the Service rules of the mode that was used before');
    } catch (error) {
      const fields = { ...about, error: messageOf(error) };
      log.warn(fields, 'could not take away the Service rules of the mode used before');
    }
  };
  // In iptables mode the chains that both modes have hold its own rules by now.
  if (mode !== 'ipvs') await attempt(() => removeIpvs(false, mode === 'iptables', leaving), {});
  for (const family of families) {
    // In ipvs mode it has put its own rules in the place of those of iptables mode.
    if (mode === 'nftables') await attempt(async () => removeIptables(await iptablesOf(family), false), { family });
    else await attempt(() => removeNftables(family), { family });
  }
}

async function removeNftables(family: IPFamily): Promise<boolean> {
  const nftables = await nftablesOf(family);
  if (nftables === undefined || (await nftables.chains(tableName, ['nat-prerouting'])) === undefined) return false;
  await new NftablesBackend({ nftables, log: silent }).cleanup();
  return true;
}

async function removeTable(family: IPFamily, name: string): Promise<boolean> {
  const nftables = await nftablesOf(family);
  if (nftables === undefined || (await nftables.table(name)) === undefined) return false;
  await nftables.apply(`delete table ${nftFamily(family)} ${name}\n`);
  return true;
}

/** A machine without the commands has nothing of it either. */
async function iptablesOf(family: IPFamily): Promise<IptablesPort | undefined> {
  const flavour = await detectFlavour({ family }).catch(() => undefined);
  return flavour === undefined ? undefined : await openIptables({ family, flavour });
}

async function removeIptables(iptables: IptablesPort | undefined, everything: boolean): Promise<boolean> {
  if (iptables === undefined) return false;
  const canary = await iptables.list('nat', canaryChain);
  const isOurs = canary?.some((rule) => rule.includes('deckhand')) ?? false;
  if (!isOurs && !everything) return false;
  const before = await iptables.save();
  if (!/^:KUBE-/m.test(before)) return false;
  await new IptablesBackend({ iptables, log: silent }).cleanup();
  return (await iptables.save()) !== before;
}

/** What deckhand left, by the alias of its device; with `everything` what kube-proxy left as well, its sets alone too. */
async function removeIpvs(everything: boolean, besideIptables: boolean, leaving?: Leaving): Promise<boolean> {
  const device = new RealServiceDevice({ name: serviceDevice });
  const found = await device.read();
  if (found?.alias !== deviceAlias && !everything) return false;
  const ports = { ipvs: new RealIpvs(), ipset: new RealIpset(), device };
  // A machine without ipset has no sets either.
  const sets = await ports.ipset.save().catch(() => '');
  if (found === undefined && !/^create KUBE-/m.test(sets)) return false;
  const servers = leaving && (await leaveIpvs(leaving, { ...ports, ...leaving }));
  for (const family of families) {
    const iptables = await openIptables({ family });
    if (iptables === undefined) continue;
    const backend = new IpvsBackend({ scheduler: '', excludeCIDRs: [] }, { ...ports, iptables, log: silent });
    await backend.cleanup(besideIptables);
  }
  await device.remove();
  if (leaving && servers) await forgetFlows(servers, { conntrack: new RealConntrack(), clock: leaving.clock });
  return true;
}

/** A machine without nft has nothing of it either. */
function nftablesOf(family: IPFamily): Promise<NftablesPort | undefined> {
  return openNftables({ family }).catch(() => undefined);
}
