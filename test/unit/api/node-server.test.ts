import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NodeServer } from '../../../src/api/node-server.ts';
import { Router, sendText } from '../../../src/api/router.ts';
import { type Clock, SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Authority } from '../../../src/standalone/certificates/authority.ts';
import type { KeyPair } from '../../../src/standalone/certificates/key-pair.ts';

class Held<T> {
  value: T | undefined;
  private readonly listeners = new Set<() => void>();
  constructor(value: T | undefined) {
    this.value = value;
  }
  current(): T | undefined {
    return this.value;
  }
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  set(value: T): void {
    this.value = value;
    for (const listener of this.listeners) listener();
  }
}

/** Lets everybody do everything. */
const open = { refuse: () => Promise.resolve(undefined) };
const real = new SystemClock();
let offsetMs: number;
const clock: Clock = {
  now: () => real.now() + offsetMs,
  monotonic: () => real.monotonic(),
  after: (ms, run) => real.after(ms, run),
  sleep: (ms, signal) => real.sleep(ms, signal),
};
let cluster: Authority;
let other: Authority;
let serving: Held<{ cert: string; key: string }>;
let authorities: Held<string>;
let server: NodeServer;
let agents: Agent[];

const shown = (pair: KeyPair) => ({ cert: pair.certificate, key: pair.key });
const newAuthority = async (name: string) => new Authority(await Authority.create(name, real), { clock: real });
const client = (by: Authority, commonName = 'who') =>
  by.issue({ commonName, organizations: ['a', 'b'], usage: 'client' });
const serve = async () => shown(await cluster.issue({ commonName: 'n', usage: 'server', ipAddresses: ['127.0.0.1'] }));

let begin: () => void;
let finish: () => void;
let begun: Promise<void>;
let finished: Promise<void>;

beforeEach(async () => {
  begun = new Promise((resolve) => {
    begin = resolve;
  });
  finished = new Promise((resolve) => {
    finish = resolve;
  });
  offsetMs = 0;
  agents = [];
  cluster = await newAuthority('cluster');
  other = await newAuthority('other');
  serving = new Held(await serve());
  authorities = new Held(cluster.pair.certificate);
  const router = new Router()
    .add('/healthz', { GET: ({ response }) => sendText(response, 200, 'ok') })
    .add('/who/*', {
      GET: ({ response, caller, path, query }) =>
        sendText(response, 200, `${caller.username} ${caller.groups.join()} ${path} ${query.get('q')}`),
    })
    .add('/long', {
      GET: async ({ response }) => {
        response.write('begun ');
        begin();
        await finished;
        response.end('done');
      },
    })
    .add('/broken', { GET: () => Promise.reject(new Error('secret')) });
  server = new NodeServer(
    { address: '127.0.0.1', port: 0 },
    { security: { serving, clientAuthorities: authorities, authorizer: open }, router, clock, log: silent },
  );
  await server.start();
});
afterEach(async () => {
  for (const agent of agents) agent.destroy();
  await server.close();
});

const agentOf = (pair?: KeyPair): Agent => {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: cluster.pair.certificate,
    ...(pair === undefined ? {} : shown(pair)),
  });
  agents.push(agent);
  return agent;
};
const call = async (agent: Agent, path = '/healthz', method = 'GET') => {
  const sent = request({ host: '127.0.0.1', port: server.port, path, method, agent });
  sent.end();
  const [answer] = await once(sent, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode as number, text, reused: sent.reusedSocket };
};

