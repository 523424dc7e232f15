import type { Protocol } from '../../../model/pod.ts';
import { hasEndpoints, type ServicePortRules, type Target, targetText } from '../../model.ts';
import type { BaseRules } from '../../port.ts';
import { host, ruleText } from '../iptables/rule-text.ts';
import { networkText, type ServiceSet, setName } from './sets.ts';

export interface IpvsSettings {
  /** KubeProxyConfiguration.ipvs.scheduler; kube-proxy's default is rr. */
  readonly scheduler: string;
}

/** A virtual server in ipvsadm's words: `id` is such as "-t 10.0.0.1:80", `options` such as "-s rr -p 10800". */
export interface VirtualServer {
  readonly id: string;
  readonly options: string;
  /** "address:port" of its real servers, sorted. */
  readonly reals: readonly string[];
}

/** All that one Service port has in the kernel. */
export interface RenderedIpvs {
  readonly servers: readonly VirtualServer[];
  /** For the device. */
  readonly addresses: readonly string[];
  /** "SET MEMBER" */
  readonly members: readonly string[];
  /** For the chain KUBE-IPVS-OUT-FILTER. */
  readonly outFilter: readonly string[];
}

const serviceOptions: Readonly<Record<Protocol, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' };
const numbers: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/**
 * One Service port: a virtual server for each address that it answers on. IPVS has one list of endpoints for an address,
 * whoever asks: under policy Local it is this node's for pods and the node too, where other backends let those go
 * anywhere (so does kube-proxy). Without an endpoint here it is all of them, and who comes from outside is dropped. Pure.
 */
export function renderIpvsPort(rules: ServicePortRules, base: BaseRules, settings: IpvsSettings): RenderedIpvs {
  const { family } = base;
  const protocol = rules.protocol.toLowerCase();
  const servers: VirtualServer[] = [];
  const addresses = new Set<string>();
  const members = new Set<string>();
  const outFilter: string[] = [];
  const nodeAddresses = new Set(base.nodeAddresses ?? []);
  const put = (set: ServiceSet, member: string): void => void members.add(`${setName(set, family)} ${member}`);
  const bind = (address: string): void => {
    // What the node has elsewhere must not be given to the device as well, and taken from it again later.
    if (nodeAddresses.has(address)) return;
    addresses.add(address);
    put('IPVS-IPS', address);
  };
  const options = optionsOf(rules, settings);
  const serve = (address: string, port: number, targets: readonly Target[]): void => {
    const id = `${serviceOptions[rules.protocol]} ${targetText({ address, port })}`;
    servers.push({ id, options, reals: targets.map(targetText).sort() });
  };

  const isKept = rules.externalPolicy === 'Local';
  const outside = rules.external === 'forward' && isKept ? rules.local : rules.cluster;
  const serveOutside = (address: string, port: number): void => {
    if (rules.external === 'drop') put('NO-LOCAL-OUTSIDE', `${address},${protocol}:${port}`);
    serve(address, port, outside);
  };

  for (const target of rules.reachable) {
    if (target.local) put('LOOP-BACK', `${target.address},${protocol}:${target.port},${target.address}`);
  }
  for (const frontend of rules.frontends) {
    switch (frontend.kind) {
      case 'clusterIP': {
        const { address, port } = frontend;
        const member = `${address},${protocol}:${port}`;
        bind(address);
        put('CLUSTER-IP', member);
        // New connections are dropped before IPVS sees them. The node's own are refused: those do not come by a filter.
        if (rules.internal === 'drop') put('NO-LOCAL', member);
        serve(address, port, rules.internalPolicy === 'Local' ? rules.local : rules.cluster);
        break;
      }
      case 'externalIP': {
        const { address, port } = frontend;
        bind(address);
        serveOutside(address, port);
        put(isKept ? 'EXTERNAL-IP-LOCAL' : 'EXTERNAL-IP', `${address},${protocol}:${port}`);
        break;
      }
      case 'loadBalancerIP':
        bind(frontend.address);
        serveOutside(frontend.address, frontend.port);
        balance(frontend.address, frontend.port);
        break;
      case 'nodePort': {
        for (const address of nodePortAddresses(base)) {
          serveOutside(address, frontend.port);
          if (rules.protocol !== 'SCTP') continue;
          put('NODE-PORT-SCTP-HASH', `${address},sctp:${frontend.port}`);
          if (isKept) put('NODE-PORT-LOCAL-SCTP-HASH', `${address},sctp:${frontend.port}`);
        }
        if (rules.protocol === 'SCTP') break;
        put(`NODE-PORT-${rules.protocol}`, String(frontend.port));
        if (isKept) put(`NODE-PORT-LOCAL-${rules.protocol}`, String(frontend.port));
        break;
      }
    }
  }
  if (rules.healthCheckNodePort !== 0) put('HEALTH-CHECK-NODE-PORT', String(rules.healthCheckNodePort));
  return { servers, addresses: [...addresses], members: [...members], outFilter };

  function balance(address: string, port: number): void {
    const member = `${address},${protocol}:${port}`;
    put('LOAD-BALANCER', member);
    if (isKept) put('LOAD-BALANCER-LOCAL', member);
    if (rules.sourceRanges.length === 0 || !hasEndpoints(rules)) return;
    put('LOAD-BALANCER-FW', member);
    for (const range of rules.sourceRanges) put('LOAD-BALANCER-SOURCE-CIDR', `${member},${networkText(range)}`);
    if (rules.sourceRangesHaveNode) {
      // A node that has the balancer's address on an interface talks to it with that address as its source.
      put('LOAD-BALANCER-SOURCE-IP', `${member},${address}`);
      return;
    }
    // What the node itself sends comes by IPVS before the filter, which then sees where IPVS has sent it.
    const matches = [
      'addrtype --src-type LOCAL',
      `ipvs --vproto ${numbers[rules.protocol]} --vaddr ${host(address)} --vport ${port}`,
    ];
    outFilter.push(ruleText({ matches, target: 'DROP' }));
  }
}

function optionsOf({ affinitySeconds }: ServicePortRules, { scheduler }: IpvsSettings): string {
  const sticky = affinitySeconds > 0 ? ` -p ${affinitySeconds}` : '';
  // Or all connections of one client would go to one endpoint (kube-proxy's FlagSourceHash).
  const flags = scheduler === 'mh' ? ' -b mh-port' : '';
  return `-s ${scheduler}${sticky}${flags}`;
}

function nodePortAddresses(base: BaseRules): readonly string[] {
  const chosen = base.nodePorts.kind === 'local' ? (base.nodeAddresses ?? []) : base.nodePorts.addresses;
  // IPVS does not take what is sent from a loopback address.
  return chosen.filter((address) => !address.startsWith('127.') && address !== '::1');
}
