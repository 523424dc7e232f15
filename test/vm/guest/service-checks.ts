import { release } from 'node:os';
import { RealIpvs } from '../../../src/host/ipvs/real.ts';
import { RealServiceDevice } from '../../../src/host/service-device/real.ts';
import type { IPFamily } from '../../../src/model/service.ts';
import { ipvsWishes } from '../../../src/services/act/kernel-settings.ts';
import { serviceDevice } from '../../../src/services/render/ipvs/sets.ts';
import { ipvsContract, kernelSourceOf } from '../../contract/ipvs.contract.ts';
import { createNetns, deleteNetns, inNetns } from '../../harness/netns.ts';
import { TableLab } from '../../host/services/table-lab.ts';
import { runMoves, runTable, type TableKind } from '../../host/services/table-run.ts';
import type { Check } from './checks.ts';
import { ipvsLife } from './ipvs-life.ts';
import { run } from './machine.ts';
import { sctp } from './sctp.ts';

/** An emulated processor is that much slower, on a machine that does other things as well. */
const PATIENCE = 4;
const TABLE_MS = 20 * 60_000;
const families = ['IPv4', 'IPv6'] as const;
const MODULES = ['ip_vs', 'ip_vs_rr', 'br_netfilter', 'dummy', 'xt_ipvs', 'xt_set', 'nf_conntrack'];

let labs = 0;

async function withLab<T>(work: (lab: TableLab) => Promise<T>): Promise<T> {
  for (const module of MODULES) await run('modprobe', module);
  const lab = new TableLab(`vm${++labs}`, PATIENCE);
  try {
    await lab.open();
    return await work(lab);
  } finally {
    await lab.close();
  }
}

const table = (kind: TableKind, family: IPFamily): Check => ({
  title: `${kind}, ${family}: each packet of the table goes where it says`,
  limitMs: TABLE_MS,
  run: () =>
    withLab(async (lab) => {
      const { rows, wrong } = await runTable(lab, kind, [family]);
      if (wrong.length > 0) throw new Error(`${wrong.length} of ${rows} rows: ${wrong.join('\n')}`);
      return `${rows} rows`;
    }),
});

const contract: Check = {
  title: 'ipvs contract: the kernel does as the fake does',
  run: async () => {
    for (const module of MODULES) await run('modprobe', module);
    const failures: string[] = [];
    for (const [index, { title, run: see }] of ipvsContract.entries()) {
      const name = `dhipvs-${index}`;
      await createNetns(name);
      try {
        const prefix = inNetns(name, []);
        const device = new RealServiceDevice({ name: serviceDevice, prefix });
        await see({ ipvs: new RealIpvs({ prefix }), device, sourceOf: kernelSourceOf(prefix) });
      } catch (error) {
        failures.push(`${title}: ${error instanceof Error ? error.message : error}`);
      }
      await deleteNetns(name);
    }
    if (failures.length > 0) throw new Error(`${failures.length} of ${ipvsContract.length}: ${failures.join('\n')}`);
    return `${ipvsContract.length} of them`;
  },
};

const tables = (['ipvs-nft', 'ipvs-legacy', 'nftables'] as const).flatMap((kind) =>
  families.map((family) => table(kind, family)),
);

const moves = families.map(
  (family): Check => ({
    title: `moving, ${family}: from iptables to ipvs, to nftables, to ipvs, to iptables, while clients go on asking`,
    limitMs: TABLE_MS,
    run: () =>
      withLab(async (lab) => {
        const { asked, wrong } = await runMoves(lab, ['nft', 'ipvs-nft', 'nftables', 'ipvs-nft', 'nft'], family);
        if (wrong.length > 0) throw new Error(`${wrong.length} of ${asked} answers: ${wrong.slice(0, 20).join('\n')}`);
        return `${asked} different answers, all as ever`;
      }),
  }),
);

const life: Check = {
  title: 'ipvs life: a connection outlives its endpoint’s going, and a client with affinity stays',
  run: () =>
    withLab(async (lab) => {
      await lab.sysctls(ipvsWishes({ strictARP: true, kernelRelease: release() }));
      return ipvsLife(lab);
    }),
};

const associations: Check = {
  title: 'SCTP: associations reach the endpoints of a Service, in every mode and family',
  limitMs: TABLE_MS,
  run: async () => {
    await run('modprobe', 'sctp');
    const seen: string[] = [];
    for (const kind of ['nftables', 'nft', 'legacy', 'ipvs-nft'] as const) {
      await withLab(async (lab) => {
        if (kind === 'ipvs-nft') await lab.sysctls(ipvsWishes({ strictARP: true, kernelRelease: release() }));
        for (const family of families) seen.push(await sctp(lab, kind, family));
      });
    }
    return seen.join('; ');
  },
};

/** Emulated, the figures are of use beside each other. */
export const benchChecks: readonly Check[] = [100, 1_000, 5_000].map((amount) => ({
  title: `bench services, ${amount} of them`,
  limitMs: TABLE_MS,
  run: async () => {
    for (const module of MODULES) await run('modprobe', module);
    const argv = ['--services', String(amount), '--backend', 'ipvs,nftables,nft', '--changes', '60'];
    return run('node', '/vmtest/dist/bench-services.mjs', ...argv);
  },
}));

/** Service rules in namespaces of their own, which need nothing of the package. */
export const serviceChecks: readonly Check[] = [contract, life, associations, ...moves, ...tables];
