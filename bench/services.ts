import { parseArgs } from 'node:util';
import { openIptables } from '../src/host/iptables/real.ts';
import { openNftables } from '../src/host/nftables/real.ts';
import { silent } from '../src/kit/log.ts';
import { IptablesBackend } from '../src/services/act/iptables-backend.ts';
import { NftablesBackend } from '../src/services/act/nftables-backend.ts';
import type { ServicePortRules, Target } from '../src/services/model.ts';
import type { BaseRules, ProxyBackend } from '../src/services/port.ts';
import { createNetns, deleteNetns } from '../test/harness/netns.ts';
import { tryCommand } from '../test/harness/run-command.ts';

// How long the kernel's Service rules take: all of them from nothing, and one endpoint more or less among them. Beside
// it the floor: the command that writes them, run for a change that costs it nothing.

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10,100,1000,5000' },
    backend: { type: 'string', default: 'nftables,nft,legacy' },
    changes: { type: 'string', default: '40' },
  },
});
const changes = Number(values.changes);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const base: BaseRules = {
  family: 'IPv4',
  nodePorts: { kind: 'local', loopback: false },
  localDetector: { kind: 'clusterCIDR', cidrs: ['10.128.0.0/9'] },
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: false,
  tcpBeLiberal: false,
};

const addressOf = (net: number, index: number): string =>
  `${net}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;

function rulesOf(index: number, endpoints: number): readonly ServicePortRules[] {
  const targets: Target[] = Array.from({ length: endpoints }, (_, at) => ({
    address: addressOf(11, index * 4 + at + 1),
    port: 8080,
    local: false,
  }));
  return [
    {
      name: `bench/s${index}`,
      service: `bench/s${index}`,
      family: 'IPv4',
      protocol: 'TCP',
      frontends: [{ kind: 'clusterIP', address: addressOf(10, index + 1), port: 80 }],
      affinitySeconds: 0,
      internalPolicy: 'Cluster',
      internal: 'forward',
      externalPolicy: 'Cluster',
      external: 'forward',
      cluster: targets,
      local: [],
      reachable: targets,
      sourceRanges: [],
      sourceRangesHaveNode: false,
      healthCheckNodePort: 0,
      serving: [],
    },
  ];
}

interface Subject {
  readonly backend: ProxyBackend;
  /** Runs the writing command for next to nothing. */
  floor(): Promise<unknown>;
}

async function subject(kind: string, prefix: readonly string[]): Promise<Subject> {
  if (kind === 'nftables') {
    const nftables = await openNftables({ family: 'IPv4', prefix });
    if (nftables === undefined) throw new Error('no nftables here');
    return {
      backend: new NftablesBackend({ nftables, log: silent }),
      floor: () => tryCommand([...prefix, 'nft', '-f', '-'], { input: 'add table ip bench\n' }),
    };
  }
  const flavour = kind === 'legacy' ? 'legacy' : 'nft';
  const iptables = await openIptables({ family: 'IPv4', flavour, prefix });
  if (iptables === undefined) throw new Error(`no iptables-${flavour} here`);
  return {
    backend: new IptablesBackend({ iptables, log: silent }),
    floor: () =>
      tryCommand([...prefix, `iptables-${flavour}-restore`, '--noflush'], { input: '*nat\n:BENCH -\nCOMMIT\n' }),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function percentile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

for (const kind of values.backend.split(',')) {
  for (const amount of values.services.split(',').map(Number)) {
    const netns = `dhbench-${process.pid}`;
    await createNetns(netns);
    try {
      const { backend, floor } = await subject(kind, ['nsenter', `--net=/run/netns/${netns}`]);
      const all = new Map(
        Array.from({ length: amount }, (_, index) => [`bench/s${index}`, rulesOf(index, 2)] as const),
      );
      const cold = await timed(() => backend.sync({ base, services: all, complete: true }));
      // One Service with three endpoints is there throughout, as in any cluster.
      await backend.sync({ base, services: [['bench/s0', rulesOf(0, 3)]], complete: false });
      const times: number[] = [];
      const floors: number[] = [];
      let operations = 0;
      for (let turn = 0; turn < changes; turn++) {
        const index = 1 + (Math.floor(turn / 2) % Math.max(1, amount - 1));
        const services = [[`bench/s${index}`, rulesOf(index, turn % 2 === 0 ? 3 : 2)] as const];
        times.push(
          await timed(async () => {
            operations = (await backend.sync({ base, services, complete: false })).operations;
          }),
        );
        floors.push(await timed(floor));
      }
      const [p50, p99, floor50] = [percentile(times, 0.5), percentile(times, 0.99), percentile(floors, 0.5)];
      const rss = Math.round(process.memoryUsage.rss() / 1024 / 1024);
      say(
        `${kind.padEnd(9)} ${String(amount).padStart(6)} Services: cold ${Math.round(cold)} ms; one endpoint, ` +
          `${operations} operations: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms; the command alone ` +
          `${floor50.toFixed(1)} ms (${(p50 / floor50).toFixed(2)} ×); RSS of the benchmark ${rss} MiB`,
      );
    } finally {
      await deleteNetns(netns);
    }
  }
}
