import { execFileSync } from 'node:child_process';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';
import { RealProbe } from '../../../src/host/probe/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';

/** What only real sockets can show: TLS, resets, broken bodies, IPv6, odd headers. */
describe('RealProbe on loopback', () => {
  const probe = new RealProbe({ kubernetesVersion: '1.36' }, { clock: new SystemClock() });
  const servers: Server[] = [];
  const listen = async (server: Server, host = '127.0.0.1'): Promise<number> => {
    servers.push(server);
    server.on('connection', (socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    return (server.address() as AddressInfo).port;
  };
  const get = (port: number, more = {}) =>
    probe.httpGet({ scheme: 'http', host: '127.0.0.1', port, path: '/', headers: [], timeoutMs: 1000, ...more });
  /** Sends these bytes to whoever asks, then ends, resets or stays. */
  const raw = (bytes: string, then: 'end' | 'reset' | 'stay'): Promise<number> =>
    listen(
      createServer((socket) => {
        socket.once('data', () => {
          socket.write(bytes, () => {
            if (then === 'end') socket.end();
            if (then === 'reset') setTimeout(() => socket.resetAndDestroy(), 20);
          });
        });
      }),
    );

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close();
      (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    }
  });

  it('checks no certificate', async () => {
    const pem = execFileSync(
      'openssl',
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=nobody.example -days 1 -keyout -'.split(
        ' ',
      ),
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const options = { cert: pem, key: pem };
    const port = await listen(createHttpsServer(options, (_, response) => response.end('secret')));
    expect(await get(port, { scheme: 'https' })).toEqual({ verdict: 'success', output: '' });
    expect((await get(port)).verdict).toBe('failure');
  });

  it('says kube-probe to probed targets and kube-lifecycle to hooks, with the version', async () => {
    const seen: (string | undefined)[] = [];
    const port = await listen(
      createHttpServer((request, response) => {
        seen.push(request.headers['user-agent'], request.headers.connection);
        response.end();
      }),
    );
    await get(port);
    await probe.httpHook({ scheme: 'http', host: '127.0.0.1', port, path: '/', headers: [], timeoutMs: 1000 });
    expect(seen).toEqual(['kube-probe/1.36', 'close', 'kube-lifecycle/1.36', 'close']);
  });

  it('opens a new connection for each probe', async () => {
    let connections = 0;
    const server = createHttpServer((_, response) => response.end());
    server.on('connection', () => connections++);
    const port = await listen(server);
    await get(port);
    await get(port);
    expect(connections).toBe(2);
  });

  it('throws when the body breaks off or stalls after a good head (an error, not a failure)', async () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin';
    await expect(get(await raw(head, 'reset'))).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(get(await raw(head, 'end'))).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(get(await raw(head, 'stay'), { timeoutMs: 150 })).rejects.toMatchObject({ code: 'DeadlineExceeded' });
  });

  it('stops reading at 10 KiB of a body that never ends', async () => {
    let sent = 0;
    const port = await listen(
      createHttpServer((_, response) => {
        response.writeHead(200);
        const timer = setInterval(() => {
          sent += 4096;
          response.write('x'.repeat(4096));
        }, 2);
        response.on('close', () => clearInterval(timer));
      }),
    );
    expect(await get(port)).toEqual({ verdict: 'success', output: '' });
    const atReply = sent;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent - atReply).toBeLessThan(40_960);
  });

  it.each([
    ['a reset before the head', '', 'reset', /connection reset by peer$/],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n', 'end', /malformed HTTP response/],
    ['an end without an answer', '', 'end', /EOF$/],
  ] as const)('fails at %s', async (_, bytes, then, text) => {
    const reply = await get(await raw(bytes, then));
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(text);
  });

  it('takes an upgrade offer and a path with spaces and letters of all kinds', async () => {
    const upgrade = await raw('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n', 'end');
    expect((await get(upgrade)).output).toBe('HTTP probe failed with statuscode: 101');
    const paths: (string | undefined)[] = [];
    const port = await listen(
      createHttpServer((request, response) => {
        paths.push(request.url);
        response.end();
      }),
    );
    for (const path of ['', 'a b', '/ä?q=1#frag', '//double', 'http://other.example/p?x', '/%41', '/\ud800x'])
      await get(port, { path });
    expect(paths).toEqual(['/', '/a%20b', '/%C3%A4?q=1', '//double', '/p?x', '/%41', '/%EF%BF%BDx']);
  });

  it('fails at once at a header that HTTP cannot carry', async () => {
    const reply = await get(9, { headers: [{ name: 'bad name', value: 'x' }] });
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(/bad name/);
  });

  it('speaks IPv6', async () => {
    let host: string | undefined;
    const port = await listen(
      createHttpServer((request, response) => {
        host = request.headers.host;
        response.end();
      }),
      '::1',
    );
    expect((await get(port, { host: '::1' })).verdict).toBe('success');
    expect(host).toBe(`[::1]:${port}`);
    expect((await probe.tcpSocket({ host: '::1', port, timeoutMs: 500 })).verdict).toBe('success');
  });

  it('names an unknown host', async () => {
    const reply = await get(80, { host: 'nobody.invalid' });
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(/dial tcp: lookup nobody\.invalid: /);
  });

  it('takes a gRPC probe to an HTTP/1 server as a failure', async () => {
    const port = await listen(createHttpServer((_, response) => response.end()));
    const reply = await probe.grpc({ host: '127.0.0.1', port, service: '', timeoutMs: 1000 });
    expect(reply.verdict).toBe('failure');
    expect(reply.output).toMatch(/^error: /);
  });
});
