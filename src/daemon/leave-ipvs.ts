import type { FlowFilter } from '../host/conntrack/port.ts';
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
 * UDP has no end to wait for: the answer is which of its flows are to be forgotten afterwards, for the kernel would send
 * them on as IPVS did.
 */
export async function leaveIpvs({ nodeIPs }: LeaveIpvsOptions, deps: LeaveIpvsDeps): Promise<readonly FlowFilter[]> {
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
      (await ipvs.connections()).some(({ server, active }) => active > 0 && udpPlace(server) === undefined) ||
      (await device.originating(all)) > 0;
    quiet = isBusy ? 0 : quiet + 1;
  }
  const servers = new Set((await ipvs.connections()).map(({ server }) => server));
  return [...servers].flatMap((server) => udpPlace(server) ?? []);
}

/** "-u 172.30.0.2:53", "-u [fd00::2]:53" */
function udpPlace(server: string): FlowFilter | undefined {
  const [, six, four, port] = /^-u (?:\[(.+)\]|([\d.]+)):(\d+)$/.exec(server) ?? [];
  const destination = six ?? four;
  if (destination === undefined) return undefined;
  return {
    protocol: 'UDP',
    family: six === undefined ? 'IPv4' : 'IPv6',
    destination,
    destinationPort: Number(port),
  };
}
