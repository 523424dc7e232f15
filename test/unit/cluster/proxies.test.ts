import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { HttpApiClient } from '../../../src/cluster/api-client.ts';
import { ApiTransport } from '../../../src/cluster/api-transport.ts';
import { ConnectionCredentials } from '../../../src/cluster/connection-credentials.ts';
import { proxyFor } from '../../../src/cluster/proxy-choice.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { resources } from '../../../src/model/resource.ts';
import { MemoryApi } from './memory-api.ts';
import { type RunningServer, serveMemoryApi } from './memory-api-server.ts';
import { TestPki } from './test-pki.ts';

describe('the choice of a proxy', () => {
  const env = { HTTPS_PROXY: 'http://p:3128', HTTP_PROXY: 'plain:8080' };
  test.each([
    ['https://10.0.0.1:6443', env, 'http://p:3128'],
    ['http://10.0.0.1', env, 'http://plain:8080'],
    ['https://10.0.0.1', { https_proxy: 'socks5://u:p@s' }, 'socks5://u:p@s'],
    ['https://localhost:6443', env, undefined],
    ['https://127.3.2.1:6443', env, undefined],
    ['https://[::1]:6443', env, undefined],
    ['https://10.0.0.1', {}, undefined],
    ['https://10.0.0.1', { ...env, NO_PROXY: '*' }, undefined],
    ['https://10.0.0.1:6443', { ...env, NO_PROXY: 'a.b, 10.0.0.0/8' }, undefined],
    ['https://11.0.0.1:6443', { ...env, NO_PROXY: '10.0.0.0/8' }, 'http://p:3128'],
    ['https://10.0.0.1:6443', { ...env, no_proxy: '10.0.0.1:6443' }, undefined],
    ['https://10.0.0.1:6443', { ...env, NO_PROXY: '10.0.0.1:443' }, 'http://p:3128'],
    ['https://[fd00::1]:6443', { ...env, NO_PROXY: 'fd00::/8' }, undefined],
    ['https://[fd00::1]:6443', { ...env, NO_PROXY: '[fd00::1]:6443' }, undefined],
    ['https://kube.test', { ...env, NO_PROXY: 'kube.test' }, undefined],
    ['https://api.kube.test', { ...env, NO_PROXY: 'kube.test' }, undefined],
    ['https://kube.test', { ...env, NO_PROXY: '.kube.test' }, 'http://p:3128'],
    ['https://api.kube.test', { ...env, NO_PROXY: '*.kube.test' }, undefined],
    ['https://notkube.test', { ...env, NO_PROXY: 'kube.test' }, 'http://p:3128'],
  ])('for %s in %j is %s', (server, environment, expected) => {
    const proxy = proxyFor(new URL(server), undefined, environment);
    expect(proxy?.href.replace(/\/$/, '')).toBe(expected);
  });

  test("the kubeconfig's own goes before all", () => {
    const own = new URL('socks5://own:1080');
    expect(proxyFor(new URL('https://localhost'), own, { NO_PROXY: '*' })).toBe(own);
  });

  test('one that makes no sense is refused without its password', () => {
    const choose = () => proxyFor(new URL('https://a'), undefined, { HTTPS_PROXY: 'ftp://u:hunter2@p' });
    expect(choose).toThrow(/HTTPS_PROXY is no URL of a proxy/);
    expect(choose).not.toThrow(/hunter2/);
  });
});

/** Proxies that really forward. */
class Proxies {
  readonly targets: string[] = [];
  readonly logins: string[] = [];
  private readonly servers: Server[] = [];
  private readonly sockets = new Set<Socket>();

  async http(tls?: { cert: string; key: string }): Promise<number> {
    const serve = (near: Socket): void => {
      this.hold(near);
      let head = '';
      const onData = (chunk: Buffer): void => {
        head += chunk.toString('latin1');
        if (!head.includes('\r\n\r\n')) return;
        near.off('data', onData);
        const target = /^CONNECT (\S+) /.exec(head)?.[1] ?? '';
        this.targets.push(target);
        const login = /proxy-authorization: Basic (\S+)/i.exec(head)?.[1];
        if (login !== undefined) this.logins.push(Buffer.from(login, 'base64').toString());
        if (login === undefined) {
          near.end('HTTP/1.1 407 Who are you\r\n\r\n');
          return;
        }
        this.join(near, Number(target.split(':').at(-1)), 'HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n');
      };
      near.on('data', onData);
    };
    return await this.listen(tls === undefined ? createServer(serve) : createTlsServer(tls, serve));
  }

