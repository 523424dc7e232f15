import { openIptables } from '../host/iptables/real.ts';
import { messageOf } from '../kit/errors.ts';
import type { IPFamily } from '../model/service.ts';
import { UtilChains } from '../services/act/util-chains.ts';
import type { Foundation } from './foundation.ts';

const FAMILIES: readonly IPFamily[] = ['IPv4', 'IPv6'];

/** Resolves when kubelet's chains in iptables are there, or cannot be: nothing of deckhand's own needs them. */
export async function keepUtilChains({ config, clock, log, closers }: Foundation): Promise<void> {
  if (!config.makeIPTablesUtilChains) return;
  await Promise.all(
    FAMILIES.map(async (family) => {
      try {
        const iptables = await openIptables({ family });
        if (iptables === undefined) return;
        const chains = new UtilChains({ iptables, clock, log });
        closers.add(`${family} chains of iptables`, () => chains.close());
        await chains.start();
      } catch (error) {
        // A machine of nftables alone has nobody either who would look for them.
        log.info({ family, error: messageOf(error) }, 'there is no iptables here: KUBE-IPTABLES-HINT is not made');
      }
    }),
  );
}
