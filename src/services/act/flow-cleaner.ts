import type { ConntrackPort, Flow, FlowFilter, FlowProtocol } from '../../host/conntrack/port.ts';
import type { IPFamily } from '../../model/service.ts';
import { type ServicePortRules, targetText } from '../model.ts';

/** What a Service port's flows may look like. */
interface FlowPort {
  readonly protocol: FlowProtocol;
  /** Cluster, external and balancer addresses with their ports; a node port is there by its port alone. */
  readonly frontends: readonly { readonly address: string | undefined; readonly port: number }[];
  readonly serving: ReadonlySet<string>;
}

export interface FlowCleanerOptions {
  /** TCP connections to an endpoint that is gone are broken off, too. Default false, as with kube-proxy. */
  readonly resetTcp?: boolean;
}

/**
 * UDP has no end of connection: a client that goes on sending keeps its flow, and with it the translation to an
 * endpoint that is gone, or none at all if it began before there was an endpoint. Such flows are forgotten, so that
 * the next packet is balanced anew. Facts from upstream pkg/proxy/conntrack/cleanup.go. One per address family.
 *
 * TCP notices by itself, but a client that only listens, or sends nothing for a while, may take hours. Where that is
 * wanted, its flow is forgotten, too: its next packet is balanced anew, to an endpoint that knows no such connection and
 * says so, or is refused. An endpoint that is only not ready keeps its connections.
 */
export class FlowCleaner {
  private readonly family: IPFamily;
  private readonly conntrack: ConntrackPort;
  private readonly known = new Map<string, readonly FlowPort[]>();
  private pending: FlowFilter[] = [];
  private wantsSweep = true;
  private readonly resetTcp: boolean;

  constructor(family: IPFamily, conntrack: ConntrackPort, options: FlowCleanerOptions = {}) {
    this.family = family;
    this.conntrack = conntrack;
    this.resetTcp = options.resetTcp ?? false;
  }

  /** Notes what a Service leads to from the coming sync on. */
  note(service: string, rules: readonly ServicePortRules[]): void {
    const before = this.known.get(service) ?? [];
    const after = rules.flatMap((one) => (this.concerns(one.protocol) ? portOf(one, one.protocol) : []));
    if (after.length === 0) this.known.delete(service);
    else this.known.set(service, after);
    if (this.wantsSweep) return;
    for (const old of before) {
      const { protocol } = old;
      for (const frontend of old.frontends) {
        const now = after.find(
          (port) => port.protocol === protocol && port.frontends.some((one) => same(one, frontend)),
        );
        // Without any endpoint datagrams are refused by the rules, flow or no flow; upstream leaves those alone too.
        if (now === undefined || (protocol === 'UDP' && now.serving.size === 0)) continue;
        if (protocol === 'UDP' && old.serving.size === 0) this.pending.push(this.untranslated(frontend));
        for (const gone of old.serving) {
          if (!now.serving.has(gone)) this.pending.push(this.translatedTo(frontend, gone, protocol));
        }
      }
    }
    for (const port of after) {
      if (port.protocol !== 'UDP') continue;
      for (const frontend of port.frontends) {
        const isNew = !before.some((old) => old.protocol === 'UDP' && old.frontends.some((one) => same(one, frontend)));
        if (isNew && port.serving.size > 0) this.pending.push(this.untranslated(frontend));
      }
    }
  }

  /**
   * Forgets the stale flows, after the rules have been written: flows that begin before would be stale again. The
   * first time, and after a failure, all UDP flows are looked through, for what changed while nobody watched. The answer
   * is how many were forgotten.
   */
  async clean(): Promise<number> {
    if (this.wantsSweep) {
      if (this.known.size === 0) {
        this.wantsSweep = false;
        return 0;
      }
      const stale = this.staleAmong(await this.conntrack.list(this.family, 'UDP'));
      const deleted = await this.conntrack.delete(stale);
      this.wantsSweep = false;
      this.pending = [];
      return deleted;
    }
    if (this.pending.length === 0) return 0;
    const filters = this.pending;
    this.pending = [];
    try {
      return await this.conntrack.delete(filters);
    } catch (error) {
      this.wantsSweep = true;
      throw error;
    }
  }

  private staleAmong(flows: readonly Flow[]): FlowFilter[] {
    const serving = new Map<string, ReadonlySet<string>>();
    for (const ports of this.known.values()) {
      for (const port of ports) {
        if (port.protocol !== 'UDP') continue;
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
          protocol: 'UDP',
          family: this.family,
          destination: flow.destination,
          destinationPort: flow.destinationPort,
          replySource: flow.replySource,
          replySourcePort: flow.replySourcePort,
        },
      ];
    });
  }

  private concerns(protocol: string): protocol is FlowProtocol {
    return protocol === 'UDP' || (this.resetTcp && protocol === 'TCP');
  }

  /** Datagrams to the frontend that no rule translated, for lack of endpoints at their time. */
  private untranslated({ address, port }: FlowFrontend): FlowFilter {
    const { family } = this;
    return address === undefined
      ? { protocol: 'UDP', family, destinationPort: port, replySourcePort: port }
      : { protocol: 'UDP', family, destination: address, destinationPort: port, replySource: address };
  }

  private translatedTo(frontend: FlowFrontend, target: string, protocol: FlowProtocol): FlowFilter {
    const colon = target.lastIndexOf(':');
    return {
      protocol,
      family: this.family,
      ...(frontend.address === undefined ? {} : { destination: frontend.address }),
      destinationPort: frontend.port,
      replySource: target.slice(0, colon).replace(/[[\]]/g, ''),
      replySourcePort: Number(target.slice(colon + 1)),
    };
  }
}

function portOf(rules: ServicePortRules, protocol: FlowProtocol): FlowPort {
  return {
    protocol,
    frontends: rules.frontends.map((frontend) => ({
      address: frontend.kind === 'nodePort' ? undefined : frontend.address,
      port: frontend.port,
    })),
    serving: new Set(rules.serving),
  };
}

type FlowFrontend = FlowPort['frontends'][number];

function same(a: FlowFrontend, b: FlowFrontend): boolean {
  return a.address === b.address && a.port === b.port;
}
