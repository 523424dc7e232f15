import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HttpApiClient, type HttpApiClientOptions } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { RestClientMetrics } from '../../../src/cluster/rest-client-metrics.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { failure, MemoryApi } from './memory-api.ts';
import { type RunningServer, serveMemoryApi } from './memory-api-server.ts';

const { configmaps } = resources;
const where = { namespace: 'default', name: 'a' };

function clientOf(url: string, options: Partial<HttpApiClientOptions> = {}, metrics?: Metrics): HttpApiClient {
  return new HttpApiClient(
    { connection: { server: new URL(url) }, ...options },
    { clock: new SystemClock(), metrics: metrics && new RestClientMetrics(metrics) },
  );
}

async function errorOf(promise: Promise<unknown>): Promise<CodedError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error('expected an error');
}

function seeded(): MemoryApi {
  const memory = new MemoryApi();
  memory.put(resources.serviceaccounts, { metadata: { name: 'default', namespace: 'default' } });
  return memory;
}

describe('HttpApiClient', () => {
  let memory: MemoryApi;
  let server: RunningServer;
  const clients: HttpApiClient[] = [];
  const client = (options: Partial<HttpApiClientOptions> = {}, metrics?: Metrics): HttpApiClient => {
    const made = clientOf(server.url, options, metrics);
    clients.push(made);
    return made;
  };

  beforeEach(async () => {
    memory = seeded();
    memory.put<ConfigMap>(configmaps, { metadata: { name: 'a', namespace: 'default' }, data: { x: '1' } });
    server = await serveMemoryApi(memory);
  });
  afterEach(async () => {
    for (const one of clients.splice(0)) one.close();
    await server.close();
  });

  test('keeps connections', async () => {
    const api = client();
    for (let i = 0; i < 5; i++) await api.get(configmaps, where);
    expect(server.seen.connections).toBe(1);
  });

  test('asks again on a kept connection that the server dropped', async () => {
    const api = client();
    await api.get(configmaps, where);
    server.intercept = (request) => {
      server.intercept = undefined;
      request.socket.destroy();
      return true;
    };
    expect((await api.get<ConfigMap>(configmaps, where)).data).toEqual({ x: '1' });
  });

  test('waits as long as Retry-After says, and counts requests', async () => {
    const metrics = new Metrics();
    let refusals = 1;
    memory.onRequest = () => {
      if (refusals-- > 0) throw failure('TooManyRequests', 429, 'TooManyRequests', 'slow down', 1000);
    };
    const started = performance.now();
    await client({}, metrics).get(configmaps, where);
    expect(performance.now() - started).toBeGreaterThan(950);
    const text = await metrics.text();
    const { host } = new URL(server.url);
    expect(text).toContain(`rest_client_requests_total{code="429",method="GET",host="${host}"} 1`);
    expect(text).toContain(`rest_client_requests_total{code="200",method="GET",host="${host}"} 1`);
    expect(text).toContain(`rest_client_request_duration_seconds_count{verb="GET",host="${host}"} 2`);
    expect(text).toContain(`rest_client_rate_limiter_duration_seconds_count{verb="GET",host="${host}"} 2`);
  });

  test('gives up with retryAfterMs when the wait is longer than the time left', async () => {
    memory.onRequest = () => {
      throw failure('TooManyRequests', 429, 'TooManyRequests', 'slow down', 60_000);
    };
    const error = await errorOf(client({ requestTimeoutMs: 500 }).get(configmaps, where));
    expect(error.code).toBe('TooManyRequests');
    expect(error.metadata).toMatchObject({ status: 429, retryAfterMs: 60_000, verb: 'get' });
  });

  test('ends a request that gets no answer', async () => {
    server.intercept = () => true;
    const error = await errorOf(client({ requestTimeoutMs: 50 }).get(configmaps, where));
    expect(error.code).toBe('DeadlineExceeded');
    expect(error.message).toContain('/api/v1/namespaces/default/configmaps/a');
  });

  test('a body that stops half-way is Unavailable; a server that is gone, too', async () => {
    server.intercept = (_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"a"');
      setTimeout(() => response.destroy(), 10);
      return true;
    };
    expect((await errorOf(client().get(configmaps, where))).code).toBe('Unavailable');
    await server.close();
    expect((await errorOf(client().get(configmaps, where))).code).toBe('Unavailable');
  });

  test('an answer that is no Status is still classified', async () => {
    server.intercept = (_request, response) => {
      response.writeHead(502).end('<html>bad gateway</html>');
      return true;
    };
    const error = await errorOf(client().get(configmaps, where));
    expect(error.code).toBe('Unavailable');
    expect(error.message).toContain('bad gateway');
  });

  test('limits its rate to QPS after the burst', async () => {
    const api = client({ qps: 20, burst: 2 });
    const started = performance.now();
    for (let i = 0; i < 6; i++) await api.get(configmaps, where);
    const took = performance.now() - started;
    expect(took).toBeGreaterThan(150);
    expect(took).toBeLessThan(2000);
  });

  test('reads a watch that arrives byte by byte', async () => {
    const bytes = Buffer.from(
      `${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'ů🐎', resourceVersion: '5' } } })}\n` +
        `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '6' } } })}\n`,
    );
    server.intercept = (_request, response) => {
      response.writeHead(200);
      void (async () => {
        for (const byte of bytes) {
          response.write(Buffer.from([byte]));
          await new Promise((resolve) => setImmediate(resolve));
        }
        response.end();
      })();
      return true;
    };
    const events = [];
    for await (const event of client().watch(configmaps, { resourceVersion: '1' }, new AbortController().signal)) {
      events.push(event);
    }
    expect(events).toEqual([
      { type: 'ADDED', object: { metadata: { name: 'ů🐎', resourceVersion: '5' } } },
      { type: 'BOOKMARK', resourceVersion: '6' },
    ]);
  });

  const watchOnce = async (options: Partial<HttpApiClientOptions>, signal = new AbortController().signal) => {
    const seen: unknown[] = [];
    for await (const event of client(options).watch(configmaps, { resourceVersion: '1' }, signal)) seen.push(event);
    return seen;
  };

  test('a watch that falls silent is DeadlineExceeded, and its connection is closed', async () => {
    let closed = false;
    server.intercept = (_request, response) => {
      response.writeHead(200);
      response.write('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"2"}}}\n');
      response.on('close', () => {
        closed = true;
      });
      return true;
    };
    const error = await errorOf(watchOnce({ watchSilenceMs: 60 }));
    expect(error.code).toBe('DeadlineExceeded');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(closed).toBe(true);
  });

  test('410 ends a watch as Gone, in the head and in the stream', async () => {
    memory.compact();
    expect((await errorOf(watchOnce({}))).code).toBe('Gone');
    server.intercept = (_request, response) => {
      response.writeHead(410).end(JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }));
      return true;
    };
    const error = await errorOf(watchOnce({}));
    expect(error.code).toBe('Gone');
    expect(error.metadata['reason']).toBe('Expired');
  });

  test('a line over the limit ends the watch, and so does a torn one', async () => {
    server.intercept = (_request, response) => {
      response.writeHead(200).end(`{"type":"ADDED","object":{"x":"${'y'.repeat(200)}"}}\n`);
      return true;
    };
    expect((await errorOf(watchOnce({ lineLimit: 100 }))).code).toBe('ResourceExhausted');
    server.intercept = (_request, response) => {
      response.writeHead(200).end('{"type":"ADDED","obj\n');
      return true;
    };
    expect((await errorOf(watchOnce({}))).code).toBe('Unavailable');
  });

  test('an aborted watch ends quietly while nothing comes', async () => {
    const stop = new AbortController();
    let seen = 0;
    for await (const _event of client({}).watch(configmaps, { resourceVersion: '1' }, stop.signal)) {
      seen++;
      setTimeout(() => stop.abort(), 30);
    }
    expect(seen).toBe(1);
    for (let i = 0; i < 50 && memory.openWatches > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(memory.openWatches).toBe(0);
  });

  test('requests hold nothing of a signal that lives on', async () => {
    const stop = new AbortController();
    let listeners = 0;
    const add = stop.signal.addEventListener.bind(stop.signal);
    const remove = stop.signal.removeEventListener.bind(stop.signal);
    stop.signal.addEventListener = (...parameters: Parameters<typeof add>) => {
      listeners++;
      add(...parameters);
    };
    stop.signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
      listeners--;
      remove(...parameters);
    };
    const api = client();
    for (let i = 0; i < 3; i++) await api.get(configmaps, where, stop.signal);
    expect(listeners).toBe(0);
  });

  test('sends apply patches with an owner', async () => {
    let type: string | undefined;
    server.intercept = (request, response) => {
      type = request.headers['content-type'];
      response.writeHead(200).end('{"metadata":{}}');
      return true;
    };
    await client().patch(configmaps, where, {}, 'apply');
    expect(type).toBe('application/apply-patch+yaml');
    expect(server.seen.url).toContain('fieldManager=deckhand');
    expect(server.seen.url).toContain('force=true');
  });
});

