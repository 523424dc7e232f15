import type { ConntrackPort, Flow, FlowFilter } from '../host/conntrack/port.ts';
import type { IpvsPort } from '../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../host/service-device/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { IPFamily } from '../model/service.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MS = 1_000;

export interface LeaveIpvsOptions {
  /** The machine's address in each family. */
  readonly nodeIPs: Readonly<Partial<Record<IPFamily, string>>>;
}

export interface LeaveIpvsDeps {
  readonly ipvs: IpvsPort;
  readonly device: ServiceDevicePort;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Before virtual servers and their addresses go, while another mode's rules already take what is new. Two kinds of
 * connections end with them: those by a virtual server, and those of the machine itself to a Service in either mode, for
 * an address of the device is their own. New ones get the machine's address instead, and those that are there a minute.
 * The answer is which virtual servers there were ("-t 10.0.0.1:80"), for forgetFlows.
 */
export async function leaveIpvs({ nodeIPs }: LeaveIpvsOptions, deps: LeaveIpvsDeps): Promise<ReadonlySet<string>> {
  const { ipvs, device, clock, log } = deps;
  const addresses = (await device.read())?.addresses ?? { IPv4: [], IPv6: [] };
  for (const family of ['IPv4', 'IPv6'] as const) {
    const source = nodeIPs[family];
    if (source === undefined || addresses[family].length === 0) continue;
    await device.originateFrom(source, addresses[family]).catch((error: unknown) => {
      const message = "the machine's own connections to Services go on to come from addresses that are taken away";
      log.warn({ family, source, error: messageOf(error) }, message);
    });
  }
  const all = [...addresses.IPv4, ...addresses.IPv6];
  const until = clock.monotonic() + PATIENCE_MS;
  // One in its handshake does not count as active yet, but will at the next look.
  for (let quiet = 0; quiet < 2 && clock.monotonic() < until; await clock.sleep(PAUSE_MS)) {
    const isBusy =
      (await ipvs.connections()).some(({ server, active }) => active > 0 && !server.startsWith('-u ')) ||
      (await device.originating(all)) > 0;
    quiet = isBusy ? 0 : quiet + 1;
  }
  return new Set((await ipvs.connections()).map(({ server }) => server));
}

/**
 * Once the virtual servers are gone: forgets what the kernel would go on to send where IPVS sent it. These are the flows
 * of UDP, which has no end to wait for, and whatever nobody answers, at two looks, of either protocol: the client's next
 * attempt is then a new one, by the rules that are there now. What is on its way just now keeps its flow.
 */
export async function forgetFlows(
  servers: ReadonlySet<string>,
  { conntrack, clock }: { readonly conntrack: ConntrackPort; readonly clock: Clock },
): Promise<number> {
  if (servers.size === 0) return 0;
  const before = new Set((await flowsTo(servers, conntrack)).filter(({ unreplied }) => unreplied).map(idOf));
  await clock.sleep(PAUSE_MS);
  const filters = new Map<string, FlowFilter>();
  for (const flow of await flowsTo(servers, conntrack)) {
    const { protocol, family, source, sourcePort, destination, destinationPort, unreplied } = flow;
    const filter = { protocol, family, destination, destinationPort };
    if (!unreplied && protocol === 'UDP') filters.set(serverOf(flow), { ...filter, replied: true });
    else if (unreplied && before.has(idOf(flow))) filters.set(idOf(flow), { ...filter, source, sourcePort });
  }
  return await conntrack.delete([...filters.values()]);
}

async function flowsTo(servers: ReadonlySet<string>, conntrack: ConntrackPort): Promise<readonly Flow[]> {
  const found: Flow[] = [];
  for (const family of ['IPv4', 'IPv6'] as const) {
    for (const protocol of ['UDP', 'TCP'] as const) {
      for (const flow of await conntrack.list(family, protocol)) if (servers.has(serverOf(flow))) found.push(flow);
    }
  }
  return found;
}

/** As ipvsadm prints the virtual server that a flow leads to. */
function serverOf({ protocol, family, destination, destinationPort }: Flow): string {
  const host = family === 'IPv6' ? `[${destination}]` : destination;
  return `${protocol === 'UDP' ? '-u' : '-t'} ${host}:${destinationPort}`;
}

function idOf(flow: Flow): string {
  return `${serverOf(flow)} ${flow.source} ${flow.sourcePort}`;
}
