import { createServer as createHttpServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import {
  Server as GrpcServer,
  status as grpcStatus,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeProbe, type FakeServer } from '../../src/host/probe/fake.ts';
import { decodeCheck, encodeCheck } from '../../src/host/probe/grpc-health.ts';
import type { HttpGetRequest, ProbePort } from '../../src/host/probe/port.ts';
import { RealProbe } from '../../src/host/probe/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';

/** What both sides can build: a server described as the fake's, on a free port of 127.0.0.1. */
interface Harness {
  readonly port: ProbePort;
  serve(server: FakeServer): Promise<number>;
  freePort(): Promise<number>;
  close(): Promise<void>;
}

function fakeHarness(): Harness {
  const port = new FakeProbe({ clock: new SystemClock() });
  let next = 20_000;
  return {
    port,
    serve: async (server) => {
      port.listen('127.0.0.1', ++next, server);
      return next;
    },
    freePort: async () => ++next,
    close: async () => port.close(),
  };
}

function realHarness(): Harness {
  const port = new RealProbe({ kubernetesVersion: '1.36' }, { clock: new SystemClock() });
  const closers: (() => Promise<void>)[] = [];
  return {
    port,
    serve: async (server) => {
      if (server.grpc !== undefined) return serveGrpc(server.grpc, closers);
      const listener =
        server.blackHole === true || server.http === undefined ? createTcpServer(() => {}) : serveHttp(server);
      return listen(listener, closers);
    },
    freePort: async () => {
      const closer: (() => Promise<void>)[] = [];
      const free = await listen(createTcpServer(), closer);
      await closer[0]?.();
      return free;
    },
    close: async () => {
      port.close();
      for (const close of closers) await close();
    },
  };
}

function serveHttp(server: FakeServer): Server {
  return createHttpServer((request, response) => {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const answer = server.http?.({ path: request.url ?? '', headers });
    if (answer === undefined) return;
    if (answer.hangUp === true) {
      request.socket.destroy();
      return;
    }
    setTimeout(() => {
      response.writeHead(answer.status, answer.location === undefined ? {} : { location: answer.location });
      response.end(answer.body ?? '');
    }, answer.delayMs ?? 0);
  });
}

async function serveGrpc(
  health: (service: string) => string | undefined,
  closers: (() => Promise<void>)[],
): Promise<number> {
  const names = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
  const definition: ServiceDefinition = {
    Check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => bytes,
      requestSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
    },
  };
  const server = new GrpcServer();
  if (health('') !== undefined) {
    server.addService(definition, {
      Check: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        // A request is field 1, a string: its text begins after the tag and one length byte.
        const name = health(call.request.subarray(2).toString('utf8'));
        if (name === undefined) answer({ code: grpcStatus.NOT_FOUND, details: 'unknown service' });
        else answer(null, Buffer.from([0x08, names.indexOf(name)]));
      },
    });
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closers.push(async () => server.forceShutdown());
  return port;
}

async function listen(server: Server | TcpServer, closers: (() => Promise<void>)[]): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return (server.address() as AddressInfo).port;
}

