import type { NetPort } from '../../host/net/port.ts';
import type { Protocol } from '../../model/pod.ts';
import type { IPFamily } from '../../model/service.ts';
import type { ServiceLoop } from '../loop.ts';
import type { ServicePortRules } from '../model.ts';
import { serviceRules } from '../policy/service-rules.ts';
import type { BaseRules, ProxyBackend } from '../port.ts';
import { renderIpvsPort } from '../render/ipvs/render-service.ts';
import { frontendKey } from '../render/nftables/render-service.ts';
import { type Explanation, explainService } from './explain-service.ts';
import type { Packet } from './trace-packet.ts';

export interface Explained extends Explanation {
  /** Lines about this Service that would have to be written for the kernel to hold its rules; none: it does. */
  readonly unwritten: readonly string[];
  /** Why the kernel refuses the Service's rules, where it does. */
  readonly setAside?: string;
}

export interface Question {
  readonly from?: string;
  readonly to?: { readonly address: string; readonly port: number; readonly protocol: Protocol };
}

export interface ServiceInspectorDeps {
  readonly loop: Pick<ServiceLoop, 'wanted' | 'inputOf' | 'status'>;
  readonly backends: readonly ProxyBackend[];
  readonly net: Pick<NetPort, 'localAddresses'>;
}

/** A line of many elements says no more in whole. */
const LINE_LENGTH = 500;

/** Answers people's questions about Service rules: from the model, checked against the kernel. Writes nothing. */
export class ServiceInspector {
  private readonly deps: ServiceInspectorDeps;

  constructor(deps: ServiceInspectorDeps) {
    this.deps = deps;
  }

  /** What each family's backend would write now if it began anew, transaction by transaction. */
  async plan(): Promise<readonly { readonly family: IPFamily; readonly texts: readonly string[] }[]> {
    const plans: { family: IPFamily; texts: readonly string[] }[] = [];
    for (const backend of this.deps.backends) {
      const { family } = backend;
      plans.push({ family, texts: await backend.plan(this.deps.loop.wanted(family)) });
    }
    return plans;
  }

  /**
   * What one Service ("namespace/name") leads to, in each family of this node; empty when there is no such Service. With
   * a client or a destination also what happens to the packets: from the node where no client is given, to all of the
   * Service's frontends where no destination is.
   */
  async explain(service: string, question: Question): Promise<readonly Explained[]> {
    const explained: Explained[] = [];
    for (const backend of this.deps.backends) {
      const one = await this.explainIn(backend, service, question);
      if (one !== undefined) explained.push(one);
    }
    return explained;
  }

  private async explainIn(backend: ProxyBackend, service: string, question: Question): Promise<Explained | undefined> {
    const { loop, net } = this.deps;
    const { family } = backend;
    const input = loop.inputOf(service, family);
    if (input === undefined) return undefined;
    const change = loop.wanted(family);
    const localAddresses = net.localAddresses(backend.ownDevice);
    const own = serviceRules(input).rules;
    const explanation = explainService({
      input,
      base: change.base,
      localAddresses,
      backend: backend.name === 'nftables' || backend.name === 'ipvs' ? backend.name : 'iptables',
      packets: packetsOf(question, own, family, localAddresses, input.facts.nodeIPs[family]),
      rules: {
        *[Symbol.iterator]() {
          for (const [, rules] of change.services) yield* rules;
        },
      },
    });
    const status = loop.status().families.find((one) => one.family === family);
    const setAside = status?.setAside.find((entry) => entry.service === service)?.reason;
    const unwritten = linesAbout(await backend.plan(change), service, own, change.base);
    return { ...explanation, unwritten, ...(setAside === undefined ? {} : { setAside }) };
  }
}

function packetsOf(
  { from, to }: Question,
  rules: readonly ServicePortRules[],
  family: IPFamily,
  localAddresses: readonly string[],
  nodeIP: string | undefined,
): readonly Packet[] {
  if (from === undefined && to === undefined) return [];
  const source = from ?? nodeIP;
  const isOf = (address: string): boolean => address.includes(':') === (family === 'IPv6');
  if (source === undefined || !isOf(source)) return [];
  const places =
    to === undefined
      ? rules.flatMap(({ frontends, protocol }) =>
          frontends.flatMap((one) => {
            const address = one.kind === 'nodePort' ? nodeIP : one.address;
            return address === undefined ? [] : [{ address, port: one.port, protocol }];
          }),
        )
      : [to].filter(({ address }) => isOf(address));
  // Of others it is not known where their packets come in.
  const where = localAddresses.includes(source) ? {} : { inInterface: '' };
  return places.map(({ address, port, protocol }) => ({ source, destination: address, port, protocol, ...where }));
}

/** Lines that are about a Service, by its frontends (nftables, ipvs) or its name in a comment (iptables). */
function linesAbout(
  texts: readonly string[],
  service: string,
  rules: readonly ServicePortRules[],
  base: BaseRules,
): readonly string[] {
  const virtual = rules.flatMap((port) => {
    const { servers, addresses, members } = renderIpvsPort(port, base, { scheduler: '' });
    const ends = [...servers.map(({ id }) => ` ${id}`), ...members.map((member) => ` ${member}`)];
    return [...ends, ...addresses.map((address) => `address add ${address}`)];
  });
  const isVirtual = (line: string): boolean => virtual.some((sign) => line.endsWith(sign) || line.includes(`${sign} `));
  const signs = rules.flatMap(({ frontends, protocol }) => frontends.map((one) => frontendKey(one, { protocol })));
  const isAbout = (line: string): boolean =>
    signs.some((sign) => line.includes(`{ ${sign} `) || line.includes(`, ${sign} `)) ||
    isVirtual(line) ||
    line.includes(`"${service} `) ||
    line.includes(`"${service}:`);
  return texts.flatMap((text) => text.split('\n').filter(isAbout)).map((line) => line.slice(0, LINE_LENGTH));
}
