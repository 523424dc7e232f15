import { detectFlavour, openIptables } from '../host/iptables/real.ts';
import { type NftablesPort, nftFamily } from '../host/nftables/port.ts';
import { openNftables } from '../host/nftables/real.ts';
import { runRuleCommand } from '../host/rule-command.ts';
import { messageOf } from '../kit/errors.ts';
import { type Logger, silent } from '../kit/log.ts';
import type { IPFamily } from '../model/service.ts';
import { IptablesBackend } from '../services/act/iptables-backend.ts';
import { NftablesBackend } from '../services/act/nftables-backend.ts';
import { canaryChain } from '../services/render/iptables/chains.ts';
import { tableName } from '../services/render/nftables/words.ts';

export interface CleanedUp {
  readonly removed: readonly string[];
  readonly failures: readonly string[];
}

const families = ['IPv4', 'IPv6'] as const;
/** kube-proxy's table in nftables mode, and its interface in ipvs mode. */
const KUBE_PROXY_TABLE = 'kube-proxy';
const IPVS_INTERFACE = 'kube-ipvs0';

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
  for (const family of families) {
    await attempt(`the ${family} table ${tableName} (nftables)`, () => removeNftables(family));
    await attempt(`the ${family} KUBE- chains (iptables)`, () => removeIptables(family, kubeProxy));
    if (kubeProxy) {
      await attempt(`the ${family} table ${KUBE_PROXY_TABLE} (nftables)`, () => removeTable(family, KUBE_PROXY_TABLE));
    }
  }
  if (kubeProxy) await attempt(`the interface ${IPVS_INTERFACE} and the IPVS services`, removeIpvs);
  return { removed, failures };
}

/** What deckhand itself wrote in the mode that is not used now; after its rules in the other one are in the kernel. */
export async function removeOtherMode(mode: 'iptables' | 'nftables', log: Logger): Promise<void> {
  for (const family of families) {
    try {
      const gone = mode === 'nftables' ? await removeIptables(family, false) : await removeNftables(family);
      if (gone) log.info({ family }, 'took away the Service rules of the mode that was used before');
    } catch (error) {
      log.warn({ family, error: messageOf(error) }, 'could not take away the Service rules of the mode used before');
    }
  }
}

async function removeNftables(family: IPFamily): Promise<boolean> {
  const nftables = await nftablesOf(family);
  if (nftables === undefined || (await nftables.chain(tableName, 'nat-prerouting')) === undefined) return false;
  await new NftablesBackend({ nftables, log: silent }).cleanup();
  return true;
}

async function removeTable(family: IPFamily, name: string): Promise<boolean> {
  const nftables = await nftablesOf(family);
  if (nftables === undefined || (await nftables.table(name)) === undefined) return false;
  await nftables.apply(`delete table ${nftFamily(family)} ${name}\n`);
  return true;
}

async function removeIptables(family: IPFamily, everything: boolean): Promise<boolean> {
  const flavour = await detectFlavour({ family }).catch(() => undefined);
  const iptables = flavour === undefined ? undefined : await openIptables({ family, flavour });
  if (iptables === undefined) return false;
  const canary = await iptables.list('nat', canaryChain);
  const isOurs = canary?.some((rule) => rule.includes('deckhand')) ?? false;
  if (!isOurs && !everything) return false;
  const before = await iptables.save();
  if (!/^:KUBE-/m.test(before)) return false;
  await new IptablesBackend({ iptables, log: silent }).cleanup();
  return (await iptables.save()) !== before;
}

async function removeIpvs(): Promise<boolean> {
  const { exitCode } = await runRuleCommand(['ip', 'link', 'show', IPVS_INTERFACE], { installed: 'iproute2' });
  if (exitCode !== 0) return false;
  // The virtual services go first: with the interface away their addresses would go out to the network.
  const cleared = await runRuleCommand(['ipvsadm', '-C'], { installed: 'ipvsadm' });
  if (cleared.exitCode !== 0) throw new Error(`ipvsadm -C: ${cleared.stderr.trim()}`);
  const deleted = await runRuleCommand(['ip', 'link', 'del', IPVS_INTERFACE], { installed: 'iproute2' });
  if (deleted.exitCode !== 0) throw new Error(`ip link del ${IPVS_INTERFACE}: ${deleted.stderr.trim()}`);
  return true;
}

/** A machine without nft has nothing of it either. */
function nftablesOf(family: IPFamily): Promise<NftablesPort | undefined> {
  return openNftables({ family }).catch(() => undefined);
}
