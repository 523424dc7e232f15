import { describe, expect, it } from 'vitest';
import { forgetFlows, leaveIpvs } from '../../../src/daemon/leave-ipvs.ts';
import { FakeConntrack } from '../../../src/host/conntrack/fake.ts';
import type { Flow } from '../../../src/host/conntrack/port.ts';
import { FakeIpvs } from '../../../src/host/ipvs/fake.ts';
import { FakeServiceDevice } from '../../../src/host/service-device/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

const NODE = '192.0.2.1';
const VIP = '172.30.0.1';
const SERVER = `-t ${VIP}:80`;
const REAL = '10.1.0.1:8080';

async function kernel(own: readonly string[] = [NODE]) {
  const ipvs = new FakeIpvs();
  await ipvs.restore(`-A ${SERVER} -s rr\n-a ${SERVER} -r ${REAL} -m -w 1\n`);
  const device = new FakeServiceDevice({ own });
  await device.ensure('deckhand');
  await device.change([VIP, '2001:db8::1'], []);
  return { ipvs, device };
}

function leaving(parts: Awaited<ReturnType<typeof kernel>>) {
  const clock = new ManualClock();
  let left: ReadonlySet<string> | undefined;
  void leaveIpvs({ nodeIPs: { IPv4: NODE } }, { ...parts, clock, log: silent }).then((servers) => {
    left = servers;
  });
  const isOver = async (seconds: number): Promise<boolean> => {
    for (let second = 0; second < seconds; second++) {
      await settled();
      await clock.advance(1_000);
    }
    await settled();
    return left !== undefined;
  };
  return { isOver, servers: () => left };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe('leaving IPVS', () => {
  it('lets the machine’s own connections come from its own address from then on', async () => {
    const parts = await kernel();
    const { isOver } = leaving(parts);
    await isOver(0);
    expect(await parts.device.sourceOf(VIP)).toBe(NODE);
    // No address of the machine is known in this family.
    expect(await parts.device.sourceOf('2001:db8::1')).toBe('2001:db8::1');
    expect(await isOver(2)).toBe(true);
  });

  it('waits for connections by virtual servers, and for the machine’s own from an address that goes', async () => {
    const parts = await kernel();
    parts.ipvs.connect(SERVER, REAL, 1);
    const { isOver } = leaving(parts);
    expect(await isOver(5)).toBe(false);
    parts.device.connect(VIP, 1);
    parts.ipvs.connect(SERVER, REAL, 0);
    expect(await isOver(5)).toBe(false);
    parts.device.connect(VIP, 0);
    expect(await isOver(3)).toBe(true);
  });

  it('waits for no UDP, and says which virtual servers there were', async () => {
    const parts = await kernel();
    const udp = '-u [fd00:5::2]:53';
    await parts.ipvs.restore(`-A ${udp} -s rr\n-a ${udp} -r [fd00:1::1]:5353 -m -w 1\n`);
    parts.ipvs.connect(udp, '[fd00:1::1]:5353', 7);
    const { isOver, servers } = leaving(parts);
    expect(await isOver(3)).toBe(true);
    expect(servers()).toEqual(new Set([SERVER, udp]));
  });

  it('has the kernel forget flows of UDP, and whatever nobody answers, once what is on its way has come', async () => {
    const conntrack = new FakeConntrack();
    const clock = new ManualClock();
    const flow = (protocol: 'UDP' | 'TCP', place: string, sourcePort: number, more: Partial<Flow> = {}): Flow => ({
      protocol,
      family: place.includes(':') ? 'IPv6' : 'IPv4',
      source: place.includes(':') ? 'fd00:1::9' : '10.1.0.9',
      sourcePort,
      destination: place,
      destinationPort: protocol === 'UDP' ? 53 : 80,
      replySource: place,
      replySourcePort: 5_353,
      ...more,
    });
    const unreplied = { unreplied: true } as const;
    const going = [
      flow('TCP', VIP, 1, unreplied),
      flow('UDP', VIP, 1, unreplied),
      flow('UDP', VIP, 2),
      flow('UDP', 'fd00:5::2', 1),
    ];
    const staying = [flow('TCP', VIP, 2), flow('UDP', '192.0.2.7', 1), flow('TCP', 'fd00:5::2', 1, unreplied)];
    const late = [flow('TCP', VIP, 3, unreplied), flow('UDP', VIP, 3, unreplied)];
    for (const one of [...staying, ...going]) conntrack.add(one);
    const servers = new Set([SERVER, `-u ${VIP}:53`, '-u [fd00:5::2]:53']);
    const forgotten = forgetFlows(servers, { conntrack, clock });
    await settled();
    for (const one of late) conntrack.add(one);
    await clock.advance(1_000);
    expect(await forgotten).toBe(4);
    const left = [];
    for (const family of ['IPv4', 'IPv6'] as const) {
      for (const protocol of ['TCP', 'UDP'] as const) left.push(...(await conntrack.list(family, protocol)));
    }
    expect(new Set(left)).toEqual(new Set([...staying, ...late]));
  });

  it('looks twice: a connection in its handshake is none as yet', async () => {
    const parts = await kernel();
    const { isOver } = leaving(parts);
    expect(await isOver(0)).toBe(false);
    parts.ipvs.connect(SERVER, REAL, 1);
    expect(await isOver(5)).toBe(false);
  });

  it('waits no longer than a minute', async () => {
    const parts = await kernel();
    parts.ipvs.connect(SERVER, REAL, 1);
    const { isOver } = leaving(parts);
    expect(await isOver(58)).toBe(false);
    expect(await isOver(3)).toBe(true);
  });

  it('goes on where the machine does not have the address that it is said to have', async () => {
    const parts = await kernel([]);
    const { isOver } = leaving(parts);
    expect(await isOver(3)).toBe(true);
    expect(await parts.device.sourceOf(VIP)).toBe(VIP);
  });
});
