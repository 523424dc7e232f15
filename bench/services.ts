import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import type { IpsetPort } from '../src/host/ipset/port.ts';
import { RealIpset } from '../src/host/ipset/real.ts';
import type { IptablesPort } from '../src/host/iptables/port.ts';
import { openIptables } from '../src/host/iptables/real.ts';
import type { IpvsPort } from '../src/host/ipvs/port.ts';
import { RealIpvs } from '../src/host/ipvs/real.ts';
import { FakeNet } from '../src/host/net/fake.ts';
import { FastNftables } from '../src/host/nftables/fast.ts';
import type { NftablesPort } from '../src/host/nftables/port.ts';
import { openNftables } from '../src/host/nftables/real.ts';
import { NftSession } from '../src/host/nftables/session.ts';
import { OwnWriters } from '../src/host/rule-watch/own-writers.ts';
import { XtablesMonitor } from '../src/host/rule-watch/real.ts';
import { RealServiceDevice } from '../src/host/service-device/real.ts';
import { SystemClock } from '../src/kit/clock.ts';
import { silent } from '../src/kit/log.ts';
import { Metrics } from '../src/kit/metrics.ts';
import type { EndpointSlice, Service } from '../src/model/service.ts';
import { IptablesBackend } from '../src/services/act/iptables-backend.ts';
import { IpvsBackend } from '../src/services/act/ipvs-backend.ts';
import { NftablesBackend } from '../src/services/act/nftables-backend.ts';
import { ServiceLoop } from '../src/services/loop.ts';
import type { ProxyBackend, RuleChange } from '../src/services/port.ts';
import { ProxyMetrics } from '../src/services/proxy-metrics.ts';
import { serviceDevice } from '../src/services/render/ipvs/sets.ts';
import { createNetns, deleteNetns } from '../test/harness/netns.ts';
import { tryCommand } from '../test/harness/run-command.ts';
import { unitStart } from '../test/harness/unit-start.ts';
import { FakeView } from '../test/unit/services/support/fake-view.ts';
import { facts } from '../test/unit/services/support/objects.ts';
import { type BlackBoxResult, blackBox } from './services/black-box.ts';
import { compactSlice, serviceAt } from './services/objects.ts';

// How long the kernel's Service rules take, from the moment that the watch tells of a change to the kernel's commit,
// through everything that the daemon does in between: all of them from nothing; one endpoint more or less, while all is
// quiet and while other changes stream in. Beside it the floor: the writing command, run for next to nothing.

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10,100,1000,10000' },
    backend: { type: 'string', default: 'nftables,nft,legacy' },
    changes: { type: 'string', default: '200' },
    /** The whole program against an API server, seen from outside, and beside it a kube-proxy of this path. */
    'black-box': { type: 'boolean', default: false },
    peer: { type: 'string' },
    /** Other changes a second, for the second half of the measurement. */
    rate: { type: 'string', default: '50' },
  },
});
const changes = Number(values.changes);
const rate = Number(values.rate);
const clock = new SystemClock();
const say = (text: string): void => void process.stdout.write(`${text}\n`);

interface Subject {
  readonly backend: ProxyBackend;
  /** Runs the writing command for next to nothing. */
  floor(): Promise<unknown>;
  readonly watch: CommandWatch;
  /** CPU milliseconds of a process that stays beside this one. */
  otherCpuMs(): number;
  otherRss(): number;
  close(): Promise<void>;
}

async function subject(kind: string, prefix: readonly string[]): Promise<Subject> {
  // As the daemon does.
  const own = new OwnWriters();
  const listen = (): XtablesMonitor => new XtablesMonitor({ prefix }, { clock, log: silent, own });
  if (kind === 'nftables' || kind === 'nft-f') {
    const plain = await openNftables({ family: 'IPv4', prefix, started: own.note });
    if (plain === undefined) throw new Error('no nftables here');
    const session = new NftSession({ prefix, started: own.note }, { clock });
    const nftables = kind === 'nft-f' ? plain : new FastNftables({ plain, session, log: silent });
    const watch = new CommandWatch();
    const monitor = listen();
    const watched: NftablesPort = Object.create(nftables, {
      apply: { value: (text: string, signal?: AbortSignal) => watch.run(() => nftables.apply(text, signal)) },
    });
    return {
      backend: new NftablesBackend({ nftables: watched, log: silent, watch: monitor }),
      watch,
      floor: () =>
        kind === 'nft-f'
          ? tryCommand([...prefix, 'nft', '-f', '-'], { input: 'add table ip bench\n' })
          : session.ask('add table ip bench'),
      otherCpuMs: () => cpuMsOf(session.pid) + cpuMsOf(monitor.pid),
      otherRss: () => rssOf(session.pid) + rssOf(monitor.pid),
      close: async () => {
        await session.close();
        await monitor.close();
      },
    };
  }
  if (kind === 'ipvs') return await ipvsSubject(prefix);
  const flavour = kind === 'legacy' ? 'legacy' : 'nft';
  const iptables = await openIptables({ family: 'IPv4', flavour, prefix, started: own.note });
  if (iptables === undefined) throw new Error(`no iptables-${flavour} here`);
  const watch = new CommandWatch();
  const watched: IptablesPort = Object.create(iptables, {
    restore: { value: (text: string, signal?: AbortSignal) => watch.run(() => iptables.restore(text, signal)) },
  });
  const monitor = flavour === 'nft' ? listen() : undefined;
  return {
    backend: new IptablesBackend({ iptables: watched, log: silent, ...(monitor && { watch: monitor }) }),
    watch,
    floor: () =>
      tryCommand([...prefix, `iptables-${flavour}-restore`, '--noflush'], { input: '*nat\n:BENCH -\nCOMMIT\n' }),
    otherCpuMs: () => cpuMsOf(monitor?.pid),
    otherRss: () => rssOf(monitor?.pid),
    close: async () => monitor?.close(),
  };
}

