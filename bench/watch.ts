// npm run bench watch [-- --slices 10000 --services 5000 --watches 104]
// What the caches of a large cluster cost: time until they are complete and memory, with lists that are projected as
// they stream in, against the floor of parsing whole lists and keeping the objects. Then what many watches cost over
// HTTP/1.1 and HTTP/2. The API is a small HTTPS server in a process of its own; each figure comes from a fresh process.
import { type ChildProcess, spawn } from 'node:child_process';
import { createSecureServer } from 'node:http2';
import { get } from 'node:https';
import { parseArgs } from 'node:util';
import { HttpApiClient } from '../src/cluster/api-client.ts';
import { ApiTransport } from '../src/cluster/api-transport.ts';
import { CompactEndpointSlice } from '../src/cluster/compact-endpoint-slice.ts';
import { ConnectionCredentials } from '../src/cluster/connection-credentials.ts';
import { slimService } from '../src/cluster/slim-service.ts';
import { WatchCache } from '../src/cluster/watch-cache.ts';
import { SystemClock } from '../src/kit/clock.ts';
import { silent } from '../src/kit/log.ts';
import type { KubeObject } from '../src/model/meta.ts';
import { resources } from '../src/model/resource.ts';
import type { EndpointSlice, Service } from '../src/model/service.ts';
import { unitStart } from '../test/harness/unit-start.ts';
import { TestPki } from '../test/unit/cluster/test-pki.ts';

const { values } = parseArgs({
  options: {
    slices: { type: 'string', default: '10000' },
    services: { type: 'string', default: '5000' },
    watches: { type: 'string', default: '104' },
    role: { type: 'string', default: 'all' },
    port: { type: 'string', default: '0' },
  },
});
const [slices, services, watches] = [Number(values.slices), Number(values.services), Number(values.watches)];
const NODE = 'node-7';
const MIB = 1024 * 1024;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

// ── the API ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** As a controller and two kubectl users leave it: the larger half is nothing that a node reads. */
const bulk = (name: string) => ({
  uid: `00000000-0000-4000-8000-${name.padStart(12, '0').slice(-12)}`,
  creationTimestamp: '2026-01-02T03:04:05Z',
  generation: 3,
  annotations: { 'kubectl.kubernetes.io/last-applied-configuration': `{"x":"${'y'.repeat(400)}"}` },
  managedFields: ['kube-controller-manager', 'kubectl-client-side-apply'].map((manager) => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    time: '2026-01-02T03:04:05Z',
    fieldsType: 'FieldsV1',
    fieldsV1: { 'f:metadata': { 'f:labels': { '.': {}, 'f:app': {}, 'f:tier': {} } }, 'f:spec': { 'f:ports': {} } },
  })),
});

