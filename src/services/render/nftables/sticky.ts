import type { ServicePortRules, Target } from '../../model.ts';
import { targetText } from '../../model.ts';
import type { Chain } from './render-base.ts';
import { endpointRule, type Hash, shortHash, wordsOf } from './words.ts';

export interface StickyRules {
  /** Endpoints' chains first, then those that choose one. */
  readonly chains: readonly Chain[];
  /** One set of clients per endpoint. It outlives changes, and goes with its endpoint. */
  readonly sets: readonly string[];
  readonly lists: Readonly<Record<'cluster' | 'local', Chain | undefined>>;
}

export const affinityPrefix = 'affinity/';

/**
 * Session affinity needs rules of its own: each endpoint has a set of the clients that it served lately and a chain
 * that notes them; a new client gets any endpoint. Sets rather than one big map of clients, because a set goes with its
 * endpoint, and because nft 1.0.6 cannot update a map whose values are IPv6 addresses with ports.
 */
export function renderSticky(
  port: ServicePortRules,
  lists: Readonly<Record<'cluster' | 'local', readonly Target[]>>,
  hash: Hash,
): StickyRules {
  const { ip } = wordsOf(port.family);
  const identity = `${port.name}/${port.protocol}`;
  const setOf = (target: Target): string => `${affinityPrefix}${shortHash(hash, `${identity}/${targetText(target)}`)}`;
  const endpointOf = (target: Target): Chain => {
    const rules = [
      `update @${setOf(target)} { ${ip} saddr timeout ${port.affinitySeconds}s }`,
      endpointRule(`to ${targetText(target)}`),
    ];
    return { name: `endpoint/${shortHash(hash, rules.join('\n'))}`, rules };
  };
  const targets = new Map<string, Target>();
  for (const target of [...lists.cluster, ...lists.local]) targets.set(targetText(target), target);
  const choose = (name: 'cluster' | 'local'): Chain | undefined => {
    const list = lists[name];
    if (list.length === 0) return undefined;
    const known = list.map((target) => `${ip} saddr @${setOf(target)} goto ${endpointOf(target).name}`);
    const each = list.map((target, index) => `${index} : goto ${endpointOf(target).name}`);
    const rules = [...known, `numgen random mod ${list.length} vmap { ${each.join(', ')} }`];
    return { name: `sticky/${shortHash(hash, rules.join('\n'))}`, rules };
  };
  const chosen = { cluster: choose('cluster'), local: choose('local') };
  const chains = [
    ...[...targets.values()].map(endpointOf),
    ...[chosen.cluster, chosen.local].filter((chain) => chain !== undefined),
  ];
  return { chains, sets: [...targets.values()].map(setOf), lists: chosen };
}
