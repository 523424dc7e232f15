import type { ConntrackPort, FlowFilter } from '../host/conntrack/port.ts';
import type { IpvsPort } from '../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../host/service-device/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { IPFamily } from '../model/service.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MS = 1_000;
const unanswered = 'SYN_SENT';

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
 * of UDP, which has no end to wait for, and TCP connections that nobody has answered: the client's next attempt is then
 * a new one, by the rules that are there now, and would else be answered by nobody until it gives up.
 */
export async function forgetFlows(servers: ReadonlySet<string>, conntrack: ConntrackPort): Promise<number> {
  const filters = new Map<string, FlowFilter>();
  for (const family of ['IPv4', 'IPv6'] as const) {
    for (const protocol of ['UDP', 'TCP'] as const) {
      const option = protocol === 'UDP' ? '-u' : '-t';
      for (const { destination, destinationPort, state } of await conntrack.list(family, protocol)) {
        if (protocol === 'TCP' && state !== unanswered) continue;
        const place = `${family === 'IPv6' ? `[${destination}]` : destination}:${destinationPort}`;
        if (!servers.has(`${option} ${place}`)) continue;
        const filter = { protocol, family, destination, destinationPort };
        filters.set(`${option} ${place}`, protocol === 'TCP' ? { ...filter, state: unanswered } : filter);
      }
    }
  }
  return await conntrack.delete([...filters.values()]);
}
