import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealConntrack } from '../../../src/host/conntrack/real.ts';
import { openIptables } from '../../../src/host/iptables/real.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { EndpointSlice, Service } from '../../../src/model/service.ts';
import { IptablesBackend } from '../../../src/services/act/iptables-backend.ts';
import { NftablesBackend } from '../../../src/services/act/nftables-backend.ts';
import { ServiceLoop } from '../../../src/services/loop.ts';
import type { ProxyBackend } from '../../../src/services/port.ts';
import { ProxyMetrics } from '../../../src/services/proxy-metrics.ts';
import { listenIn } from '../../harness/listen-in.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { FakeView } from '../../unit/services/support/fake-view.ts';
import { facts, here, service, slice } from '../../unit/services/support/objects.ts';
import { type Agent, lab, PacketLab, type Reply } from './packet-lab.ts';

const isRoot = process.getuid?.() === 0;

/** Rules of one kind in the kernel of a namespace. */
interface Rules {
  backend(): ProxyBackend;
  /** Transactions so far. */
  readonly writes: () => number;
  /** Commands that throw our rules away. */
  readonly flushes: readonly (readonly string[])[];
  /** Commands that make a rule of somebody else's, and what of it is to be seen afterwards. */
  readonly foreign: { readonly commands: readonly (readonly string[])[]; readonly trace: string };
  /** All rules there are, and what ours can be told by. */
  dump(): Promise<string>;
  readonly ours: string;
  close(): Promise<void>;
}

async function iptablesRules(flavour: 'nft' | 'legacy', prefix: readonly string[]): Promise<Rules> {
  const { own, watch } = listenIn(prefix);
  const port = await openIptables({ family: 'IPv4', flavour, prefix, started: own.note });
  if (port === undefined) throw new Error('no iptables');
  const restore = port.restore.bind(port);
  let writes = 0;
  port.restore = async (text, signal) => {
    writes++;
    await restore(text, signal);
  };
  const command = `iptables-${flavour}`;
  return {
    backend: () => new IptablesBackend({ iptables: port, log: silent, watch }),
    writes: () => writes,
    flushes: ['nat', 'filter'].map((table) => [command, '-F', '-t', table]),
    foreign: {
      commands: [
        [command, '-t', 'nat', '-N', 'FOREIGN'],
        [command, '-t', 'nat', '-A', 'OUTPUT', '-j', 'FOREIGN'],
      ],
      trace: '-A OUTPUT -j FOREIGN',
    },
    dump: () => port.save(),
    ours: 'KUBE-',
    close: () => watch.close(),
  };
}

async function nftablesRules(prefix: readonly string[]): Promise<Rules> {
  const { own, watch } = listenIn(prefix);
  const port = await openNftables({ family: 'IPv4', prefix, started: own.note });
  if (port === undefined) throw new Error('no nftables');
  const apply = port.apply.bind(port);
  let writes = 0;
  port.apply = async (text, signal) => {
    writes++;
    await apply(text, signal);
  };
  return {
    backend: () => new NftablesBackend({ nftables: port, log: silent, watch }),
    writes: () => writes,
    flushes: [
      ['nft', 'flush', 'ruleset'],
      ['nft', 'flush', 'table', 'ip', 'deckhand'],
    ],
    foreign: { commands: [['nft', 'add', 'table', 'ip', 'foreign']], trace: 'table ip foreign' },
    dump: () => runCommand([...prefix, 'nft', 'list', 'ruleset']),
    ours: 'deckhand',
    close: () => watch.close(),
  };
}

const held = { ports: [{ name: 'p80', protocol: 'TCP' as const, port: lab.heldPort }] };