describe('kubeconfig', () => {
  const dir = mkdtempSync(join(tmpdir(), 'dhclu-'));
  const file = (name: string): string => join(dir, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'ignore', cwd: dir });
  };
  let server: RunningServer;

  beforeAll(async () => {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=ca');
    for (const [name, extension] of [
      ['server', 'subjectAltName=DNS:kube.test'],
      ['client', 'extendedKeyUsage=clientAuth'],
    ] as const) {
      writeFileSync(file(`${name}.ext`), extension);
      openssl('req', ...ec.slice(0, 5), '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
      const sign = ['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
      openssl(...sign, '-days', '2', '-out', `${name}.crt`, '-extfile', `${name}.ext`);
    }
    const read = (name: string): string => readFileSync(file(name), 'utf8');
    server = await serveMemoryApi(seeded(), {
      key: read('server.key'),
      cert: read('server.crt'),
      ca: read('ca.crt'),
    });
  });
  afterAll(async () => {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const write = (cluster: object, user: object): string => {
    const path = file('kubeconfig');
    writeFileSync(
      path,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
        clusters: [{ name: 'k', cluster: { server: server.url, ...cluster } }],
        users: [{ name: 'u', user }],
      }),
    );
    return path;
  };
  const read = async (path: string, name = 'default'): Promise<unknown> => {
    const api = new HttpApiClient({ connection: await loadKubeconfig(path) }, { clock: new SystemClock() });
    try {
      return (await api.get(resources.serviceaccounts, { namespace: 'default', name })).metadata.name;
    } finally {
      api.close();
    }
  };
  const verified = { 'certificate-authority': 'ca.crt', 'tls-server-name': 'kube.test' };

  test('trusts the CA, expects the server name and shows the client certificate (file and data)', async () => {
    let peer: string | undefined;
    server.intercept = (request) => {
      peer = (request.socket as unknown as { getPeerCertificate(): { subject?: { CN?: string } } }).getPeerCertificate()
        .subject?.CN;
      return false;
    };
    expect(await read(write(verified, { 'client-certificate': 'client.crt', 'client-key': 'client.key' }))).toBe(
      'default',
    );
    expect(peer).toBe('client');
    peer = undefined;
    const data = (name: string): string => readFileSync(file(name)).toString('base64');
    const byData = { 'client-certificate-data': data('client.crt'), 'client-key-data': data('client.key') };
    expect(
      await read(write({ 'certificate-authority-data': data('ca.crt'), 'tls-server-name': 'kube.test' }, byData)),
    ).toBe('default');
    expect(peer).toBe('client');
    server.intercept = undefined;
  });

  test('refuses a server that it cannot verify, unless told not to', async () => {
    expect((await errorOf(read(write({ 'certificate-authority': 'ca.crt' }, {})))).code).toBe('Unavailable');
    expect((await errorOf(read(write({ 'tls-server-name': 'kube.test' }, {})))).code).toBe('Unavailable');
    expect(await read(write({ 'insecure-skip-tls-verify': true }, {}))).toBe('default');
  });

  test('sends a token, and reads a token file again after a 401', async () => {
    await read(write(verified, { token: 'abc' }));
    expect(server.seen.headers['authorization']).toBe('Bearer abc');
    writeFileSync(file('token'), 'first\n');
    const connection = await loadKubeconfig(write(verified, { tokenFile: 'token' }));
    const api = new HttpApiClient({ connection }, { clock: new SystemClock() });
    const target = { namespace: 'default', name: 'default' };
    await api.get(resources.serviceaccounts, target);
    expect(server.seen.headers['authorization']).toBe('Bearer first');
    writeFileSync(file('token'), 'second\n');
    server.intercept = (request, response) => {
      if (request.headers.authorization === 'Bearer second') return false;
      response.writeHead(401).end();
      return true;
    };
    expect((await api.get(resources.serviceaccounts, target)).metadata.name).toBe('default');
    server.intercept = undefined;
    api.close();
  });

  test.each([
    [{}, { exec: { command: 'x' } }, 'users[u].user.exec.apiVersion'],
    [
      {},
      { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'x' } },
      'users[u].user.exec.interactiveMode',
    ],
    [{}, { exec: { apiVersion: 'client.authentication.k8s.io/v1beta1' } }, 'users[u].user.exec.command'],
    [{}, { 'as-groups': ['g'] }, 'users[u].user.as'],
    [{}, { token: 't', username: 'n' }, 'users[u].user.username'],
    [{ 'certificate-authority': 'ca.crt', 'insecure-skip-tls-verify': true }, {}, 'insecure-skip-tls-verify'],
    [{}, { 'auth-provider': { name: 'x' } }, 'users[u].user.auth-provider'],
    [{ 'proxy-url': 'ftp://p' }, {}, 'clusters[k].cluster.proxy-url'],
    [{}, { 'client-certificate': 'client.crt' }, 'users[u].user.client-key'],
    [{ 'certificate-authority': 'none.crt' }, {}, 'clusters[k].cluster.certificate-authority'],
    [{ server: 'kube:6443' }, {}, 'clusters[k].cluster.server'],
    [{ 'certificate-authority-data': 'AAAA' }, {}, 'clusters[k].cluster.certificate-authority-data'],
    [{}, { token: 5 }, 'users[u].user.token'],
  ])('names the field that is wrong: %j %j', async (cluster, user, field) => {
    const path = write(cluster, user);
    const error = await errorOf(loadKubeconfig(path));
    expect(error.code).toBe('InvalidConfig');
    expect(error.message).toContain(path);
    expect(error.message).toContain(`${field} `);
    expect(error.message).toContain('expected');
  });

  test('says so when there is no file, no YAML and no context', async () => {
    expect((await errorOf(loadKubeconfig(file('absent')))).message).toContain('cannot be read');
    writeFileSync(file('bad'), 'a: [');
    expect((await errorOf(loadKubeconfig(file('bad')))).message).toContain('is not YAML');
    writeFileSync(file('empty'), 'apiVersion: v1\n');
    expect((await errorOf(loadKubeconfig(file('empty')))).message).toContain('current-context is missing');
  });
});
