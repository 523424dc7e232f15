import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeConntrack } from '../../src/host/conntrack/fake.ts';
import type { ConntrackPort, Flow, FlowProtocol } from '../../src/host/conntrack/port.ts';
import { RealConntrack } from '../../src/host/conntrack/real.ts';

const isRoot = process.getuid?.() === 0;

interface Opened {
  readonly port: ConntrackPort;
  add(flow: Flow): void;
  close(): void;
}

function openFake(): Opened {
  const port = new FakeConntrack();
  return { port, add: (flow) => port.add(flow), close: () => {} };
}

let namespaces = 0;

function openReal(): Opened {
  const name = `dhsvc-cn-${process.pid}-${namespaces++}`;
  execFileSync('ip', ['netns', 'add', name]);
  const prefix = ['nsenter', `--net=/run/netns/${name}`];
  return {
    port: new RealConntrack({ prefix }),
    add(flow) {
      const original = ['-s', flow.source, '-d', flow.destination];
      const reply = ['--reply-src', flow.replySource, '--reply-dst', flow.source];
      const ports = ['--orig-port-src', flow.sourcePort, '--orig-port-dst', flow.destinationPort];
      const replyPorts = ['--reply-port-src', flow.replySourcePort, '--reply-port-dst', flow.sourcePort];
      const isTcp = flow.protocol === 'TCP';
      const state = isTcp ? ['--state', flow.unreplied ? 'SYN_SENT' : 'ESTABLISHED'] : [];
      const seen = flow.unreplied ? [] : ['-u', 'SEEN_REPLY'];
      const words = [
        '-I',
        '-p',
        flow.protocol.toLowerCase(),
        '-t',
        60,
        ...seen,
        ...state,
        ...original,
        ...reply,
        ...ports,
        ...replyPorts,
      ];
      execFileSync('nsenter', [...prefix.slice(1), 'conntrack', ...words.map(String)], { stdio: 'pipe' });
    },
    close: () => void execFileSync('ip', ['netns', 'del', name]),
  };
}