/** For a kernel with ip_vs. */
async function ipvsSubject(prefix: readonly string[]): Promise<Subject> {
  const iptables = await openIptables({ family: 'IPv4', prefix });
  if (iptables === undefined) throw new Error('no iptables here');
  const [ipvs, ipset] = [new RealIpvs({ prefix }), new RealIpset({ prefix })];
  const watch = new CommandWatch();
  const restoring = (port: RealIpvs | RealIpset) => ({
    value: (text: string, signal?: AbortSignal) => watch.run(() => port.restore(text, signal)),
  });
  const ports = {
    iptables,
    ipvs: Object.create(ipvs, { restore: restoring(ipvs) }) as IpvsPort,
    ipset: Object.create(ipset, { restore: restoring(ipset) }) as IpsetPort,
    device: new RealServiceDevice({ name: serviceDevice, prefix }),
  };
  const server = '-t 192.0.2.250:9';
  return {
    backend: new IpvsBackend({ scheduler: 'rr', excludeCIDRs: [] }, { ...ports, log: silent }),
    watch,
    floor: () => tryCommand([...prefix, 'ipvsadm', '-R'], { input: `-A ${server} -s rr\n-D ${server}\n` }),
    otherCpuMs: () => 0,
    otherRss: () => 0,
    close: async () => {},
  };
}

function cpuMsOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function rssOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

/** How long the writing command runs, with the text of each change: the rest is deckhand's. */
class CommandWatch {
  ms = 0;

  async run(command: () => Promise<void>): Promise<void> {
    this.ms += await timed(command);
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function percentile(numbers: readonly number[], part: number): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN).toFixed(2);
}

const shown = (times: readonly number[]): string => `p50 ${percentile(times, 0.5)} p99 ${percentile(times, 0.99)} ms`;

/** The next sync to start takes what changes now; others that change meanwhile are not waited for. */
function watchSyncs(backend: ProxyBackend): { watched: ProxyBackend; nextSync(): Promise<void> } {
  let started = 0;
  const ended = new EventEmitter();
  ended.setMaxListeners(0);
  const watched: ProxyBackend = Object.create(backend, {
    sync: {
      value: async (change: RuleChange, signal?: AbortSignal) => {
        const turn = ++started;
        try {
          return await backend.sync(change, signal);
        } finally {
          ended.emit(String(turn));
        }
      },
    },
  });
  return {
    watched,
    nextSync: async () => {
      await once(ended, String(started + 1));
    },
  };
}

