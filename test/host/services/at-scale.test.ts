import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openIptables } from '../../../src/host/iptables/real.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { FastNftables } from '../../../src/host/nftables/fast.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { NftSession } from '../../../src/host/nftables/session.ts';
import type { XtablesMonitor } from '../../../src/host/rule-watch/real.ts';
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
import { FakeView } from '../../unit/services/support/fake-view.ts';
import { facts, here, service, slice } from '../../unit/services/support/objects.ts';
import { type Agent, lab, PacketLab, type Reply } from './packet-lab.ts';

const isRoot = process.getuid?.() === 0;
/** iptables takes a minute for 5,000: AT_SCALE=5000. */
const AMOUNTS = {
  nftables: 5_000,
  nft: Number(process.env['AT_SCALE'] ?? 500),
  legacy: Number(process.env['AT_SCALE'] ?? 500),
};
const POISONOUS = 20;
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const addressOf = (index: number): string => `172.30.${index >> 8}.${index & 255}`;

describe.skipIf(!isRoot).each(['nftables', 'nft', 'legacy'] as const)('thousands of Services, %s', (kind) => {
  const SERVICES = AMOUNTS[kind];
  /** Half of them cannot be made sense of; the others go as far as the kernel, which refuses them. */
  const isPoisonous = (index: number): boolean => index % (SERVICES / POISONOUS) === 7;
  const isRefused = (index: number): boolean => isPoisonous(index) && index % 4 === 3;
  const packets = new PacketLab(`s${kind.slice(0, 3)}${process.pid}`);
  const services = new FakeView<Service>();
  const slices = new FakeView<EndpointSlice>();
  const clock = new SystemClock();
  let session: NftSession | undefined;
  let monitor: XtablesMonitor | undefined;
  let loop: ServiceLoop;
  let client: Agent;
  let mended = false;

  async function backendOf(): Promise<ProxyBackend> {
    const { prefix } = packets;
    const { own, watch } = listenIn(prefix);
    monitor = watch;
    if (kind !== 'nftables') {
      const iptables = await openIptables({ family: 'IPv4', flavour: kind, prefix, started: own.note });
      if (iptables === undefined) throw new Error(`no iptables-${kind}`);
      return new IptablesBackend({ iptables, log: silent, watch });
    }
    const plain = await openNftables({ family: 'IPv4', prefix, started: own.note });
    if (plain === undefined) throw new Error('no nftables');
    session = new NftSession({ prefix, started: own.note }, { clock });
    return new NftablesBackend({ nftables: new FastNftables({ plain, session, log: silent }), log: silent, watch });
  }

  /** Hands on to the backend what no kernel takes, for the Services that are to be refused. */
  function poisoned(backend: ProxyBackend): ProxyBackend {
    const sync = backend.sync.bind(backend);
    backend.sync = (change, signal) => {
      const services = {
        *[Symbol.iterator]() {
          for (const [name, rules] of change.services) {
            const refused = !mended && isRefused(Number(name.slice('ns/s'.length)));
            yield [name, refused ? rules.map((rule) => ({ ...rule, cluster: [NO_TARGET] })) : rules] as const;
          }
        },
      };
      return sync({ ...change, services }, signal);
    };
    return backend;
  }

  beforeAll(async () => {
    await packets.open();
    client = packets.agents.client ?? never();
    for (let index = 0; index < SERVICES; index++) {
      const name = `ns/s${index}`;
      services.put(service(name, { clusterIP: addressOf(index) }));
      const bad = index % 2 === 0 ? slice(name, ['10.1.0.999']) : slice(name, ['10.1.0.11'], { ports: [tooHigh] });
      slices.put(isPoisonous(index) && !isRefused(index) ? bad : slice(name, [here(lab.pods[index % 3] ?? '')]));
    }
    loop = new ServiceLoop(
      {
        facts: {
          ...facts,
          nodeIPs: { IPv4: lab.nodeIP },
          localDetector: { kind: 'clusterCIDR', cidrs: ['10.1.0.0/16'] },
        },
        minSyncMs: 0,
      },
      {
        clock,
        log: silent,
        metrics: new ProxyMetrics(new Metrics()),
        services,
        slices,
        backends: [poisoned(await backendOf())],
        net: new FakeNet({}, [lab.nodeIP, '127.0.0.1']),
      },
    );
    await loop.start();
    await loop.settled(AbortSignal.timeout(120_000));
  });
  afterAll(async () => {
    await loop?.close();
    await session?.close();
    await monitor?.close();
    await packets.close();
  });

  const ask = (index: number): Promise<Reply> => client.ask('tcp', addressOf(index), 80);

  it(`all but the ${POISONOUS} poisonous ones answer, each from its own endpoint`, async () => {
    const wrong: string[] = [];
    let right = 0;
    for (let from = 0; from < SERVICES; from += 50) {
      const indexes = Array.from({ length: 50 }, (_, at) => from + at).filter((index) => !isPoisonous(index));
      const replies = await Promise.all(indexes.map(ask));
      for (const [at, reply] of replies.entries()) {
        const index = indexes[at] ?? 0;
        if (reply.from === `p${(index % 3) + 1}`) right++;
        else wrong.push(`s${index}: ${JSON.stringify(reply)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(right).toBe(SERVICES - POISONOUS);
    const refused = Array.from({ length: SERVICES }, (_, index) => index).filter(isRefused);
    const setAside = loop.status().families[0]?.setAside.map((one) => one.service) ?? [];
    expect(refused.length).toBeGreaterThan(4);
    expect(setAside.sort()).toEqual(refused.map((index) => `ns/s${index}`).sort());
  });

  it('one that is mended answers', async () => {
    mended = true;
    slices.put(slice('ns/s7', [here(lab.pods[0])]));
    await loop.settled(AbortSignal.timeout(60_000));
    expect(await ask(7)).toMatchObject({ from: 'p1' });
  });

  it('is whole again after each of a row of flushes', async () => {
    const table = kind === 'nftables' ? ['nft', 'flush', 'ruleset'] : [`iptables-${kind}`, '-t', 'nat', '-F'];
    const took: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      await packets.onNode(...table);
      const since = performance.now();
      // The last one that is written. Each question waits for long where there is no rule: the next does not wait for it.
      const asked: Promise<void>[] = [];
      let backAt: number | undefined;
      while (backAt === undefined) {
        expect(performance.now() - since).toBeLessThan(60_000);
        asked.push(
          ask(SERVICES - 1).then(({ from }) => {
            if (from !== undefined) backAt ??= performance.now();
          }),
        );
        await clock.sleep(20);
      }
      took.push(Math.round(backAt - since));
      await Promise.all(asked);
      expect((await ask(0)).from).toBe('p1');
    }
    console.log(`${kind}: back ${took.join(', ')} ms after a flush of ${SERVICES} Services`);
  });
});

const NO_TARGET = { address: '10.1.0.999', port: 80, local: false };
const tooHigh = { name: 'p80', protocol: 'TCP' as const, port: 70_000 };

function never(): never {
  throw new Error('the lab is not open');
}
