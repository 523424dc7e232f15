import { release } from 'node:os';
import { forgetFlows, leaveIpvs } from '../../../src/daemon/leave-ipvs.ts';
import { RealConntrack } from '../../../src/host/conntrack/real.ts';
import { RealIpset } from '../../../src/host/ipset/real.ts';
import { openIptables } from '../../../src/host/iptables/real.ts';
import { RealIpvs } from '../../../src/host/ipvs/real.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { RealServiceDevice } from '../../../src/host/service-device/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { EndpointSlice, IPFamily, Service } from '../../../src/model/service.ts';
import { IptablesBackend } from '../../../src/services/act/iptables-backend.ts';
import { IpvsBackend } from '../../../src/services/act/ipvs-backend.ts';
import { ipvsWishes } from '../../../src/services/act/kernel-settings.ts';
import { NftablesBackend } from '../../../src/services/act/nftables-backend.ts';
import { ServiceLoop } from '../../../src/services/loop.ts';
import type { ProxyBackend } from '../../../src/services/port.ts';
import { ProxyMetrics } from '../../../src/services/proxy-metrics.ts';
import { serviceDevice } from '../../../src/services/render/ipvs/sets.ts';
import { FakeView } from '../../unit/services/support/fake-view.ts';
import {
  endText,
  plans,
  type Row,
  sorted,
  tableFacts,
  tableRows,
  tableWorld,
} from '../../unit/services/support/packet-table.ts';
import type { TableLab } from './table-lab.ts';

const both = ['IPv4', 'IPv6'] as const;

/** nft and legacy: the two flavours of iptables; with ipvs in front, those around IPVS. */
export type TableKind = 'nftables' | 'nft' | 'legacy' | 'ipvs-nft' | 'ipvs-legacy';

/** With its rules in the lab's node. */
export async function backendOf(lab: TableLab, kind: TableKind, family: IPFamily): Promise<ProxyBackend> {
  const { prefix } = lab;
  if (kind === 'nftables') {
    const nftables = await openNftables({ family, prefix });
    if (nftables === undefined) throw new Error(`no nftables for ${family}`);
    return new NftablesBackend({ nftables, log: silent });
  }
  const flavour = kind.endsWith('nft') ? 'nft' : 'legacy';
  const iptables = await openIptables({ family, flavour, prefix });
  if (iptables === undefined) throw new Error(`no iptables-${flavour} for ${family}`);
  if (!kind.startsWith('ipvs')) return new IptablesBackend({ iptables, log: silent });
  const device = new RealServiceDevice({ name: serviceDevice, prefix });
  const ports = { iptables, ipvs: new RealIpvs({ prefix }), ipset: new RealIpset({ prefix }), device };
  return new IpvsBackend({ scheduler: 'rr', excludeCIDRs: [] }, { ...ports, log: silent });
}

/** A Service loop that has written its first rules; without views those of the table. */
export async function loopOf(
  backend: ProxyBackend,
  family: IPFamily,
  views?: { readonly services: FakeView<Service>; readonly slices: FakeView<EndpointSlice> },
): Promise<ServiceLoop> {
  const plan = plans[family];
  const world = tableWorld(family);
  const { services, slices } = views ?? {
    services: new FakeView(world.services),
    slices: new FakeView(world.slices),
  };
  const loop = new ServiceLoop(
    { facts: tableFacts(family) },
    {
      clock: new SystemClock(),
      log: silent,
      metrics: new ProxyMetrics(new Metrics()),
      services,
      slices,
      backends: [backend],
      net: new FakeNet({}, [plan.node, plan.node2, plan.bridge]),
    },
  );
  await loop.start();
  await loop.settled();
  return loop;
}

/** In the words of the table. */
function wordOf(row: Row, family: IPFamily, answer: string): string {
  if (answer === 'ECONNREFUSED') return 'reject';
  if (answer === 'TIMEOUT') return 'drop';
  // The way out sends back what it gets, with a message of its own.
  if (['EHOSTUNREACH', 'EACCES', 'ENETUNREACH'].includes(answer)) return 'pass';
  const [address = '', port = '', seen = ''] = answer.split(' ');
  const number = row.protocol === 'udp' && port === '5353' && row.direct ? '5353' : port;
  return endText(plans[family], address, Number(number), seen !== row.source);
}