describe.each([
  ['fake', fakeHarness],
  ['real', realHarness],
])('ProbePort (%s)', (_name, make) => {
  let harness: Harness | undefined;
  const start = (): Harness => {
    harness = make();
    return harness;
  };
  afterEach(async () => {
    await harness?.close();
    harness = undefined;
  });

  const get = (port: number, more: Partial<HttpGetRequest> = {}): HttpGetRequest => ({
    scheme: 'http',
    host: '127.0.0.1',
    port,
    path: '/healthz',
    headers: [],
    timeoutMs: 2000,
    ...more,
  });

  it.each([
    [200, 'success'],
    [204, 'success'],
    [299, 'success'],
    [304, 'warning'],
    [399, 'warning'],
    [400, 'failure'],
    [404, 'failure'],
    [500, 'failure'],
  ] as const)('httpGet: status %i is %s', async (status, verdict) => {
    const { port, serve } = start();
    const reply = await port.httpGet(
      get(await serve({ http: () => ({ status, body: status === 204 ? '' : 'text' }) })),
    );
    expect(reply.verdict).toBe(verdict);
    if (verdict === 'failure') expect(reply.output).toBe(`HTTP probe failed with statuscode: ${status}`);
    if (verdict === 'success') expect(reply.output).toBe('');
  });

  it('httpGet: sends path, query, own headers and a Host that overrides', async () => {
    const { port, serve } = start();
    let seen: { path: string; headers: Readonly<Record<string, string>> } | undefined;
    const at = await serve({
      http: (request) => {
        seen = request;
        return { status: 200 };
      },
    });
    await port.httpGet(
      get(at, {
        path: 'ready?deep=1',
        headers: [
          { name: 'X-Custom', value: 'Awesome' },
          { name: 'Host', value: 'web.example' },
        ],
      }),
    );
    expect(seen?.path).toBe('/ready?deep=1');
    expect(seen?.headers).toMatchObject({ 'x-custom': 'Awesome', host: 'web.example', accept: '*/*' });
    expect(seen?.headers['user-agent']).toMatch(/^kube-probe\//);
    await port.httpGet(
      get(at, {
        headers: [
          { name: 'User-Agent', value: 'mine' },
          { name: 'Accept', value: '' },
        ],
      }),
    );
    expect(seen?.headers['user-agent']).toBe('mine');
    expect(seen?.headers).not.toHaveProperty('accept');
  });

  it('httpGet: nobody listens', async () => {
    const { port, freePort } = start();
    const reply = await port.httpGet(get(await freePort()));
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(
      /^Get "http:\/\/127\.0\.0\.1:\d+\/healthz": dial tcp 127\.0\.0\.1:\d+: connect: connection refused$/,
    );
  });

  it('httpGet: a slow answer and no answer fail at the timeout', async () => {
    const { port, serve } = start();
    for (const server of [
      { http: () => ({ status: 200, delayMs: 1500 }) },
      { blackHole: true },
    ] satisfies FakeServer[]) {
      const began = performance.now();
      const reply = await port.httpGet(get(await serve(server), { timeoutMs: 200 }));
      const took = performance.now() - began;
      expect(reply.verdict).toBe('failure');
      expect(reply.output).toMatch(/context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)$/);
      expect(took).toBeGreaterThanOrEqual(195);
      expect(took).toBeLessThan(1000);
    }
  });

  it('httpGet: a connection closed without an answer fails', async () => {
    const { port, serve } = start();
    const reply = await port.httpGet(get(await serve({ http: () => ({ status: 200, hangUp: true }) })));
    expect(reply).toEqual({ verdict: 'failure', output: expect.stringMatching(/: EOF$/) });
  });

  it('httpGet: follows redirects on the same host, by path and to another port', async () => {
    const { port, serve } = start();
    const other = await serve({ http: ({ path }) => ({ status: path === '/there' ? 200 : 404 }) });
    const at = await serve({
      http: ({ path }) =>
        path === '/healthz'
          ? { status: 302, location: '/second' }
          : { status: 307, location: `http://127.0.0.1:${other}/there` },
    });
    expect(await port.httpGet(get(at))).toEqual({ verdict: 'success', output: '' });
    const missing = await serve({
      http: ({ path }) => (path === '/x' ? { status: 301, location: '/gone' } : { status: 404 }),
    });
    expect((await port.httpGet(get(missing, { path: '/x' }))).output).toBe('HTTP probe failed with statuscode: 404');
  });

  it('httpGet: a redirect to another host is a warning and is not followed', async () => {
    const { port, serve } = start();
    let asked = 0;
    const other = await serve({
      http: () => {
        asked++;
        return { status: 500 };
      },
    });
    const at = await serve({
      http: () => ({ status: 302, location: `http://localhost:${other}/`, body: 'go there' }),
    });
    expect(await port.httpGet(get(at))).toEqual({
      verdict: 'warning',
      output: 'Probe terminated redirects, Response body: go there',
    });
    expect(asked).toBe(0);
  });

  it('httpGet: ten redirects are followed, the eleventh fails', async () => {
    const { port, serve } = start();
    let hops = 0;
    const at = await serve({
      http: ({ path }) => {
        hops++;
        const left = Number(path.slice(1));
        return left === 0 ? { status: 200 } : { status: 302, location: `/${left - 1}` };
      },
    });
    expect((await port.httpGet(get(at, { path: '/10' }))).verdict).toBe('success');
    expect(hops).toBe(11);
    const reply = await port.httpGet(get(at, { path: '/11' }));
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(/stopped after 10 redirects$/);
  });

  it('httpGet: a warning carries at most 10 KiB', async () => {
    const { port, serve } = start();
    const at = await serve({
      http: () => ({ status: 302, location: 'http://elsewhere.example/', body: 'x'.repeat(300_000) }),
    });
    const reply = await port.httpGet(get(at));
    expect(reply.verdict).toBe('warning');
    expect(reply.output).toHaveLength(10_240);
  });

  it('httpGet: https against plain http fails with what it found', async () => {
    const { port, serve } = start();
    const reply = await port.httpGet(get(await serve({ http: () => ({ status: 200 }) }), { scheme: 'https' }));
    expect(reply).toEqual({
      verdict: 'failure',
      output: expect.stringMatching(/: http: server gave HTTP response to HTTPS client$/),
    });
  });

  it('tcpSocket: open, closed', async () => {
    const { port, serve, freePort } = start();
    const open = { host: '127.0.0.1', port: await serve({}), timeoutMs: 1000 };
    expect(await port.tcpSocket(open)).toEqual({ verdict: 'success', output: '' });
    const closed = await freePort();
    expect(await port.tcpSocket({ ...open, port: closed })).toEqual({
      verdict: 'failure',
      output: `dial tcp 127.0.0.1:${closed}: connect: connection refused`,
    });
  });

  it('grpc: SERVING only, per service', async () => {
    const { port, serve } = start();
    const at = await serve({ grpc: (service) => (service === '' ? 'SERVING' : 'NOT_SERVING') });
    const request = { host: '127.0.0.1', port: at, service: '', timeoutMs: 2000 };
    expect(await port.grpc(request)).toEqual({ verdict: 'success', output: '' });
    expect(await port.grpc({ ...request, service: 'db' })).toEqual({
      verdict: 'failure',
      output: 'service unhealthy (responded with "NOT_SERVING")',
    });
  });

  it('grpc: no health service, no server, no answer', async () => {
    const { port, serve, freePort } = start();
    const request = { host: '127.0.0.1', service: '', timeoutMs: 300 };
    const without = await port.grpc({ ...request, timeoutMs: 2000, port: await serve({ grpc: () => undefined }) });
    expect(without.output).toMatch(/^error: this server does not implement the grpc health protocol/);
    const refused = await port.grpc({ ...request, port: await freePort() });
    expect(refused.output).toMatch(/^error: failed to connect service at "127\.0\.0\.1:\d+": .*connection refused/);
    const silent = await port.grpc({ ...request, port: await serve({ blackHole: true }) });
    expect(silent.output).toMatch(/^timeout: failed to connect service "127\.0\.0\.1:\d+" within 0\.3s/);
    for (const reply of [without, refused, silent]) expect(reply.verdict).toBe('failure');
  });

  it('httpHook: any status will do, https falls back to http, a refused connection throws', async () => {
    const { port, serve, freePort } = start();
    let authorization: string | undefined = 'unset';
    const at = await serve({
      http: ({ headers }) => {
        authorization = headers['authorization'];
        return { status: 500 };
      },
    });
    expect(await port.httpHook(get(at))).toEqual({ status: 500, fellBackToHttp: false });
    expect(await port.httpHook(get(at, { scheme: 'https' }))).toEqual({ status: 500, fellBackToHttp: true });
    expect(authorization).toBeUndefined();
    await expect(port.httpHook(get(await freePort()))).rejects.toMatchObject({ code: 'Unavailable' });
    const hole = await serve({ blackHole: true });
    await expect(port.httpHook(get(hole, { timeoutMs: 150 }))).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    const abort = new AbortController();
    const hanging = port.httpHook(get(hole, { timeoutMs: 10_000 }), abort.signal);
    setTimeout(() => abort.abort(), 50);
    await expect(hanging).rejects.toMatchObject({ code: 'Aborted' });
  });

  it('close breaks off what is under way and starts nothing more', async () => {
    const { port, serve } = start();
    const at = await serve({ blackHole: true });
    const hanging = [
      port.httpGet(get(at, { timeoutMs: 20_000 })),
      port.grpc({ host: '127.0.0.1', port: at, service: '', timeoutMs: 20_000 }),
    ];
    const outcomes = Promise.allSettled(hanging);
    setTimeout(() => port.close(), 50);
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'Aborted' } });
    }
    await expect(port.httpGet(get(at))).rejects.toMatchObject({ code: 'Aborted' });
  });
});

