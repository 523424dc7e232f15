import { release } from 'node:os';
import { RealIpset } from '../../../src/host/ipset/real.ts';
import { openIptables } from '../../../src/host/iptables/real.ts';
import { RealIpvs } from '../../../src/host/ipvs/real.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { RealServiceDevice } from '../../../src/host/service-device/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { IPFamily } from '../../../src/model/service.ts';
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

async function backendOf(lab: TableLab, kind: TableKind, family: IPFamily): Promise<ProxyBackend> {
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

async function loopOf(lab: TableLab, kind: TableKind, family: IPFamily): Promise<ServiceLoop> {
  const plan = plans[family];
  const { services, slices } = tableWorld(family);
  const loop = new ServiceLoop(
    { facts: tableFacts(family) },
    {
      clock: new SystemClock(),
      log: silent,
      metrics: new ProxyMetrics(new Metrics()),
      services: new FakeView(services),
      slices: new FakeView(slices),
      backends: [await backendOf(lab, kind, family)],
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

/** Sends the packets of all rows through one backend, of both families or some, and takes its rules away again. */
export async function runTable(
  lab: TableLab,
  kind: TableKind,
  families: readonly IPFamily[] = both,
): Promise<{ readonly rows: number; readonly wrong: readonly string[] }> {
  if (kind.startsWith('ipvs')) {
    await lab.sysctls(ipvsWishes({ strictARP: true, kernelRelease: release() }));
  }
  const loops = await Promise.all(families.map((family) => loopOf(lab, kind, family)));
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
