import type { IptablesPort } from '../../host/iptables/port.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { kubeletFirewallChain } from '../render/iptables/chains.ts';
import {
  areOurs,
  hintChain,
  kubeletCanaryChain,
  planRemoval,
  planUtilChains,
  type UtilChainsSeen,
} from '../render/iptables/util-chains.ts';

export interface UtilChainsDeps {
  readonly iptables: Pick<IptablesPort, 'family' | 'restore' | 'list'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly log: Logger;
}

/** As often as kubelet looks for its canaries. */
const CHECK_MS = 60_000;

/**
 * The chains that kubelet keeps in iptables for others (makeIPTablesUtilChains), whichever way the rules of Services take.
 * What goes is back within a minute.
 */
export class UtilChains {
  private readonly deps: UtilChainsDeps;
  private timer: Timer | undefined;
  private closed = false;
  private running: Promise<void> = Promise.resolve();

  constructor(deps: UtilChainsDeps) {
    this.deps = deps;
  }

  /** Resolves when they are there or could not be made, which is logged. */
  start(): Promise<void> {
    this.running = this.bringInOrder();
    return this.running;
  }

  /** They stay. */
  async close(): Promise<void> {
    this.closed = true;
    this.timer?.cancel();
    await this.running;
  }

  private async bringInOrder(): Promise<void> {
    const { iptables, clock, log } = this.deps;
    const { family } = iptables;
    try {
      const text = planUtilChains(family, await look(iptables));
      if (text !== '') {
        await iptables.restore(text);
        log.info({ family }, `made the chains ${hintChain} and ${kubeletCanaryChain}`);
      }
    } catch (error) {
      log.warn({ family, error: messageOf(error) }, `cannot keep the chain ${hintChain} and those beside it`);
    }
    if (this.closed) return;
    this.timer = clock.after(CHECK_MS, () => {
      this.running = this.bringInOrder();
    });
  }
}

/** Takes away what deckhand made; false: there was nothing of it. Where kubelet has made them, they stay. */
export async function removeUtilChains(iptables: UtilChainsDeps['iptables']): Promise<boolean> {
  const seen = await look(iptables);
  if (!areOurs(seen)) return false;
  await iptables.restore(planRemoval(seen));
  return true;
}

async function look(iptables: UtilChainsDeps['iptables']): Promise<UtilChainsSeen> {
  const filter = (chain: string) => (iptables.family === 'IPv4' ? iptables.list('filter', chain) : undefined);
  const [hint, mangle, nat, canary, firewall, input, output] = await Promise.all([
    iptables.list('mangle', hintChain),
    iptables.list('mangle', kubeletCanaryChain),
    iptables.list('nat', kubeletCanaryChain),
    iptables.list('filter', kubeletCanaryChain),
    filter(kubeletFirewallChain),
    filter('INPUT'),
    filter('OUTPUT'),
  ]);
  return { hint, canaries: { mangle, nat, filter: canary }, firewall, input, output };
}