/** Rows that every backend answers alike: pods, the world and the node, to each kind of address. */
const moveRows: readonly string[] = [
  ...['pod tcp vip:1:80', 'p1 tcp vip:3:80', 'out tcp vip:3:80', 'node tcp vip:4:80', 'pod udp vip:13:53'],
  ...['out tcp ext:4:80', 'out tcp lb:5:80', 'out tcp node:30004', 'node tcp node:30004', 'out udp node:30013'],
];

/**
 * Goes from one backend to the next while clients go on asking, with what the daemon does: the new rules come, then the old
 * ones go. Every answer has to be as ever.
 */
export async function runMoves(
  lab: TableLab,
  kinds: readonly TableKind[],
  family: IPFamily,
): Promise<{ readonly asked: number; readonly wrong: readonly string[] }> {
  if (kinds.some((kind) => kind.startsWith('ipvs'))) {
    await lab.sysctls(ipvsWishes({ strictARP: true, kernelRelease: release() }));
  }
  const rows = tableRows(family, 'nftables').filter(({ name }) => moveRows.includes(name));
  if (rows.length !== moveRows.length) throw new Error('not all rows are in the table');
  const wrong: string[] = [];
  let asked = 0;
  let now: TableKind | undefined;
  const askOnce = async (): Promise<void> => {
    for (const [row, answers] of await lab.ask(rows)) {
      asked += answers.length;
      const got = sorted(answers.map((answer) => wordOf(row, family, answer)).join(' '));
      if (got !== row.expected) wrong.push(`at ${now} ${row.name}: ${got}, not ${row.expected}`);
    }
  };
  /** Asks again and again while something happens, and once more when it has. */
  const whileAsking = async (work: () => Promise<void>): Promise<void> => {
    let isOver = false;
    const happening = work().finally(() => {
      isOver = true;
    });
    while (!isOver) await askOnce();
    await happening;
    await askOnce();
  };
  let last: { readonly loop: ServiceLoop; readonly backend: ProxyBackend; readonly kind: TableKind } | undefined;
  for (const kind of kinds) {
    const backend = await backendOf(lab, kind, family);
    const before = last;
    if (before === undefined) {
      now = kind;
      last = { loop: await loopOf(backend, family), backend, kind };
      await askOnce();
      continue;
    }
    // The daemon has ended, and a new one comes.
    await before.loop.close();
    now = kind;
    await whileAsking(async () => {
      last = { loop: await loopOf(backend, family), backend, kind };
      const isSameChains = kind !== 'nftables' && before.kind !== 'nftables';
      if (before.backend instanceof IpvsBackend) {
        const servers = await leaveIpvs(
          { nodeIPs: { [family]: plans[family].node } },
          {
            ipvs: new RealIpvs({ prefix: lab.prefix }),
            device: new RealServiceDevice({ name: serviceDevice, prefix: lab.prefix }),
            clock: new SystemClock(),
            log: silent,
          },
        );
        await before.backend.cleanup(kind !== 'nftables');
        await forgetFlows(servers, { conntrack: new RealConntrack({ prefix: lab.prefix }), clock: new SystemClock() });
      } else if (!isSameChains) await before.backend.cleanup();
    });
  }
  await last?.loop.cleanup();
  await lab.forget();
  return { asked, wrong };
}

/** Sends the packets of all rows through one backend, of both families or some, and takes its rules away again. */
export async function runTable(
  lab: TableLab,
  kind: TableKind,
  families: readonly IPFamily[] = both,
): Promise<{ readonly rows: number; readonly wrong: readonly string[] }> {
  if (kind.startsWith('ipvs')) {
    await lab.sysctls(ipvsWishes({ strictARP: true, kernelRelease: release() }));
  }
  const loops = await Promise.all(families.map(async (family) => loopOf(await backendOf(lab, kind, family), family)));
  const wrong: string[] = [];
  let count = 0;
  for (const family of families) {
    const rows = tableRows(family, kind === 'nftables' ? 'nftables' : kind.startsWith('ipvs') ? 'ipvs' : 'iptables');
    count += rows.length;
    for (const [row, answers] of await lab.ask(rows)) {
      const got = sorted(answers.map((answer) => wordOf(row, family, answer)).join(' '));
      if (got !== row.expected) wrong.push(`${family} ${row.name}: ${got}, not ${row.expected}`);
    }
  }
  for (const loop of loops) await loop.cleanup();
  await lab.forget();
  return { rows: count, wrong };
}
