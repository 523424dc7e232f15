import { describe, expect, it } from 'vitest';
import { leaveIpvs } from '../../../src/daemon/leave-ipvs.ts';
import type { FlowFilter } from '../../../src/host/conntrack/port.ts';
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
  let left: readonly FlowFilter[] | undefined;
  void leaveIpvs({ nodeIPs: { IPv4: NODE } }, { ...parts, clock, log: silent }).then((flows) => {
    left = flows;
  });
  const isOver = async (seconds: number): Promise<boolean> => {
    for (let second = 0; second < seconds; second++) {
      await settled();
      await clock.advance(1_000);
    }
    await settled();
    return left !== undefined;
  };
  return { isOver, flows: () => left };
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

  it('waits for no UDP, and says which of its flows are to be forgotten afterwards', async () => {
    const parts = await kernel();
    const lines = ['172.30.0.2', '[fd00:5::2]'].flatMap((address, index) => [
      `-A -u ${address}:53 -s rr`,
      `-a -u ${address}:53 -r ${index === 0 ? '10.1.0.1' : '[fd00:1::1]'}:5353 -m -w 1`,
    ]);
    await parts.ipvs.restore(`${lines.join('\n')}\n`);
    parts.ipvs.connect('-u 172.30.0.2:53', '10.1.0.1:5353', 7);
    const { isOver, flows } = leaving(parts);
    expect(await isOver(3)).toBe(true);
    expect(flows()).toEqual([
      { protocol: 'UDP', family: 'IPv4', destination: '172.30.0.2', destinationPort: 53 },
      { protocol: 'UDP', family: 'IPv6', destination: 'fd00:5::2', destinationPort: 53 },
    ]);
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
