import { CodedError } from '../../kit/errors.ts';
import { parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import type { ConntrackPort, Flow, FlowFilter, FlowProtocol } from './port.ts';

/** A table of flows in memory. */
export class FakeConntrack implements ConntrackPort {
  private flows: Flow[] = [];
  /** How many times a command would have been started. */
  commands = 0;

  /** A client's packet makes or renews a flow. */
  add(flow: Flow): void {
    this.check(flow.family, flow.destination, flow.replySource, flow.source);
    this.flows.push(flow);
  }

  async list(family: IPFamily, protocol: FlowProtocol): Promise<readonly Flow[]> {
    this.commands++;
    return this.flows.filter((flow) => flow.family === family && flow.protocol === protocol);
  }

  async delete(filters: readonly FlowFilter[]): Promise<number> {
    if (filters.length === 0) return 0;
    this.commands++;
    for (const filter of filters) this.check(filter.family, filter.source, filter.destination, filter.replySource);
    const staying = this.flows.filter((flow) => !filters.some((filter) => matches(filter, flow)));
    const gone = this.flows.length - staying.length;
    this.flows = staying;
    return gone;
  }

  private check(family: IPFamily, ...addresses: readonly (string | undefined)[]): void {
    for (const address of addresses) {
      if (address !== undefined && parseIp(address)?.family !== family) {
        throw new CodedError('CommandFailed', `conntrack: ${address} is no ${family} address`);
      }
    }
  }
}

function matches(filter: FlowFilter, flow: Flow): boolean {
  return (
    filter.family === flow.family &&
    filter.protocol === flow.protocol &&
    filter.destinationPort === flow.destinationPort &&
    (filter.destination === undefined || filter.destination === flow.destination) &&
    (filter.replySource === undefined || filter.replySource === flow.replySource) &&
    (filter.replySourcePort === undefined || filter.replySourcePort === flow.replySourcePort) &&
    (filter.source === undefined || filter.source === flow.source) &&
    (filter.sourcePort === undefined || filter.sourcePort === flow.sourcePort) &&
    (filter.replied === undefined || flow.unreplied === undefined)
  );
}