function sliceAt(index: number): unknown {
  const service = index % Math.max(1, services);
  // Every tenth is full, as those of a large Service are.
  const endpoints = Array.from({ length: index % 10 === 0 ? 100 : 6 }, (_, at) => {
    const name = `pod-${index}-${at}-6f7d8c9b5d-x2x7k`;
    return {
      addresses: [`10.${(index >> 8) & 255}.${index & 255}.${at + 1}`],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${(index + at) % 1000}`,
      targetRef: { kind: 'Pod', namespace: `team-${service % 50}`, name, uid: bulk(name).uid },
      zone: `zone-${at % 3}`,
    };
  });
  const name = `service-${service}-${index.toString(36)}`;
  const labels = {
    'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    'kubernetes.io/service-name': `service-${service}`,
  };
  return {
    metadata: { name, namespace: `team-${service % 50}`, resourceVersion: String(1000 + index), labels, ...bulk(name) },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  };
}

function serviceAt(index: number): unknown {
  const clusterIP = `172.30.${(index >> 8) & 255}.${index & 255}`;
  const name = `service-${index}`;
  return {
    metadata: {
      name,
      namespace: `team-${index % 50}`,
      resourceVersion: String(1000 + index),
      labels: { app: name },
      ...bulk(name),
    },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: { app: name, tier: 'backend' },
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' }],
    },
    status: { loadBalancer: {} },
  };
}

async function serve(): Promise<void> {
  const pki = new TestPki();
  const server = createSecureServer({ ...pki.server(), allowHTTP1: true, settings: { maxConcurrentStreams: 100 } });
  server.on('request', async (request, response) => {
    const url = new URL(request.url, 'https://x');
    response.writeHead(200, { 'content-type': 'application/json' });
    if (url.searchParams.get('watch') === 'true') {
      // A bookmark each minute is all that happens.
      response.write('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"20000"}}}\n');
      return;
    }
    const [count, make] = url.pathname.endsWith('/endpointslices')
      ? [slices, sliceAt]
      : url.pathname.endsWith('/services')
        ? [services, serviceAt]
        : [1, serviceAt];
    const from = Number(url.searchParams.get('continue') ?? 0);
    const to = Math.min(count, from + Number(url.searchParams.get('limit') ?? count));
    const more = to < count ? `,"continue":"${to}"` : '';
    response.write(`{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"20000"${more}},"items":[`);
    for (let at = from; at < to; at++) {
      const free = response.write(`${at > from ? ',' : ''}${JSON.stringify(make(at))}`);
      if (!free) await new Promise((resolve) => response.once('drain', resolve));
    }
    response.end(']}\n');
  });
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as { port: number };
    console.log(JSON.stringify({ port, ca: pki.ca }));
    pki.close();
  });
  process.stdin.resume().on('end', () => process.exit(0));
}

// ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Figures {
  readonly ms: number;
  readonly rssMiB: number;
  readonly peakMiB: number;
  readonly cpuMs: number;
}

/** After the work, the memory that stays: V8 is given a little time, no order. */
async function measured(work: () => Promise<unknown>): Promise<void> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  const held = await work();
  const ms = performance.now() - started;
  const used = process.cpuUsage(cpu);
  await pause(6000);
  const figures: Figures = {
    ms,
    rssMiB: process.memoryUsage.rss() / MIB,
    peakMiB: process.resourceUsage().maxRSS / 1024,
    cpuMs: (used.user + used.system) / 1000,
  };
  console.log(JSON.stringify(figures));
  // What is measured must still be in use.
  if (held === undefined) throw new Error('nothing was held');
  process.exit(0);
}

const clock = new SystemClock();

function client(ca: string, http2: boolean) {
  const connection = { server: new URL(`https://127.0.0.1:${values.port}`), ca };
  const credentials = new ConnectionCredentials(connection, { clock, logger: silent });
  const transport = new ApiTransport({ http2 }, { credentials, clock, env: {} });
  return new HttpApiClient({ connection, qps: -1, requestTimeoutMs: 120_000 }, { clock, transport });
}

async function projected(api: HttpApiClient): Promise<unknown> {
  const never = new AbortController().signal;
  const deps = { api, clock, logger: silent };
  const held = [
    new WatchCache<EndpointSlice, EndpointSlice>(
      { type: resources.endpointslices, project: (raw) => CompactEndpointSlice.of(raw, NODE) },
      deps,
    ),
    new WatchCache<Service, Service>({ type: resources.services, project: slimService }, deps),
  ];
  for (const cache of held) void cache.run(never);
  await Promise.all(held.map((cache) => cache.whenSynced()));
  if (held[0]?.size !== slices || held[1]?.size !== services) throw new Error('the caches are not complete');
  return held;
}

async function whole(ca: string, paged: boolean): Promise<unknown> {
  const held = new Map<string, KubeObject>();
  for (const path of ['/apis/discovery.k8s.io/v1/endpointslices', '/api/v1/services']) {
    let next: string | undefined;
    do {
      const query = paged ? `?limit=500&continue=${next ?? 0}` : '';
      const text = await new Promise<string>((resolve, reject) => {
        get({ host: '127.0.0.1', port: values.port, path: path + query, ca }, (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
        }).on('error', reject);
      });
      const page = JSON.parse(text) as { metadata: { continue?: string }; items: KubeObject[] };
      for (const item of page.items) {
        delete item.metadata.managedFields;
        held.set(`${path}/${item.metadata.namespace}/${item.metadata.name}`, item);
      }
      next = page.metadata.continue;
    } while (next !== undefined);
  }
  return held;
}

async function watching(api: HttpApiClient): Promise<unknown> {
  const open = Array.from({ length: watches }, (_, at) => {
    const stop = new AbortController();
    const cache = new WatchCache<KubeObject, string>(
      {
        type: resources.configmaps,
        namespace: 'team-1',
        fieldSelector: `metadata.name=c${at}`,
        project: (raw) => raw.metadata.uid,
      },
      { api, clock, logger: silent },
    );
    void cache.run(stop.signal);
    return { cache, stop };
  });
  await Promise.all(open.map(({ cache }) => cache.whenSynced()));
  return open;
}

const roles: Readonly<Record<string, (ca: string) => Promise<unknown>>> = {
  'nothing (HTTP/2 client, one request)': (ca) => client(ca, true).list(resources.configmaps, {}),
  'projected as they stream in': (ca) => projected(client(ca, true)),
  'floor: whole pages of 500 parsed, objects kept': (ca) => whole(ca, true),
  'floor: whole lists parsed, objects kept': (ca) => whole(ca, false),
  'watches over HTTP/1.1': (ca) => watching(client(ca, false)),
  'watches over HTTP/2': (ca) => watching(client(ca, true)),
};

// ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function start(role: string, port: number, ca = ''): ChildProcess {
  const sizes = ['--slices', String(slices), '--services', String(services), '--watches', String(watches)];
  const self = process.argv[1] ?? '';
  return spawn(process.execPath, [...unitStart().flags, self, ...sizes, '--role', role, '--port', String(port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...unitStart().env, BENCH_CA: ca },
  });
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.includes('\n')) resolve(text);
    });
    child.on('exit', (code) => reject(new Error(`a process of the benchmark ended with ${code}`)));
  });
}

async function run(): Promise<void> {
  console.log(
    `${slices} EndpointSlices (100 endpoints in each tenth, 6 in the others), ${services} Services, ${watches} watches`,
  );
  const server = start('server', 0);
  try {
    const { port, ca } = JSON.parse(await firstLine(server)) as { port: number; ca: string };
    for (const role of Object.keys(roles)) {
      const { ms, rssMiB, peakMiB, cpuMs } = JSON.parse(await firstLine(start(role, port, ca))) as Figures;
      const text = [
        `${(ms / 1000).toFixed(2)} s`,
        `CPU ${(cpuMs / 1000).toFixed(2)} s`,
        `RSS ${rssMiB.toFixed(1)} MiB`,
        `peak ${peakMiB.toFixed(1)} MiB`,
      ];
      console.log(role.padEnd(50), text.map((one) => one.padStart(16)).join(''));
    }
  } finally {
    server.stdin?.end();
  }
}

if (values.role === 'all') await run();
else if (values.role === 'server') await serve();
else {
  const work = roles[values.role];
  if (work === undefined) throw new Error(`no role ${values.role}`);
  await measured(() => work(process.env['BENCH_CA'] ?? ''));
}
