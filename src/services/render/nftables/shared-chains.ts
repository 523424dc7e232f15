import type { IPFamily } from '../../../model/service.ts';
import type { BaseRules } from '../../port.ts';
import { endpointsMap } from './containers.ts';
import type { Chain } from './render-base.ts';
import { endpointRule, localSource, markRule, wordsOf } from './words.ts';

/**
 * Sends a packet to one of `count` endpoints, each as likely as the others. `by`: how the frontend is found, by
 * address (`vip`) or as a node port (`np`). `own`: the endpoints of policy Local for traffic from outside. The last
 * chain is the one to go to; the others are what it leads to.
 */
export function balanceChains(by: 'vip' | 'np', count: number, own: boolean, family: IPFamily): readonly Chain[] {
  const { ip } = wordsOf(family);
  const key = by === 'vip' ? `${ip} daddr . meta l4proto . th dport` : 'meta l4proto . th dport';
  const prefix = `${by}${own ? '-local' : ''}`;
  const places = Array.from(
    { length: count },
    (_, index): Chain => ({
      name: `${prefix}-place/${index}`,
      rules: [endpointRule(`${ip} to ${key} map @${endpointsMap(by, own, index)}`)],
    }),
  );
  const each = places.map(({ name }, index) => `${index} : goto ${name}`);
  const choose = count === 1 ? `goto ${prefix}-place/0` : `numgen random mod ${count} vmap { ${each.join(', ')} }`;
  return [...places, { name: `${prefix}/${count}`, rules: [choose] }];
}

/** Traffic from outside under policy Cluster: the answer has to come back by way of this node. */
export function externalChain(cluster: Chain, base: BaseRules): Chain {
  return { name: `external/${cluster.name}`, rules: [markRule(base), `goto ${cluster.name}`] };
}

/**
 * Traffic to a frontend under policy Local: from outside to endpoints here alone, with its source address kept; from
 * this cluster's pods and from the node itself to any.
 */
export function localExternalChain(cluster: Chain | undefined, local: Chain | undefined, base: BaseRules): Chain {
  const rules: string[] = [];
  if (cluster !== undefined) {
    const own = localSource(base.localDetector, base, false);
    if (own !== '') rules.push(`${own} goto ${cluster.name}`);
    // The node would otherwise use the frontend's address as its own.
    rules.push(`fib saddr type 2 ${markRule(base)}`, `fib saddr type 2 goto ${cluster.name}`);
  }
  if (local !== undefined) rules.push(`goto ${local.name}`);
  return { name: `local/${cluster?.name ?? 'none'}/${local?.name ?? 'none'}`, rules };
}