describe.each([
  { name: 'fake', open: openFake, needsRoot: false },
  { name: 'real', open: openReal, needsRoot: true },
])('conntrack contract: $name', ({ open, needsRoot }) => {
  const maybe = needsRoot && !isRoot ? it.skip : it;
  let opened: Opened | undefined;

  const subject = (): Opened => {
    if (opened === undefined) throw new Error('not open');
    return opened;
  };
  const flow = (
    source: string,
    replySource: string,
    destination = '172.30.0.53',
    protocol: FlowProtocol = 'UDP',
  ): Flow => ({
    protocol,
    family: destination.includes(':') ? 'IPv6' : 'IPv4',
    source,
    sourcePort: 4_000,
    destination,
    destinationPort: 53,
    replySource,
    replySourcePort: 5_353,
  });
  const left = async (family: 'IPv4' | 'IPv6' = 'IPv4'): Promise<string[]> =>
    (await subject().port.list(family, 'UDP')).map((one) => one.source).sort();

  beforeEach(() => {
    if (needsRoot && !isRoot) return;
    opened = open();
  });
  afterEach(() => opened?.close());

  maybe('lists flows by family, with both ways', async () => {
    subject().add(flow('10.1.0.5', '10.1.0.1'));
    subject().add(flow('fd00:10::5', 'fd00:10::1', 'fd00:96::53'));
    expect(await subject().port.list('IPv4', 'UDP')).toEqual([flow('10.1.0.5', '10.1.0.1')]);
    expect(await subject().port.list('IPv6', 'UDP')).toEqual([flow('fd00:10::5', 'fd00:10::1', 'fd00:96::53')]);
  });

  maybe('forgets the flows that match every value given, and says how many', async () => {
    subject().add(flow('10.1.0.5', '10.1.0.1'));
    subject().add(flow('10.1.0.6', '10.1.0.2'));
    subject().add(flow('10.1.0.7', '10.1.0.1'));
    subject().add(flow('10.1.0.8', '10.1.0.1', '172.30.0.54'));
    subject().add({ ...flow('10.1.0.9', '10.1.0.1'), destinationPort: 54 });
    const { port } = subject();
    const filter = {
      protocol: 'UDP',
      family: 'IPv4',
      destination: '172.30.0.53',
      destinationPort: 53,
      replySource: '10.1.0.1',
    } as const;
    expect(await port.delete([{ ...filter, replySourcePort: 5_354 }])).toBe(0);
    expect(await port.delete([{ ...filter, replySourcePort: 5_353 }])).toBe(2);
    expect(await left()).toEqual(['10.1.0.6', '10.1.0.8', '10.1.0.9']);
    expect(
      await port.delete([
        { protocol: 'UDP', family: 'IPv4', destinationPort: 54 },
        { protocol: 'UDP', family: 'IPv4', destinationPort: 53 },
      ]),
    ).toBe(3);
    expect(await left()).toEqual([]);
  });

  maybe('forgets in both families at once; without filters, or without such a flow, nothing happens', async () => {
    subject().add(flow('10.1.0.5', '10.1.0.1'));
    subject().add(flow('fd00:10::5', 'fd00:10::1', 'fd00:96::53'));
    const { port } = subject();
    expect(await port.delete([])).toBe(0);
    expect(await port.delete([{ protocol: 'UDP', family: 'IPv4', destinationPort: 99 }])).toBe(0);
    expect([await left(), await left('IPv6')]).toEqual([['10.1.0.5'], ['fd00:10::5']]);
    const filters = [
      { protocol: 'UDP', family: 'IPv4', destinationPort: 99 },
      { protocol: 'UDP', family: 'IPv6', destination: 'fd00:96::53', destinationPort: 53, replySource: 'fd00:10::1' },
      { protocol: 'UDP', family: 'IPv4', destination: '172.30.0.53', destinationPort: 53, replySource: '10.1.0.1' },
    ] as const;
    expect(await port.delete(filters)).toBe(2);
    expect([await left(), await left('IPv6')]).toEqual([[], []]);
  });

  maybe('keeps protocols apart', async () => {
    subject().add(flow('10.1.0.5', '10.1.0.1'));
    const tcp = flow('10.1.0.6', '10.1.0.1', undefined, 'TCP');
    subject().add(tcp);
    const { port } = subject();
    expect(await port.list('IPv4', 'TCP')).toEqual([tcp]);
    expect(await port.delete([{ protocol: 'TCP', family: 'IPv4', destinationPort: 53 }])).toBe(1);
    expect(await port.list('IPv4', 'TCP')).toEqual([]);
    expect(await left()).toEqual(['10.1.0.5']);
  });

  maybe.each(['UDP', 'TCP'] as const)(
    'tells the flows of %s that nobody has answered from the others',
    async (protocol) => {
      const silent: Flow = { ...flow('10.1.0.5', '172.30.0.53', undefined, protocol), unreplied: true };
      const others = ['10.1.0.6', '10.1.0.7'].map((source) => flow(source, '10.1.0.1', undefined, protocol));
      for (const one of [silent, ...others]) subject().add(one);
      const { port } = subject();
      const bySource = async (): Promise<readonly Flow[]> =>
        [...(await port.list('IPv4', protocol))].sort((a, b) => (a.source < b.source ? -1 : 1));
      expect(await bySource()).toEqual([silent, ...others]);
      const to = { protocol, family: 'IPv4', destinationPort: 53 } as const;
      expect(await port.delete([{ ...to, replied: true, destinationPort: 54 }])).toBe(0);
      expect(await port.delete([{ ...to, source: '10.1.0.7', sourcePort: 4_000 }])).toBe(1);
      expect(
        await port.delete([
          { ...to, replied: true },
          { ...to, source: '10.1.0.5', sourcePort: 4_001 },
        ]),
      ).toBe(1);
      expect(await bySource()).toEqual([silent]);
      expect(await port.delete([{ ...to, source: '10.1.0.5', sourcePort: 4_000 }])).toBe(1);
    },
  );

  maybe('refuses what is no address', async () => {
    const wrong = [{ protocol: 'UDP', family: 'IPv4', destination: 'nonsense', destinationPort: 53 }] as const;
    await expect(subject().port.delete(wrong)).rejects.toMatchObject({ code: 'CommandFailed' });
  });
});