describe.skipIf(!isRoot).each(['nft', 'legacy', 'nftables'] as const)('real packets, %s', (kind) => {
  const packets = new PacketLab(`${kind.slice(0, 4)}${process.pid}`);
  const services = new FakeView<Service>();
  const slices = new FakeView<EndpointSlice>();
  const clock = new SystemClock();
  let rules: Rules;
  let loop: ServiceLoop;
  let client: Agent;
  let node: Agent;
  let pods: readonly Agent[] = [];

  function newLoop(): ServiceLoop {
    return new ServiceLoop(
      {
        facts: {
          ...facts,
          nodeIPs: { IPv4: lab.nodeIP },
          resetTcp: true,
          localDetector: { kind: 'clusterCIDR', cidrs: ['10.1.0.0/16'] },
        },
        minSyncMs: 0,
        checkMs: 300,
      },
      {
        clock,
        log: silent,
        metrics: new ProxyMetrics(new Metrics()),
        services,
        slices,
        backends: [rules.backend()],
        net: new FakeNet({}, [lab.nodeIP, '127.0.0.1']),
        conntrack: new RealConntrack({ prefix: packets.prefix }),
      },
    );
  }

  /** Waits until the rules of everything put so far are in the kernel. */
  async function settled(): Promise<void> {
    for (let turn = 0; turn < 400; turn++) {
      const { synced, families } = loop.status();
      if (synced && families.every((family) => family.pendingSince === undefined)) return;
      await clock.sleep(5);
    }
    throw new Error(`the rules are not in order: ${JSON.stringify(loop.status())}`);
  }

  async function many(
    agent: Agent,
    count: number,
    host: string,
    number = 80,
    protocol: 'tcp' | 'udp' = 'tcp',
  ): Promise<Reply[]> {
    const replies: Reply[] = [];
    while (replies.length < count) {
      replies.push(...(await Promise.all(Array.from({ length: 10 }, () => agent.ask(protocol, host, number)))));
    }
    return replies;
  }
  const servers = (replies: readonly Reply[]): string[] =>
    [...new Set(replies.map((one) => one.from ?? one.error ?? ''))].sort();
  const seen = (replies: readonly Reply[]): string[] => [...new Set(replies.map((one) => one.seen ?? ''))].sort();

  beforeAll(async () => {
    await packets.open();
    rules = await (kind === 'nftables' ? nftablesRules(packets.prefix) : iptablesRules(kind, packets.prefix));
    ({ client = never(), node = never(), pods } = packets.agents);
    const all = lab.pods.map((address) => here(address));
    const udp = [{ name: 'dns', protocol: 'UDP' as const, port: lab.udpPort }];
    services.put(
      service('ns/web', {
        clusterIP: '172.30.0.1',
        type: 'NodePort',
        ports: [{ name: 'p80', port: 80, nodePort: 30_080 }],
      }),
      service('ns/empty', {
        clusterIP: '172.30.0.2',
        type: 'NodePort',
        ports: [
          { name: 'p80', port: 80, nodePort: 30_081 },
          { name: 'dns', protocol: 'UDP', port: 53 },
        ],
      }),
      service('ns/sticky', { clusterIP: '172.30.0.3', sessionAffinity: 'ClientIP' }),
      service('ns/dns', {
        clusterIP: '172.30.0.4',
        ports: [{ name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_053 }],
        type: 'NodePort',
      }),
      service('ns/elsewhere', { clusterIP: '172.30.0.5', internalTrafficPolicy: 'Local' }),
      service('ns/local', {
        clusterIP: '172.30.0.6',
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        ports: [{ name: 'p80', port: 80, nodePort: 30_086 }],
      }),
      service('ns/alone', { clusterIP: '172.30.0.7' }),
      service('ns/held', { clusterIP: '172.30.0.8' }),
    );
    slices.put(
      slice('ns/web', all),
      slice('ns/sticky', all),
      slice('ns/dns', all, { ports: udp }),
      slice('ns/elsewhere', ['10.9.9.9']),
      slice('ns/local', [here(lab.pods[1])]),
      slice('ns/alone', [here(lab.pods[0])]),
      slice('ns/held', [here(lab.pods[0])], held),
    );
    loop = newLoop();
    await loop.start();
    await settled();
  });

  afterAll(async () => {
    await loop?.close();
    await rules?.close();
    await packets.close();
  });

  it('a cluster IP is spread over its endpoints; a client from outside is masqueraded', async () => {
    const replies = await many(client, 90, '172.30.0.1');
    expect(servers(replies)).toEqual(['p1', 'p2', 'p3']);
    for (const name of ['p1', 'p2', 'p3'])
      expect(replies.filter(({ from }) => from === name).length).toBeGreaterThan(10);
    expect(seen(replies)).toEqual([lab.bridgeIP]);
  });

  it('a pod keeps its address, except when it is its own endpoint', async () => {
    const replies = await many(pods[0] ?? never(), 60, '172.30.0.1');
    expect(servers(replies)).toEqual(['p1', 'p2', 'p3']);
    expect(seen(replies.filter(({ from }) => from === 'p1'))).toEqual([lab.bridgeIP]);
    expect(seen(replies.filter(({ from }) => from !== 'p1'))).toEqual([lab.pods[0]]);
  });

  it('hairpin alone', async () => {
    expect(await (pods[0] ?? never()).ask('tcp', '172.30.0.7', 80)).toEqual({ from: 'p1', seen: lab.bridgeIP });
    expect(await (pods[1] ?? never()).ask('tcp', '172.30.0.7', 80)).toEqual({ from: 'p1', seen: lab.pods[1] });
  });

  it('a node port answers to all, at the node', async () => {
    expect(servers(await many(client, 40, lab.nodeIP, 30_080))).toEqual(['p1', 'p2', 'p3']);
    expect(servers(await many(node, 40, lab.nodeIP, 30_080))).toEqual(['p1', 'p2', 'p3']);
    expect(servers(await many(pods[2] ?? never(), 40, lab.nodeIP, 30_080))).toEqual(['p1', 'p2', 'p3']);
    expect((await client.ask('tcp', lab.nodeIP, 30_079)).error).toBe('ECONNREFUSED');
  });

  it('the node itself reaches a cluster IP', async () => {
    expect(servers(await many(node, 40, '172.30.0.1'))).toEqual(['p1', 'p2', 'p3']);
  });

  it('external policy Local keeps the client and stays on the node; pods go anywhere', async () => {
    const replies = await many(client, 10, lab.nodeIP, 30_086);
    expect([servers(replies), seen(replies)]).toEqual([['p2'], [lab.clientIP]]);
    expect((await (pods[0] ?? never()).ask('tcp', lab.nodeIP, 30_086)).seen).toBe(lab.pods[0]);
  });

  it('without endpoints clients are refused at once', async () => {
    const started = performance.now();
    const errors = await Promise.all([
      client.ask('tcp', '172.30.0.2', 80),
      (pods[0] ?? never()).ask('tcp', '172.30.0.2', 80),
      node.ask('tcp', '172.30.0.2', 80),
      client.ask('udp', '172.30.0.2', 53),
      client.ask('tcp', lab.nodeIP, 30_081),
    ]);
    expect(errors.map(({ error }) => error)).toEqual(new Array(5).fill('ECONNREFUSED'));
    expect(performance.now() - started).toBeLessThan(400);
  });

  it('endpoints elsewhere alone under internal policy Local: dropped', async () => {
    expect((await (pods[0] ?? never()).ask('tcp', '172.30.0.5', 80)).error).toBe('TIMEOUT');
  });

  it('affinity: a client stays, and moves on when its endpoint goes', async () => {
    const first = servers(await many(client, 30, '172.30.0.3'));
    expect(first).toHaveLength(1);
    const index = ['p1', 'p2', 'p3'].indexOf(first[0] ?? '');
    slices.put(
      slice(
        'ns/sticky',
        lab.pods.filter((_pod, at) => at !== index).map((address) => here(address)),
      ),
    );
    await settled();
    const second = servers(await many(client, 30, '172.30.0.3'));
    expect(second).toHaveLength(1);
    expect(second).not.toEqual(first);
  });

  it('UDP is spread, and a client that goes on sending leaves an endpoint that is gone', async () => {
    expect(servers(await many(client, 60, '172.30.0.4', 53, 'udp'))).toEqual(['p1', 'p2', 'p3']);
    const ask = (): Promise<Reply> => client.ask('udp', '172.30.0.4', 53, 4_444);
    const { from } = await ask();
    for (let turn = 0; turn < 5; turn++) expect((await ask()).from).toBe(from);
    const index = ['p1', 'p2', 'p3'].indexOf(from ?? '');
    const ports = [{ name: 'dns', protocol: 'UDP' as const, port: lab.udpPort }];
    slices.put(
      slice(
        'ns/dns',
        lab.pods.filter((_pod, at) => at !== index).map((address) => here(address)),
        { ports },
      ),
    );
    await settled();
    // The flow is forgotten after the rules are written, by a command that takes its time.
    let now = (await ask()).from;
    // An answer that was on its way when the flow was forgotten finds no way back: that one is asked again.
    for (let turn = 0; turn < 100 && (now === from || now === undefined); turn++) {
      await clock.sleep(20);
      now = (await ask()).from;
    }
    expect(['p1', 'p2', 'p3']).toContain(now);
    expect(now).not.toBe(from);
  });

  it('an endpoint that goes gets no new connection once the rules are written, one that comes gets some', async () => {
    slices.put(slice('ns/web', [here(lab.pods[0])]));
    await settled();
    expect(servers(await many(client, 30, '172.30.0.1'))).toEqual(['p1']);
    slices.put(slice('ns/web', [here(lab.pods[1]), here(lab.pods[2])]));
    await settled();
    expect(servers(await many(client, 30, '172.30.0.1'))).toEqual(['p2', 'p3']);
  });

  it('a connection outlives the readiness of its endpoint, and is broken off when that is gone', async () => {
    const ask = (): Promise<Reply> => client.ask('held', '172.30.0.8', 80);
    expect(await ask()).toMatchObject({ from: 'p1' });
    slices.put(slice('ns/held', [here(lab.pods[0], { ready: false }), here(lab.pods[1])], held));
    await settled();
    expect(await ask()).toMatchObject({ from: 'p1' });
    slices.put(slice('ns/held', [here(lab.pods[1])], held));
    await settled();
    // The flow goes after the rules; the end of the old connection may come to light between two questions, too.
    await waitFor('another endpoint to answer', async () => (await ask()).from === 'p2');
    // The last one goes: what comes now is refused.
    slices.put(slice('ns/held', [], held));
    await waitFor('the connection to end', async () => (await ask()).error !== undefined);
  });

  it('a restart writes nothing, and no request fails meanwhile', async () => {
    let asking = true;
    const failures: Reply[] = [];
    let asked = 0;
    const traffic = (async () => {
      while (asking) {
        asked++;
        const reply = await client.ask('tcp', '172.30.0.1', 80);
        if (reply.error !== undefined) failures.push(reply);
      }
    })();
    await loop.close();
    await clock.sleep(50);
    const before = rules.writes();
    loop = newLoop();
    await loop.start();
    await settled();
    await clock.sleep(50);
    expect(rules.writes()).toBe(before);
    asking = false;
    await traffic;
    expect(asked).toBeGreaterThan(10);
    expect(failures).toEqual([]);
  });

  it.each([0, 1])('is back after a flush (%i)', async (index) => {
    await packets.onNode(...(rules.flushes[index] ?? []));
    const deadline = performance.now() + 10_000;
    const whole = async (): Promise<boolean> =>
      (await client.ask('tcp', '172.30.0.1', 80)).from !== undefined &&
      (await client.ask('tcp', '172.30.0.2', 80)).error === 'ECONNREFUSED';
    while (!(await whole())) {
      expect(performance.now()).toBeLessThan(deadline);
      await clock.sleep(50);
    }
  });

  it('cleanup leaves nothing of ours and everything of others', async () => {
    for (const command of rules.foreign.commands) await packets.onNode(...command);
    await loop.cleanup();
    const left = await rules.dump();
    expect(left).not.toContain(rules.ours);
    expect(left).toContain(rules.foreign.trace);
    expect((await client.ask('tcp', '172.30.0.1', 80)).from).toBeUndefined();
  });
});

function never(): never {
  throw new Error('the lab is not open');
}