describe('grpc health messages', () => {
  it('frames a request', () => {
    expect([...encodeCheck('')]).toEqual([0, 0, 0, 0, 0]);
    expect([...encodeCheck('ab')]).toEqual([0, 0, 0, 0, 4, 0x0a, 2, 0x61, 0x62]);
    expect(encodeCheck('x'.repeat(300)).subarray(5, 8)).toEqual(Buffer.from([0x0a, 0xac, 0x02]));
  });

  it('reads an answer, skips fields it does not know, refuses what is broken', () => {
    expect(decodeCheck(Buffer.from([0, 0, 0, 0, 2, 8, 1]))).toBe('SERVING');
    expect(decodeCheck(Buffer.from([0, 0, 0, 0, 0]))).toBe('UNKNOWN');
    expect(decodeCheck(Buffer.from([0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 2]))).toBe('NOT_SERVING');
    expect(() => decodeCheck(Buffer.from([0, 0, 0]))).toThrow(/5 or more/);
    expect(() => decodeCheck(Buffer.from([1, 0, 0, 0, 0]))).toThrow(/compressed/);
    expect(() => decodeCheck(Buffer.from([0, 0, 0, 0, 9, 8]))).toThrow(/1 bytes of a message of 9/);
    expect(() => decodeCheck(Buffer.from([0, 0, 0, 0, 2, 8, 0x80]))).toThrow(/breaks off/);
  });
});
