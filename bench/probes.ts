import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import type { ExecResult } from '../src/host/cri/port.ts';
import { RealProbe } from '../src/host/probe/real.ts';
import { SystemClock } from '../src/kit/clock.ts';
import { CodedError, messageOf } from '../src/kit/errors.ts';
import { silent } from '../src/kit/log.ts';
import { Metrics } from '../src/kit/metrics.ts';
import type { Probe } from '../src/model/pod.ts';
import { ProbeScheduler } from '../src/pods/probes/probe-scheduler.ts';

/**
 * How late probes start at a given rate, and what they cost: the whole path of the agent (wheel, state, sockets, metrics)
 * against servers in a process of their own on loopback. Each probe has a period of ten seconds, as Kubernetes defaults
 * to, so a rate of 1,000 a second is ten thousand probes.
 */
interface ProbeBenchResult {
  readonly kind: string;
  readonly probes: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly latenessP50Ms: number;
  readonly latenessP99Ms: number;
  readonly latenessMaxMs: number;
  readonly durationP50Ms: number;
  readonly durationP99Ms: number;
  readonly cpuPercent: number;
  readonly rssMiB: number;
}

const PERIOD_SECONDS = 10;
const SERVERS = 8;
const PER_POD = 3;

// Plain JavaScript for `node -e`, so that the benchmark is one file wherever it is bundled to.
const SERVER = `
const http = require('node:http'); const net = require('node:net');
const ports = []; let open = 0;
const listen = (server) => { open++; server.listen(0, '0.0.0.0', 1024, () => { ports.push(server.address().port); if (--open === 0) console.log(ports.join(' ')); }); };
for (let i = 0; i < ${SERVERS}; i++) listen(http.createServer((_, response) => response.end('ok')));
process.stdin.resume(); process.stdin.on('end', () => process.exit(0));
`;

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rate: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '20' },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const rate = Number(values.rate);
  const seconds = Number(values.seconds);
  if (!(rate > 0) || !(seconds > 0)) {
    throw new CodedError(
      'InvalidArgument',
      `--rate ${values.rate} and --seconds ${values.seconds} need positive numbers`,
    );
  }
  const server = spawn(process.execPath, ['-e', SERVER], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const ports = line.toString('utf8').trim().split(' ').map(Number);
    const results: ProbeBenchResult[] = [];
    for (const kind of ['httpGet', 'tcpSocket'] as const) {
      if (!values.json) console.log(`${kind}: ${rate} probes a second for ${seconds} s …`);
      results.push(await measure(kind, rate, seconds, ports));
    }
    if (values.json) console.log(JSON.stringify(results));
    else print(results);
  } finally {
    server.stdin.end();
    if (server.exitCode === null) await once(server, 'exit');
  }
}

async function measure(
  kind: 'httpGet' | 'tcpSocket',
  rate: number,
  seconds: number,
  ports: readonly number[],
): Promise<ProbeBenchResult> {
  const clock = new SystemClock();
  const network = new RealProbe({ kubernetesVersion: '1.36' }, { clock });
  const lateness: number[] = [];
  const durations: number[] = [];
  let failed = 0;
  let measuring = false;
  const timed = async (attempt: Promise<{ verdict: string }>): Promise<void> => {
    const began = performance.now();
    const { verdict } = await attempt;
    if (!measuring) return;
    durations.push(performance.now() - began);
    if (verdict !== 'success') failed++;
  };
  const scheduler = new ProbeScheduler(
    {},
    {
      clock,
      probes: {
        httpGet: async (request) => {
          const reply = network.httpGet(request);
          await timed(reply);
          return reply;
        },
        tcpSocket: async (request) => {
          const reply = network.tcpSocket(request);
          await timed(reply);
          return reply;
        },
        grpc: (request) => network.grpc(request),
        httpHook: (request, signal) => network.httpHook(request, signal),
        close: () => network.close(),
      },
      runtime: {
        execSync: (): Promise<ExecResult> => Promise.reject(new CodedError('Unimplemented', 'no exec probes here')),
      },
      events: { event: () => {} },
      metrics: new Metrics(),
      log: silent,
      observeLateness: (lateMs) => {
        if (measuring) lateness.push(lateMs);
      },
    },
  );
  const probes = rate * PERIOD_SECONDS;
  for (let index = 0; index < probes; index += PER_POD) {
    const uid = `uid-${index}`;
    const containers = Array.from({ length: Math.min(PER_POD, probes - index) }, (_, nth) => `c${nth}`);
    const port = ports[(index / PER_POD) % ports.length] ?? 0;
    const target: Probe = kind === 'httpGet' ? { httpGet: { path: '/', port } } : { tcpSocket: { port } };
    const probe: Probe = { ...target, periodSeconds: PERIOD_SECONDS, timeoutSeconds: 5 };
    scheduler.set(
      uid,
      containers.map((name) => ({
        pod: {
          metadata: { namespace: 'bench', name: uid, uid },
          spec: { containers: containers.map((other) => ({ name: other })) },
        },
        containerName: name,
        containerId: `${uid}-${name}`,
        // Several loopback addresses, because one has too few ports for so many connections a minute.
        podIP: `127.0.0.${1 + (index % 50)}`,
        startedAt: Date.now() - 3_600_000,
        probes: { readiness: probe },
        adopted: { ready: true, started: true },
        terminating: false,
      })),
    );
  }
  await clock.sleep(PERIOD_SECONDS * 1000 + 500);
  measuring = true;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await clock.sleep(seconds * 1000);
  measuring = false;
  const used = process.cpuUsage(cpu);
  const tookMs = performance.now() - began;
  const rssMiB = process.memoryUsage.rss() / 2 ** 20;
  await scheduler.close();
  network.close();
  return {
    kind,
    probes,
    perSecond: round(lateness.length / (tookMs / 1000)),
    failed,
    latenessP50Ms: quantile(lateness, 0.5),
    latenessP99Ms: quantile(lateness, 0.99),
    latenessMaxMs: quantile(lateness, 1),
    durationP50Ms: quantile(durations, 0.5),
    durationP99Ms: quantile(durations, 0.99),
    cpuPercent: round((used.user + used.system) / 10 / tookMs),
    rssMiB: round(rssMiB),
  };
}

function quantile(samples: number[], q: number): number {
  samples.sort((a, b) => a - b);
  return round(samples[Math.min(samples.length - 1, Math.floor(samples.length * q))] ?? Number.NaN);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function print(results: readonly ProbeBenchResult[]): void {
  const columns: readonly (readonly [string, (result: ProbeBenchResult) => string])[] = [
    ['probe', (r) => r.kind],
    ['probes', (r) => String(r.probes)],
    ['per second', (r) => r.perSecond.toFixed(0)],
    ['failed', (r) => String(r.failed)],
    ['lateness p50 / p99 / max ms', (r) => `${r.latenessP50Ms} / ${r.latenessP99Ms} / ${r.latenessMaxMs}`],
    ['duration p50 / p99 ms', (r) => `${r.durationP50Ms} / ${r.durationP99Ms}`],
    ['CPU %', (r) => r.cpuPercent.toFixed(1)],
    ['RSS MiB', (r) => r.rssMiB.toFixed(0)],
  ];
  const rows = [columns.map(([title]) => title), ...results.map((result) => columns.map(([, text]) => text(result)))];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`bench probes: ${messageOf(error)}`);
  process.exitCode = 1;
}