  async socks(): Promise<number> {
    return await this.listen(
      createServer((near) => {
        this.hold(near);
        let step = 0;
        near.on('data', (chunk: Buffer) => {
          if (step === 0) {
            step = chunk.includes(2, 2) ? 1 : 2;
            near.write(Buffer.from([5, step === 1 ? 2 : 0]));
          } else if (step === 1) {
            const length = chunk[1] ?? 0;
            const login = `${chunk.toString('utf8', 2, 2 + length)}:${chunk.toString('utf8', 3 + length)}`;
            this.logins.push(login);
            near.write(Buffer.from([1, login === 'u:p w' ? 0 : 1]));
            step = 2;
          } else if (step === 2) {
            step = 3;
            const length = chunk[4] ?? 0;
            this.targets.push(chunk.toString('utf8', 5, 5 + length));
            near.removeAllListeners('data');
            this.join(near, chunk.readUInt16BE(5 + length), Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
          }
        });
      }),
    );
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  }

  private join(near: Socket, port: number, greeting: string | Buffer): void {
    const far = connect(port, '127.0.0.1', () => {
      near.write(greeting);
      near.pipe(far).pipe(near);
    });
    this.hold(far);
  }

  private hold(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }

  private async listen(server: Server): Promise<number> {
    this.servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as { port: number }).port;
  }
}

describe('requests through a proxy', () => {
  let pki: TestPki;
  let server: RunningServer;
  const proxies = new Proxies();
  const clock = new SystemClock();

  beforeAll(async () => {
    pki = new TestPki();
    const memory = new MemoryApi();
    memory.put(resources.serviceaccounts, { metadata: { name: 'default', namespace: 'default' } });
    server = await serveMemoryApi(memory, { ...pki.server(), ca: pki.ca }, {});
  });
  afterAll(async () => {
    await server.close();
    pki.close();
  });
  afterEach(() => proxies.close());

  const ask = async (proxy: string | undefined, env: Record<string, string> = {}, http2 = true): Promise<string> => {
    const to = new URL(server.url);
    // A name that only a proxy can resolve would do as well; localhost is in the certificate.
    if (proxy !== undefined) to.hostname = 'localhost';
    const connection = { server: to, ca: pki.ca, ...(proxy === undefined ? {} : { proxy: new URL(proxy) }) };
    const credentials = new ConnectionCredentials(connection, { clock, logger: silent });
    const transport = new ApiTransport({ http2 }, { credentials, clock, env });
    const api = new HttpApiClient({ connection, requestTimeoutMs: 3000 }, { clock, transport });
    try {
      const found = await api.get(resources.serviceaccounts, { namespace: 'default', name: 'default' });
      return found.metadata.name ?? '';
    } catch (error) {
      return error instanceof CodedError ? `${error.code}: ${error.message}` : String(error);
    } finally {
      transport.close();
      credentials.close();
    }
  };

  test.each([true, false])('HTTP CONNECT, HTTP/2 within: %s', async (http2) => {
    const port = await proxies.http();
    proxies.logins.length = 0;
    expect(await ask(`http://u:p%20w@127.0.0.1:${port}`, {}, http2)).toBe('default');
    expect(proxies.logins).toEqual(['u:p w']);
    expect(proxies.targets.at(-1)).toBe(`localhost:${new URL(server.url).port}`);
  });

  test('a proxy that refuses is named without its password', async () => {
    const port = await proxies.http();
    const refused = await ask(`http://127.0.0.1:${port}`);
    expect(refused).toContain('Unavailable');
    expect(refused).toContain('answered CONNECT with 407');
    const socks = await proxies.socks();
    const wrong = await ask(`socks5://u:hunter2@127.0.0.1:${socks}`);
    expect(wrong).toContain('refused the user name or password');
    expect(wrong).not.toContain('hunter2');
  });

  test.each([true, false])('SOCKS5 with a login, HTTP/2 within: %s', async (http2) => {
    const port = await proxies.socks();
    expect(await ask(`socks5://u:p%20w@127.0.0.1:${port}`, {}, http2)).toBe('default');
    expect(proxies.targets.at(-1)).toBe('localhost');
  });

  test('SOCKS5 without a login', async () => {
    expect(await ask(`socks5://127.0.0.1:${await proxies.socks()}`)).toBe('default');
  });

  test('a proxy whose certificate nobody signed is not trusted', async () => {
    const port = await proxies.http(pki.server('proxy'));
    expect(await ask(`https://u:p@127.0.0.1:${port}`)).toContain('Unavailable');
  });

  test('loopback is reached without the proxy of the environment', async () => {
    expect(await ask(undefined, { HTTPS_PROXY: 'http://127.0.0.1:1' })).toBe('default');
  });
});