async function measure(kind: string, amount: number): Promise<void> {
  const netns = `dhbench-${process.pid}`;
  await createNetns(netns);
  const prefix = ['nsenter', `--net=/run/netns/${netns}`];
  const { backend, floor, watch, otherCpuMs, otherRss, close } = await subject(kind, prefix);
  const services = new FakeView<Service>();
  const slices = new FakeView<EndpointSlice>();
  for (let index = 0; index < amount; index++) {
    services.put(serviceAt(index));
    // One Service with three endpoints is there throughout, as in any cluster.
    slices.put(compactSlice(index, index === 0 ? 3 : 2));
  }
  const { watched, nextSync } = watchSyncs(backend);
  const loop = new ServiceLoop(
    { facts: { ...facts, localDetector: { kind: 'clusterCIDR', cidrs: ['11.0.0.0/8'] } }, minSyncMs: 0 },
    {
      clock,
      log: silent,
      metrics: new ProxyMetrics(new Metrics()),
      services,
      slices,
      backends: [watched],
      net: new FakeNet({}, ['192.168.0.2', '127.0.0.1']),
    },
  );
  try {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const cold = await timed(async () => {
      await loop.start();
      await loop.settled();
    });
    delay.disable();
    const change = async (turn: number): Promise<void> => {
      const inKernel = nextSync();
      slices.put(compactSlice(1 + (Math.floor(turn / 2) % Math.max(1, amount - 1)), turn % 2 === 0 ? 3 : 2));
      await inKernel;
    };
    for (let turn = 0; turn < 4; turn++) await change(turn);
    const floors: number[] = [];
    for (let turn = 0; turn < changes; turn++) floors.push(await timed(floor));
    const cpu = process.cpuUsage();
    const other = otherCpuMs();
    const quiet: number[] = [];
    const commands: number[] = [];
    for (let turn = 0; turn < changes; turn++) {
      const before = watch.ms;
      quiet.push(await timed(() => change(turn)));
      commands.push(watch.ms - before);
    }
    const ratios = quiet.map((time, turn) => time / (commands[turn] ?? 0));
    const ratio = ` (${percentile(ratios, 0.5)} times the command with the same text: ${shown(commands)})`;
    const { user, system } = process.cpuUsage(cpu);
    const cpuPerThousand = (((user + system) / 1000 + otherCpuMs() - other) / changes).toFixed(2);

    const busy: number[] = [];
    let turns = 0;
    const stream = setInterval(() => {
      turns++;
      slices.put(
        compactSlice(Math.floor(amount / 2) + (turns % Math.max(1, Math.floor(amount / 2) - 1)), 2 + (turns & 1)),
      );
    }, 1000 / rate);
    for (let turn = 0; turn < changes / 2; turn++) {
      await clock.sleep(13);
      busy.push(await timed(() => change(turn)));
    }
    clearInterval(stream);
    await loop.settled();
    const rss = Math.round(process.memoryUsage.rss() / 1024 / 1024);
    say(
      `${kind.padEnd(9)} ${String(amount).padStart(6)} Services: cold ${Math.round(cold)} ms (longest stall ` +
        `${Math.round(delay.max / 1e6)} ms); one endpoint: ${shown(quiet)}${ratio}; with ${rate} changes a second beside: ` +
        `${shown(busy)}; the command alone, for next to nothing: ${shown(floors)}; CPU ${cpuPerThousand} s per 1,000 changes; ` +
        `RSS ${rss} MiB + ${otherRss().toFixed(1)} MiB`,
    );
  } finally {
    await loop.close();
    await close();
    await deleteNetns(netns);
  }
}

async function measureBlackBox(amount: number): Promise<void> {
  const mode = values.backend.split(',')[0] === 'nftables' ? 'nftables' : 'iptables';
  const subjects = [undefined, ...(values.peer === undefined ? [] : [values.peer])];
  let floor: BlackBoxResult | undefined;
  for (const peer of subjects) {
    const result = await blackBox({ services: amount, changes: Math.min(changes, 50), mode, peer });
    const ratio =
      floor === undefined ? '' : ` (deckhand's is ${(median(result) / median(floor)).toFixed(0)} times faster)`;
    floor ??= result;
    say(
      `${mode} ${peer === undefined ? 'deckhand' : 'kube-proxy'} ${String(amount).padStart(6)} Services: all there ` +
        `${Math.round(result.coldMs)} ms after the start; accepted write to first connection: ` +
        `${shown(result.changesMs)}${ratio}; CPU ${result.cpuMsPerChange.toFixed(1)} ms each; RSS ${Math.round(result.rssMiB)} MiB`,
    );
  }
}

const median = ({ changesMs }: BlackBoxResult): number => Number(percentile(changesMs, 0.5));

/** With the memory limits of the daemon, which the rules' texts and maps share there: they cost time, too. */
async function asTheUnitStarts(): Promise<boolean> {
  const { env, flags } = unitStart();
  if (flags.every((flag) => process.execArgv.includes(flag))) {
    // As src/main.ts does.
    setFlagsFromString('--optimize-for-size');
    return true;
  }
  const argv = [...process.execArgv, ...flags, ...process.argv.slice(1)];
  const child = spawn(process.execPath, argv, { stdio: 'inherit', env: { ...process.env, ...env } });
  const [code] = await once(child, 'exit');
  process.exitCode = code ?? 1;
  return false;
}

for (const amount of (await asTheUnitStarts()) ? values.services.split(',').map(Number) : []) {
  if (values['black-box'] || values.peer !== undefined) {
    await measureBlackBox(amount);
    continue;
  }
  for (const kind of values.backend.split(',')) await measure(kind, amount);
}
