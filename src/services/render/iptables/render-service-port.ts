import { hasEndpoints, isExternallyAccessible, type ServicePortRules, type Target, targetText } from '../../model.ts';
import type { BaseRules } from '../../port.ts';
import { chainName, type Sha256 } from './chain-name.ts';
import {
  endpointPrefix,
  externalPrefix,
  externalServicesChain,
  firewallPrefix,
  localPrefix,
  markMasqChain,
  nodePortsChain,
  proxyFirewallChain,
  servicePrefix,
  servicesChain,
  type Table,
} from './chains.ts';
import { comment, host, localMatch, randomShare, recent, ruleText } from './rule-text.ts';

/** A chain of one Service in the nat table and all that it holds, in order. */
export interface RenderedChain {
  readonly name: string;
  readonly rules: readonly string[];
}

/** One rule in a chain that all Services share; rules of a chain are ordered by `key`. */
export interface DispatchRule {
  readonly table: Table;
  readonly chain: string;
  readonly key: string;
  readonly rule: string;
}

export interface RenderedServicePort {
  readonly chains: readonly RenderedChain[];
  readonly dispatch: readonly DispatchRule[];
}

/** The rules of one Service port in kube-proxy's layout. Pure. */
export function renderServicePort(rules: ServicePortRules, base: BaseRules, sha256: Sha256): RenderedServicePort {
  const chains: RenderedChain[] = [];
  const dispatch: DispatchRule[] = [];
  const { name, family, affinitySeconds } = rules;
  const protocol = rules.protocol.toLowerCase();
  const identity = name + protocol;
  const clusterChain = chainName(servicePrefix, identity, sha256);
  const localChain = chainName(localPrefix, identity, sha256);
  const externalChain = chainName(externalPrefix, identity, sha256);
  const firewallChain = chainName(firewallPrefix, identity, sha256);
  const endpointChain = (target: Target): string => chainName(endpointPrefix, identity + targetText(target), sha256);
  const reachable = hasEndpoints(rules);
  const detected = localMatch(base.localDetector, family);

  let sequence = 0;
  const share = (table: Table, chain: string, rule: string): void => {
    const key = `${name}/${protocol}/${String(sequence++).padStart(3, '0')}`;
    dispatch.push({ table, chain, key, rule });
  };
  const toVip = (address: string, port: number, text: string, target: string): string =>
    ruleText({
      destination: host(address),
      protocol,
      matches: [comment(text), `${protocol} --dport ${port}`],
      target,
    });
  const refusal = (decision: 'reject' | 'drop'): { readonly text: string; readonly target: string } =>
    decision === 'reject'
      ? {
          text: `${name} has no endpoints`,
          target: `REJECT --reject-with ${family === 'IPv4' ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`,
        }
      : { text: `${name} has no local endpoints`, target: 'DROP' };

  const internalChain = rules.internalPolicy === 'Local' ? localChain : clusterChain;
  const hasFirewall = reachable && rules.sourceRanges.length > 0 && hasLoadBalancer(rules);
  for (const frontend of rules.frontends) {
    switch (frontend.kind) {
      case 'clusterIP':
        if (rules.internal === 'forward') {
          share('nat', servicesChain, toVip(frontend.address, frontend.port, `${name} cluster IP`, internalChain));
        } else {
          const { text, target } = refusal(rules.internal);
          share('filter', servicesChain, toVip(frontend.address, frontend.port, text, target));
        }
        break;
      case 'externalIP':
      case 'loadBalancerIP': {
        const { address, port } = frontend;
        const isBalancer = frontend.kind === 'loadBalancerIP';
        if (reachable) {
          const text = `${name} ${isBalancer ? 'loadbalancer' : 'external'} IP`;
          const next = isBalancer && hasFirewall ? firewallChain : externalChain;
          share('nat', servicesChain, toVip(address, port, text, next));
        }
        if (isBalancer && hasFirewall) {
          const text = `${name} traffic not accepted by ${firewallChain}`;
          share('filter', proxyFirewallChain, toVip(address, port, text, 'DROP'));
        }
        if (rules.external !== 'forward') {
          const { text, target } = refusal(rules.external);
          share('filter', externalServicesChain, toVip(address, port, text, target));
        }
        break;
      }
      case 'nodePort': {
        const port = `${protocol} --dport ${frontend.port}`;
        if (reachable) {
          share('nat', nodePortsChain, ruleText({ protocol, matches: [comment(name), port], target: externalChain }));
        }
        if (rules.external !== 'forward') {
          const { text, target } = refusal(rules.external);
          const matches = [comment(text), 'addrtype --dst-type LOCAL', port];
          share('filter', externalServicesChain, ruleText({ protocol, matches, target }));
        }
        break;
      }
    }
  }
  if (rules.healthCheckNodePort !== 0) {
    const matches = [comment(`${name} health check node port`), `tcp --dport ${rules.healthCheckNodePort}`];
    share('filter', nodePortsChain, ruleText({ protocol: 'tcp', matches, target: 'ACCEPT' }));
  }
  if (!reachable) return { chains, dispatch };

  // Rules that mark traffic to the cluster IP stand at the head of the chain that it goes to.
  const masqueradeHead = rules.frontends.flatMap((frontend) => {
    if (frontend.kind !== 'clusterIP' || rules.internal !== 'forward') return [];
    if (!base.masqueradeAll && detected === undefined) return [];
    const parts = base.masqueradeAll ? {} : detected?.isNotLocal;
    const matches = [comment(`${name} cluster IP`), `${protocol} --dport ${frontend.port}`];
    return [ruleText({ ...parts, destination: host(frontend.address), protocol, matches, target: markMasqChain })];
  });
  const balance = (targets: readonly Target[]): string[] => {
    const lines: string[] = [];
    if (affinitySeconds > 0) {
      for (const target of targets) {
        const list = endpointChain(target);
        const action = `--rcheck --seconds ${affinitySeconds} --reap`;
        const matches = [comment(`${name} -> ${targetText(target)}`), recent(family, action, list)];
        lines.push(ruleText({ matches, target: list }));
      }
    }
    for (const [index, target] of targets.entries()) {
      // Each rule takes its share of what the rules before it have left; the last one takes all.
      const left = targets.length - index;
      const matches = [comment(`${name} -> ${targetText(target)}`), left > 1 ? randomShare(left) : undefined];
      lines.push(ruleText({ matches, target: endpointChain(target) }));
    }
    return lines;
  };

  // Endpoints first: restore loads a jump only to a chain that is declared before it, and people read top down.
  for (const target of rules.reachable) {
    const chain = endpointChain(target);
    const remember = affinitySeconds > 0 ? recent(family, '--set', chain) : undefined;
    chains.push({
      name: chain,
      rules: [
        ruleText({ source: host(target.address), matches: [comment(name)], target: markMasqChain }),
        ruleText({
          protocol,
          matches: [comment(name), remember, protocol],
          target: `DNAT --to-destination ${targetText(target)}`,
        }),
      ],
    });
  }
  if (rules.cluster.length > 0) {
    const head = internalChain === clusterChain ? masqueradeHead : [];
    chains.push({ name: clusterChain, rules: [...head, ...balance(rules.cluster)] });
  }
  if (rules.local.length > 0) {
    const head = internalChain === localChain ? masqueradeHead : [];
    chains.push({ name: localChain, rules: [...head, ...balance(rules.local)] });
  }
  if (isExternallyAccessible(rules)) {
    chains.push({ name: externalChain, rules: externalRules() });
  }
  if (hasFirewall) {
    chains.push({ name: firewallChain, rules: firewallRules() });
  }
  return { chains, dispatch };

  function externalRules(): string[] {
    const lines: string[] = [];
    if (rules.externalPolicy === 'Cluster') {
      // The endpoint may be on another node and must answer by way of this one.
      const matches = [comment(`masquerade traffic for ${name} external destinations`)];
      lines.push(ruleText({ matches, target: markMasqChain }));
    } else if (rules.cluster.length > 0) {
      if (detected !== undefined) {
        const matches = [comment(`pod traffic for ${name} external destinations`)];
        lines.push(ruleText({ ...detected.isLocal, matches, target: clusterChain }));
      }
      const fromNode = 'addrtype --src-type LOCAL';
      const masquerade = comment(`masquerade LOCAL traffic for ${name} external destinations`);
      const route = comment(`route LOCAL traffic for ${name} external destinations`);
      lines.push(ruleText({ matches: [masquerade, fromNode], target: markMasqChain }));
      lines.push(ruleText({ matches: [route, fromNode], target: clusterChain }));
    }
    if (rules.external === 'forward') {
      lines.push(ruleText({ target: rules.externalPolicy === 'Local' ? localChain : clusterChain }));
    }
    return lines;
  }

  function firewallRules(): string[] {
    const matches = [comment(`${name} loadbalancer IP`)];
    const lines = rules.sourceRanges.map((source) => ruleText({ source, matches, target: externalChain }));
    if (rules.sourceRangesHaveNode) {
      // A node that has the balancer's address on an interface talks to it with that address as its source.
      for (const frontend of rules.frontends) {
        if (frontend.kind !== 'loadBalancerIP') continue;
        lines.push(ruleText({ source: host(frontend.address), matches, target: externalChain }));
      }
    }
    lines.push(ruleText({ matches: [comment(`other traffic to ${name} will be dropped by ${proxyFirewallChain}`)] }));
    return lines;
  }
}

function hasLoadBalancer(rules: ServicePortRules): boolean {
  return rules.frontends.some((frontend) => frontend.kind === 'loadBalancerIP');
}
