import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HttpApiClient, type HttpApiClientOptions } from '../../src/cluster/api-client.ts';
import { ApiTransport, type ApiTransportOptions } from '../../src/cluster/api-transport.ts';
import { ConnectionCredentials } from '../../src/cluster/connection-credentials.ts';
import type { CertificateSource, ClientCertificate } from '../../src/cluster/credentials.ts';
import type { ApiConnection } from '../../src/cluster/kubeconfig.ts';
import { WatchCache } from '../../src/cluster/watch-cache.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { Emitter } from '../../src/kit/emitter.ts';
import { CodedError } from '../../src/kit/errors.ts';
import { silent } from '../../src/kit/log.ts';
import type { ConfigMap } from '../../src/model/objects.ts';
import { resources } from '../../src/model/resource.ts';
import { MemoryApi } from '../unit/cluster/memory-api.ts';
import { type RunningServer, serveMemoryApi } from '../unit/cluster/memory-api-server.ts';
import { TestPki } from '../unit/cluster/test-pki.ts';

const { configmaps } = resources;
const clock = new SystemClock();
const where = { namespace: 'default', name: 'a' };

async function eventually(check: () => boolean, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!check()) {
    if (performance.now() > end) throw new Error(`not so after ${ms} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof CodedError ? error.code : `not coded: ${String(error)}`),
  );
}

/** A certificate that a test hands over as the rotation does. */
class HeldCertificate implements CertificateSource {
  private readonly emitter = new Emitter<void>((error) => {
    throw error;
  });
  private held: ClientCertificate | undefined;

  constructor(held?: ClientCertificate) {
    this.held = held;
  }

  current(): ClientCertificate | undefined {
    return this.held;
  }

  subscribe(listener: () => void): () => void {
    return this.emitter.subscribe(listener);
  }

  set(next: ClientCertificate): void {
    this.held = next;
    this.emitter.emit();
  }
}

/** TCP in between, which can freeze: nothing passes any more and nobody is told, as when a peer's host vanishes. */
class Wire {
  readonly sockets = new Set<Socket>();
  frozen = false;
  accepted = 0;
  private readonly server: Server;

  private constructor(target: number) {
    this.server = createServer((near) => {
      this.accepted++;
      const far = connect(target, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(from);
        let frozen = false;
        from.on('data', (chunk) => {
          frozen ||= this.frozen;
          if (!frozen) to.write(chunk);
        });
        from.on('error', () => {});
        from.on('close', () => {
          this.sockets.delete(from);
          if (!frozen && !this.frozen) to.destroy();
        });
      }
    });
  }

  static async open(target: number): Promise<Wire> {
    const wire = new Wire(target);
    await new Promise<void>((resolve) => wire.server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

let pki: TestPki;
let serving: { cert: string; key: string };
beforeAll(() => {
  pki = new TestPki();
  serving = pki.server();
});
afterAll(() => pki.close());

describe.each([
  ['HTTP/2', { http2: true }],
  ['HTTP/1.1', { http2: false }],
] as const)('connections to the API over %s', (name, protocol) => {
  let memory: MemoryApi;
  let server: RunningServer;
  const closers: (() => unknown)[] = [];

  beforeEach(async () => {
    memory = new MemoryApi();
    memory.put<ConfigMap>(configmaps, { metadata: { name: 'a', namespace: 'default' }, data: { x: '1' } });
    server = await serveMemoryApi(
      memory,
      { ...serving, ca: pki.ca },
      { settings: { maxConcurrentStreams: 10 }, ALPNProtocols: ['h2', 'http/1.1'] },
    );
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await server.close();
  });

  const open = (
    connection: Partial<ApiConnection> = {},
    options: {
      transport?: ApiTransportOptions;
      client?: Partial<HttpApiClientOptions>;
      certificates?: CertificateSource;
      env?: Record<string, string>;
    } = {},
  ) => {
    const to: ApiConnection = { server: new URL(server.url), ca: pki.ca, ...connection };
    const env = options.env ?? {};
    const credentials = new ConnectionCredentials(to, { clock, logger: silent, certificates: options.certificates });
    const transport = new ApiTransport({ ...protocol, ...options.transport }, { credentials, clock, env });
    const api = new HttpApiClient({ connection: to, qps: -1, ...options.client }, { clock, transport });
    closers.push(() => {
      api.close();
      transport.close();
      credentials.close();
    });
    return { api, transport, credentials };
  };
  const follow = (api: HttpApiClient, fieldSelector?: string) => {
    const cache = new WatchCache<ConfigMap, string>(
      {
        type: configmaps,
        namespace: 'default',
        project: (raw) => raw.data?.['x'],
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
      },
      { api, clock, logger: silent },
    );
    const stop = new AbortController();
    const done = cache.run(stop.signal);
    closers.push(async () => {
      stop.abort();
      await done;
    });
    return cache;
  };
  const put = (x: string, key = 'a') =>
    memory.put<ConfigMap>(configmaps, { metadata: { name: key, namespace: 'default' }, data: { x } });
  const commonName = (request: { socket: unknown }): string =>
    String((request.socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'nobody');

  test('speaks it', async () => {
    const { api } = open();
    let version = '';
    server.intercept = (request) => {
      version = request.httpVersion;
      return false;
    };
    await api.get(configmaps, where);
    expect(`HTTP/${version}`.replace('2.0', '2')).toBe(name);
  });

  test('thirty watches and a burst of requests live together', async () => {
    const { api } = open();
    for (let i = 0; i < 30; i++) put('0', `m${i}`);
    const caches = Array.from({ length: 30 }, (_, i) => follow(api, `metadata.name=m${i}`));
    await Promise.all(caches.map((cache) => cache.whenSynced()));
    const answers = await Promise.all(Array.from({ length: 40 }, () => api.get(configmaps, where)));
    expect(answers).toHaveLength(40);
    for (let i = 0; i < 30; i++) put('1', `m${i}`);
    await eventually(() => caches.every((cache, i) => cache.get(`default/m${i}`) === '1'));
    // Ten streams at once in each connection, of which watches leave two.
    if (protocol.http2) expect(server.sessions.size).toBeGreaterThanOrEqual(4);
    if (protocol.http2) expect(server.sessions.size).toBeLessThanOrEqual(8);
  });

  test('a rotated certificate is used at once, nothing fails and no change is missed', async () => {
    const held = new HeldCertificate(pki.client('old'));
    const { api } = open({}, { certificates: held });
    const users = new Set<string>();
    const watchers: string[] = [];
    server.intercept = (request) => {
      users.add(commonName(request));
      if (request.url?.includes('watch=true')) watchers.push(commonName(request));
      return false;
    };
    const cache = follow(api);
    await cache.whenSynced();
    await eventually(() => watchers.length === 1);
    const failures: unknown[] = [];
    let going = true;
    const load = Array.from({ length: 4 }, async () => {
      while (going) await api.get(configmaps, where).catch((error: unknown) => failures.push(error));
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([...users]).toEqual(['old']);
    held.set(pki.client('new'));
    put('2');
    await eventually(() => cache.get('default/a') === '2' && watchers.at(-1) === 'new');
    users.clear();
    await new Promise((resolve) => setTimeout(resolve, 50));
    going = false;
    await Promise.all(load);
    expect(failures).toEqual([]);
    expect([...users]).toEqual(['new']);
    expect(watchers).toEqual(['old', 'new']);
    expect(cache.lastFailure).toBeUndefined();
    put('3');
    await eventually(() => cache.get('default/a') === '3');
    // The old connections have gone.
    if (protocol.http2) await eventually(() => server.sessions.size === 1);
  });

  test('certificate files that change are taken up, half-written ones are not', async () => {
    const [one, two] = [pki.client('one'), pki.client('two')];
    const [certFile, keyFile] = [pki.path('now.crt'), pki.path('now.key')];
    writeFileSync(certFile, one.cert);
    writeFileSync(keyFile, one.key);
    const { api, credentials } = open({ ...one, certFile, keyFile });
    let user = '';
    server.intercept = (request) => {
      user = commonName(request);
      return false;
    };
    await api.get(configmaps, where);
    expect(user).toBe('one');
    writeFileSync(certFile, two.cert);
    await credentials.reread();
    await api.get(configmaps, where);
    expect(user).toBe('one');
    writeFileSync(`${keyFile}.new`, two.key);
    renameSync(`${keyFile}.new`, keyFile);
    await credentials.reread();
    await api.get(configmaps, where);
    expect(user).toBe('two');
    expect(existsSync(certFile)).toBe(true);
  });

  test('another authority for the server is taken up when the old one no longer fits', async () => {
    const other = new TestPki();
    closers.push(() => other.close());
    const caFile = pki.path('trusted.crt');
    writeFileSync(caFile, other.ca);
    const { api } = open({ ca: other.ca, caFile });
    expect(await codeOf(api.get(configmaps, where))).toBe('Unavailable');
    writeFileSync(caFile, pki.ca);
    let answer = '';
    for (let i = 0; i < 10 && answer !== 'no error'; i++) answer = await codeOf(api.get(configmaps, where));
    expect(answer).toBe('no error');
  });

  test('a peer that vanishes without a word is left, and the watch goes on', async () => {
    const wire = await Wire.open(Number(new URL(server.url).port));
    closers.push(() => wire.close());
    const { api } = open(
      { server: new URL(`https://127.0.0.1:${wire.port}`) },
      { transport: { readIdleMs: 200, pingMs: 200 }, client: { requestTimeoutMs: 800, watchSilenceMs: 800 } },
    );
    const cache = follow(api);
    await cache.whenSynced();
    await api.get(configmaps, where);
    wire.frozen = true;
    put('2');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(cache.get('default/a')).toBe('1');
    // The connections that stand stay dead; new ones are well.
    wire.frozen = false;
    await eventually(() => cache.get('default/a') === '2', 5000);
    expect((await api.get<ConfigMap>(configmaps, where)).data).toEqual({ x: '2' });
  });

  test('a server that is away is not knocked at by every watch, and all are back soon after it', async () => {
    const wire = await Wire.open(Number(new URL(server.url).port));
    closers.push(() => wire.close());
    const { api } = open({ server: new URL(`https://127.0.0.1:${wire.port}`) }, { transport: { retryMs: [50, 400] } });
    for (let i = 0; i < 5; i++) put('0', `m${i}`);
    const caches = Array.from({ length: 5 }, (_, i) => follow(api, `metadata.name=m${i}`));
    await Promise.all(caches.map((cache) => cache.whenSynced()));
    let lists = 0;
    memory.onRequest = ({ verb }) => {
      if (verb === 'list') lists++;
    };
    const port = wire.port;
    await wire.close();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (let i = 0; i < 5; i++) put('1', `m${i}`);
    let knocks = 0;
    const closed = createServer((socket) => {
      knocks++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => closed.listen(port, '127.0.0.1', resolve));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await new Promise((resolve) => closed.close(resolve));
    // A pause of 200 to 400 ms after each connection that could not be made.
    if (protocol.http2) expect(knocks).toBeLessThanOrEqual(9);
    expect(knocks).toBeGreaterThan(0);
    const far = Number(new URL(server.url).port);
    const back = createServer((near) => {
      const to = connect(far, '127.0.0.1');
      near.pipe(to).pipe(near);
      near.on('error', () => to.destroy());
      to.on('error', () => near.destroy());
      near.on('close', () => to.destroy());
    });
    await new Promise<void>((resolve) => back.listen(port, '127.0.0.1', resolve));
    closers.unshift(() => new Promise((resolve) => back.close(resolve)));
    await eventually(() => caches.every((cache, i) => cache.get(`default/m${i}`) === '1'), 8000);
    expect(lists).toBe(0);
  });

  test('clients that share a connection do not share their limits', async () => {
    const { api, transport } = open({}, { client: { qps: 1, burst: 1 } });
    const urgent = new HttpApiClient({ connection: transport.credentials.connection, qps: -1 }, { clock, transport });
    const stop = new AbortController();
    let done = 0;
    const slow = Array.from({ length: 5 }, () =>
      api.get(configmaps, where, stop.signal).then(
        () => done++,
        () => {},
      ),
    );
    for (let i = 0; i < 20; i++) await urgent.get(configmaps, where);
    expect(done).toBeLessThan(5);
    stop.abort();
    await Promise.all(slow);
  });

  test('takes gzip unless that is disabled', async () => {
    const seen: (string | undefined)[] = [];
    server.intercept = (request, response) => {
      seen.push(request.headers['accept-encoding'] as string | undefined);
      if (request.headers['accept-encoding'] !== 'gzip') return false;
      const text = JSON.stringify({ metadata: { resourceVersion: '5' }, items: [{ metadata: { name: 'z' } }] });
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'application/json' });
      response.end(gzipSync(text));
      return true;
    };
    const zipped = await open().api.list(configmaps, {});
    expect(zipped.items.map((item) => item.metadata.name)).toEqual(['z']);
    const plain = await open({ disableCompression: true }).api.list(configmaps, {});
    expect(plain.items.map((item) => item.metadata.name)).toEqual(['a']);
    expect(seen).toEqual(['gzip', undefined]);
  });

  test('a gzip answer that is cut short is an error', async () => {
    server.intercept = (_, response) => {
      const bytes = gzipSync(JSON.stringify({ metadata: {}, items: [{ metadata: { name: 'z' } }] }));
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(bytes.subarray(0, bytes.length - 12));
      return true;
    };
    expect(await codeOf(open().api.list(configmaps, {}))).toBe('Unavailable');
  });

  test('sends impersonation, user name and password', async () => {
    const { api } = open({
      basic: { username: 'u', password: 'p:w' },
      impersonate: { user: 'jane', uid: '7', groups: ['a', 'b'], extra: { 'example.com/Scopes': ['x', 'y'] } },
    });
    await api.get(configmaps, where);
    expect(server.seen.headers).toMatchObject({
      authorization: `Basic ${Buffer.from('u:p:w').toString('base64')}`,
      'impersonate-user': 'jane',
      'impersonate-uid': '7',
      'impersonate-group': 'a, b',
      'impersonate-extra-example.com%2fscopes': 'x, y',
    });
  });

  test('an answer that breaks off is an error, and so is a server that speaks something else', async () => {
    server.intercept = (_, response) => {
      response.writeHead(200);
      response.write('{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"}},');
      setTimeout(() => response.destroy(), 20);
      return true;
    };
    expect(await codeOf(open().api.list(configmaps, {}))).toBe('Unavailable');
    const mute = createServer((socket) =>
      socket
        .resume()
        .on('error', () => {})
        .end('SSH-2.0-x\r\n'),
    );
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise((resolve) => mute.close(resolve)));
    const { port } = mute.address() as { port: number };
    const { api } = open({ server: new URL(`https://127.0.0.1:${port}`) });
    expect(await codeOf(api.get(configmaps, where))).toBe('Unavailable');
  });

  test('a request that nobody waits for any more ends', async () => {
    const { api } = open();
    server.intercept = () => true;
    const stop = new AbortController();
    const outcome = codeOf(api.get(configmaps, where, stop.signal));
    await eventually(() => server.seen.url !== '');
    stop.abort();
    expect(await outcome).toBe('Aborted');
    expect(await codeOf(open({}, { client: { requestTimeoutMs: 100 } }).api.get(configmaps, where))).toBe(
      'DeadlineExceeded',
    );
  });
});

