import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openIptables } from '../../../src/host/iptables/real.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { IPFamily } from '../../../src/model/service.ts';
import { IptablesBackend } from '../../../src/services/act/iptables-backend.ts';
import { NftablesBackend } from '../../../src/services/act/nftables-backend.ts';
import { ServiceLoop } from '../../../src/services/loop.ts';
import type { ProxyBackend } from '../../../src/services/port.ts';
import { ProxyMetrics } from '../../../src/services/proxy-metrics.ts';
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
import { TableLab } from './table-lab.ts';

const isRoot = process.getuid?.() === 0;
const families = ['IPv4', 'IPv6'] as const;

describe.skipIf(!isRoot)('the table of packets with real ones', () => {
  const lab = new TableLab(String(process.pid));
  const clock = new SystemClock();

  beforeAll(() => lab.open(), 60_000);
  afterAll(() => lab.close());

  async function backendOf(kind: 'nftables' | 'nft' | 'legacy', family: IPFamily): Promise<ProxyBackend> {
    const { prefix } = lab;
    if (kind === 'nftables') {
      const nftables = await openNftables({ family, prefix });
      if (nftables === undefined) throw new Error(`no nftables for ${family}`);
      return new NftablesBackend({ nftables, log: silent });
    }
    const iptables = await openIptables({ family, flavour: kind, prefix });
    if (iptables === undefined) throw new Error(`no iptables-${kind} for ${family}`);
    return new IptablesBackend({ iptables, log: silent });
  }

  async function loopOf(kind: 'nftables' | 'nft' | 'legacy', family: IPFamily): Promise<ServiceLoop> {
    const plan = plans[family];
    const { services, slices } = tableWorld(family);
    const loop = new ServiceLoop(
      { facts: tableFacts(family) },
      {
        clock,
        log: silent,
        metrics: new ProxyMetrics(new Metrics()),
        services: new FakeView(services),
        slices: new FakeView(slices),
        backends: [await backendOf(kind, family)],
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

  it.each(['nftables', 'nft', 'legacy'] as const)(
    '%s: each packet of both families goes where the table says',
    async (kind) => {
      const loops = await Promise.all(families.map((family) => loopOf(kind, family)));
      const wrong: string[] = [];
      let count = 0;
      for (const family of families) {
        const rows = tableRows(family, kind === 'nftables' ? 'nftables' : 'iptables');
        count += rows.length;
        for (const [row, answers] of await lab.ask(rows)) {
          const got = sorted(answers.map((answer) => wordOf(row, family, answer)).join(' '));
          if (got !== row.expected) wrong.push(`${family} ${row.name}: ${got}, not ${row.expected}`);
        }
      }
      for (const loop of loops) await loop.cleanup();
      await lab.forget();
      expect(wrong).toEqual([]);
      expect(count).toBeGreaterThanOrEqual(600);
    },
    90_000,
  );
});
