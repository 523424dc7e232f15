import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TableLab } from './table-lab.ts';
import { runMoves, runTable } from './table-run.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('the table of packets with real ones', () => {
  const lab = new TableLab(String(process.pid));

  beforeAll(() => lab.open(), 60_000);
  afterAll(() => lab.close());

  // IPVS is not in every kernel: it has its turn in the virtual machine (test/vm/guest).
  it.each(['nftables', 'nft', 'legacy'] as const)(
    '%s: each packet of both families goes where the table says',
    async (kind) => {
      const { rows, wrong } = await runTable(lab, kind);
      expect(wrong).toEqual([]);
      expect(rows).toBeGreaterThanOrEqual(600);
    },
    90_000,
  );

  it('from iptables to nftables and back: no packet goes elsewhere, whoever asks meanwhile', async () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const { asked, wrong } = await runMoves(lab, ['nft', 'nftables', 'nft'], family);
      expect(wrong).toEqual([]);
      expect(asked).toBeGreaterThan(60);
    }
  }, 90_000);
});
