import type { ConntrackPort, UdpFlow, UdpFlowFilter } from '../../host/conntrack/port.ts';
import type { IPFamily } from '../../model/service.ts';
import { type ServicePortRules, targetText } from '../model.ts';

/** What a UDP Service port's flows may look like. */
interface UdpPort {
  /** Cluster, external and balancer addresses with their ports; a node port is there by its port alone. */
  readonly frontends: readonly { readonly address: string | undefined; readonly port: number }[];
  readonly serving: ReadonlySet<string>;
}

/**
 * UDP has no end of connection: a client that goes on sending keeps its flow, and with it the translation to an
 * endpoint that is gone, or none at all if it began before there was an endpoint. Such flows are forgotten, so that
 * the next packet is balanced anew. Facts from upstream pkg/proxy/conntrack/cleanup.go. One per address family.
 */
export class UdpFlowCleaner {
  private readonly family: IPFamily;
  private readonly conntrack: ConntrackPort;
  private readonly known = new Map<string, readonly UdpPort[]>();
  private pending: UdpFlowFilter[] = [];
  private wantsSweep = true;

  constructor(family: IPFamily, conntrack: ConntrackPort) {
    this.family = family;
    this.conntrack = conntrack;
  }

  /** Notes what a Service leads to from the coming sync on. */
  note(service: string, rules: readonly ServicePortRules[]): void {
    const before = this.known.get(service) ?? [];
    const after = rules.filter((one) => one.protocol === 'UDP').map(portOf);
    if (after.length === 0) this.known.delete(service);
    else this.known.set(service, after);
    if (this.wantsSweep) return;
    for (const old of before) {
      for (const frontend of old.frontends) {
        const now = after.find((port) => port.frontends.some((one) => same(one, frontend)));
        // Without any endpoint packets are refused by the rules, flow or no flow; upstream leaves those alone too.
        if (now === undefined || now.serving.size === 0) continue;
        if (old.serving.size === 0) this.pending.push(untranslated(this.family, frontend));
        for (const gone of old.serving) {
          if (!now.serving.has(gone)) this.pending.push(translatedTo(this.family, frontend, gone));
        }
      }
    }
    for (const port of after) {
      for (const frontend of port.frontends) {
        const isNew = !before.some((old) => old.frontends.some((one) => same(one, frontend)));
        if (isNew && port.serving.size > 0) this.pending.push(untranslated(this.family, frontend));
      }
    }
  }

  /**
   * Forgets the stale flows, after the rules have been written: flows that begin before would be stale again. The
   * first time, and after a failure, all flows are looked through, for what changed while nobody watched. The answer
   * is how many were forgotten.
   */
  async clean(): Promise<number> {
    if (this.wantsSweep) {
      if (this.known.size === 0) {
        this.wantsSweep = false;
        return 0;
      }
      const stale = this.staleAmong(await this.conntrack.listUdp(this.family));
      const deleted = await this.conntrack.deleteUdp(stale);
      this.wantsSweep = false;
      this.pending = [];
      return deleted;
    }
    if (this.pending.length === 0) return 0;
    const filters = this.pending;
    this.pending = [];
    try {
      return await this.conntrack.deleteUdp(filters);
    } catch (error) {
      this.wantsSweep = true;
      throw error;
    }
  }

  private staleAmong(flows: readonly UdpFlow[]): UdpFlowFilter[] {
    const serving = new Map<string, ReadonlySet<string>>();
    for (const ports of this.known.values()) {
      for (const port of ports) {
        for (const { address, port: number } of port.frontends)
          serving.set(`${address ?? '*'} ${number}`, port.serving);
      }
    }
    return flows.flatMap((flow) => {
      const answer = targetText({ address: flow.replySource, port: flow.replySourcePort });
      const exact = serving.get(`${flow.destination} ${flow.destinationPort}`);
      // Only translated flows are known to have come by a node port: the port alone could be anybody's.
      const isTranslated = flow.replySource !== flow.destination;
      const endpoints = exact ?? (isTranslated ? serving.get(`* ${flow.destinationPort}`) : undefined);
      if (endpoints === undefined || endpoints.size === 0 || endpoints.has(answer)) return [];
      return [
        {
          family: this.family,
          destination: flow.destination,
          destinationPort: flow.destinationPort,
          replySource: flow.replySource,
          replySourcePort: flow.replySourcePort,
        },
      ];
    });
  }
}

function portOf(rules: ServicePortRules): UdpPort {
  return {
    frontends: rules.frontends.map((frontend) => ({
      address: frontend.kind === 'nodePort' ? undefined : frontend.address,
      port: frontend.port,
    })),
    serving: new Set(rules.serving),
  };
}

type UdpFrontend = UdpPort['frontends'][number];

function same(a: UdpFrontend, b: UdpFrontend): boolean {
  return a.address === b.address && a.port === b.port;
}

/** Flows to the frontend that no rule translated, for lack of endpoints at their time. */
function untranslated(family: IPFamily, frontend: UdpFrontend): UdpFlowFilter {
  const { address, port } = frontend;
  return address === undefined
    ? { family, destinationPort: port, replySourcePort: port }
    : { family, destination: address, destinationPort: port, replySource: address };
}

function translatedTo(family: IPFamily, frontend: UdpFrontend, target: string): UdpFlowFilter {
  const colon = target.lastIndexOf(':');
  return {
    family,
    ...(frontend.address === undefined ? {} : { destination: frontend.address }),
    destinationPort: frontend.port,
    replySource: target.slice(0, colon).replace(/[[\]]/g, ''),
    replySourcePort: Number(target.slice(colon + 1)),
  };
}