describe('the node API', () => {
  it('answers callers with a certificate of its authorities, and nobody else', async () => {
    const known = agentOf(await client(cluster));
    expect(await call(known)).toMatchObject({ status: 200, text: 'ok' });
    expect(await call(known, '/who/x/y?q=1')).toMatchObject({ text: 'who a,b,system:authenticated /who/x/y 1' });
    expect(await call(agentOf())).toMatchObject({ status: 401, text: 'Unauthorized' });
    expect(await call(agentOf(await client(other)))).toMatchObject({ status: 401 });
    // A serving certificate of the right authority is for no client.
    const server = await cluster.issue({ commonName: 'x', usage: 'server' });
    expect(await call(agentOf(server))).toMatchObject({ status: 401 });
    // Who is not known is not told what there is.
    expect(await call(agentOf(), '/nothing')).toMatchObject({ status: 401 });
  });

  it('says 404 and 405, and keeps faults to itself', async () => {
    const known = agentOf(await client(cluster));
    expect(await call(known, '/pods')).toMatchObject({ status: 404 });
    expect(await call(known, '/healthz/x')).toMatchObject({ status: 404 });
    expect(await call(known, '/healthz', 'POST')).toMatchObject({ status: 405 });
    const broken = await call(known, '/broken');
    expect(broken.status).toBe(500);
    expect(broken.text).not.toContain('secret');
  });

  it('shows a new certificate to new connections and drops none that is open', async () => {
    const agent = agentOf(await client(cluster));
    await call(agent);
    const peer = async (): Promise<string> => {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port: server.port, ca: cluster.pair.certificate });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const before = await peer();
    serving.set(await serve());
    expect(await peer()).not.toBe(before);
    expect(await call(agent)).toMatchObject({ status: 200, reused: true });
    // What cannot be used changes nothing.
    serving.set({ cert: 'garbage', key: 'garbage' });
    expect(await call(agentOf(await client(cluster)))).toMatchObject({ status: 200 });
  });

  it('believes other authorities when they are replaced, on open connections too', async () => {
    const [mine, theirs] = [agentOf(await client(cluster)), agentOf(await client(other))];
    expect([(await call(mine)).status, (await call(theirs)).status]).toEqual([200, 401]);
    authorities.set(`${cluster.pair.certificate}${other.pair.certificate}`);
    expect(await call(mine)).toMatchObject({ status: 200, reused: true });
    expect(await call(agentOf(await client(other)))).toMatchObject({ status: 200 });
    authorities.set(other.pair.certificate);
    expect(await call(mine)).toMatchObject({ status: 401, reused: true });
  });

  it('knows nobody any more whose certificate expires while the connection lives', async () => {
    const agent = agentOf(await client(cluster));
    expect((await call(agent)).status).toBe(200);
    offsetMs = 366 * 86_400_000;
    expect(await call(agent)).toMatchObject({ status: 401, reused: true });
  });

  it('lets those go that have waited longest, and none that is at work', async () => {
    const working = agentOf(await client(cluster));
    const long = call(working, '/long');
    const sockets: Socket[] = [];
    for (let i = 0; i < 300; i++) sockets.push(connectPlain(server.port, '127.0.0.1').on('error', () => {}));
    await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length).toBe(44);
    expect(sockets.slice(-200).some(({ destroyed }) => destroyed)).toBe(false);
    expect(await call(agentOf(await client(cluster)))).toMatchObject({ status: 200 });
    finish();
    expect(await long).toMatchObject({ text: 'begun done' });
    for (const socket of sockets) socket.destroy();
  });

  it('lets what is under way end when it closes, for a while', async () => {
    const [first, second] = [agentOf(await client(cluster)), agentOf(await client(cluster))];
    const long = call(first, '/long');
    await call(second);
    await begun;
    const closing = server.close();
    await expect(call(agentOf(await client(cluster)))).rejects.toThrow();
    finish();
    expect(await long).toMatchObject({ text: 'begun done' });
    await closing;
  });

  it('says which address it could not have', async () => {
    const second = new NodeServer(
      { address: '127.0.0.1', port: server.port },
      { security: { serving, authorizer: open }, router: new Router(), clock, log: silent },
    );
    await expect(second.start()).rejects.toMatchObject({ code: 'Unavailable' });
  });
});