describe('HTTP/2 alone', () => {
  let server: RunningServer;
  let memory: MemoryApi;
  let api: HttpApiClient;

  beforeEach(async () => {
    memory = new MemoryApi();
    memory.put<ConfigMap>(configmaps, { metadata: { name: 'a', namespace: 'default' }, data: { x: '1' } });
    server = await serveMemoryApi(memory, { ...serving, ca: pki.ca }, {});
    api = new HttpApiClient({ connection: { server: new URL(server.url), ca: pki.ca }, qps: -1 }, { clock });
  });
  afterEach(async () => {
    api.close();
    await server.close();
  });

  test('a server that says goodbye loses no request and no watch', async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const watch = (async () => {
      for await (const event of api.watch<ConfigMap>(configmaps, { resourceVersion: '0' }, stop.signal)) {
        if (event.type !== 'BOOKMARK') seen.push(event.object.data?.['x'] ?? '');
        if (seen.at(-1) === '3') return;
      }
    })();
    await eventually(() => seen.length === 1);
    const [first] = server.sessions;
    const during = Promise.all(Array.from({ length: 50 }, () => api.get(configmaps, where)));
    first?.goaway(0);
    expect(await during).toHaveLength(50);
    await api.get(configmaps, where);
    expect(server.sessions.size).toBe(2);
    memory.put<ConfigMap>(configmaps, { metadata: { name: 'a', namespace: 'default' }, data: { x: '3' } });
    await watch;
    stop.abort();
    expect(seen).toEqual(['1', '3']);
  });

  test('a connection that is cut while it is idle is made anew', async () => {
    await api.get(configmaps, where);
    for (const session of server.sessions) session.destroy();
    expect((await api.get<ConfigMap>(configmaps, where)).data).toEqual({ x: '1' });
  });

  test('a write whose connection breaks is not sent twice', async () => {
    await api.get(configmaps, where);
    let writes = 0;
    server.intercept = (request) => {
      if (request.method !== 'PATCH') return false;
      writes++;
      for (const session of server.sessions) session.destroy();
      return true;
    };
    expect(await codeOf(api.patch(configmaps, where, { data: { x: '9' } }, 'merge'))).toBe('Unavailable');
    expect(writes).toBe(1);
  });

  test('a server that has lost HTTP/2 is spoken to in HTTP/1.1', async () => {
    await api.get(configmaps, where);
    const { port } = new URL(server.url);
    await server.close();
    const old = await serveMemoryApi(memory, { ...serving, ca: pki.ca });
    await new Promise((resolve) => old.server.close(resolve));
    await new Promise<void>((resolve) => old.server.listen(Number(port), '127.0.0.1', resolve));
    let version = '';
    old.intercept = (request) => {
      version = request.httpVersion;
      return false;
    };
    expect((await api.get<ConfigMap>(configmaps, where)).data).toEqual({ x: '1' });
    expect(version).toBe('1.1');
    await old.close();
  });
});
