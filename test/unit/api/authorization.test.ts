import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authorizer } from '../../../src/api/authorization/authorizer.ts';
import { subresourcesOf } from '../../../src/api/authorization/request-attributes.ts';
import { NodeServer } from '../../../src/api/node-server.ts';
import type { Caller, NodeAccess, Reviews } from '../../../src/api/port.ts';
import { Router, sendText } from '../../../src/api/router.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Authority } from '../../../src/standalone/certificates/authority.ts';
import type { KeyPair } from '../../../src/standalone/certificates/key-pair.ts';

/** What an API server knows: who holds which token, and which user or group may what of nodes ("get metrics"). */
class ReviewingServer implements Reviews {
  readonly holders = new Map<string, Caller>();
  readonly rules = new Map<string, readonly string[]>();
  readonly asked: string[] = [];
  away = false;

  holderOf(token: string): Promise<Caller | undefined> {
    this.asked.push(`token ${token}`);
    return this.answer(this.holders.get(token));
  }
  mayAccess({ username, groups }: Caller, { verb, subresource, name }: NodeAccess): Promise<boolean> {
    this.asked.push(`${username} ${verb} ${subresource} ${name}`);
    const rules = [username, ...groups].flatMap((who) => this.rules.get(who) ?? []);
    return this.answer(rules.includes('*') || rules.includes(`${verb} ${subresource}`));
  }
  private answer<T>(value: T): Promise<T> {
    if (this.away) return Promise.reject(new CodedError('Unavailable', 'away'));
    return Promise.resolve(value);
  }
}

const START = Date.now();
const clock = new ManualClock(START);
const api = new ReviewingServer();
let cluster: Authority;
let server: NodeServer;
let anonymous: NodeServer;
const agents = new Map<string, Agent>();
const shown = (pair: KeyPair) => ({ cert: pair.certificate, key: pair.key });

beforeAll(async () => {
  cluster = new Authority(await Authority.create('cluster', clock), { clock });
  const other = new Authority(await Authority.create('other', clock), { clock });
  const past = new Authority(cluster.pair, { clock: new ManualClock(START - 800 * 86_400_000) });
  const future = new Authority(cluster.pair, { clock: new ManualClock(START + 40 * 86_400_000) });
  const pair = shown(await cluster.issue({ commonName: 'n', usage: 'server', ipAddresses: ['127.0.0.1'] }));
  const serving = { current: () => pair, subscribe: () => () => {} };
  const clientAuthorities = { current: () => cluster.pair.certificate, subscribe: () => () => {} };
  const ok = { GET: reply, POST: reply, PUT: reply, PATCH: reply, DELETE: reply };
  const router = new Router().add('/*', ok);
  const authorizer = new Authorizer(
    { nodeName: 'node-1', allowedMs: 300_000, deniedMs: 30_000 },
    { reviews: api, clock, log: silent },
  );
  const start = async (isOpen: boolean): Promise<NodeServer> => {
    const security = { serving, clientAuthorities, tokens: api, authorizer };
    const made = new NodeServer(
      { address: '127.0.0.1', port: 0, anonymous: isOpen },
      { security, router, clock, log: silent },
    );
    await made.start();
    return made;
  };
  server = await start(false);
  anonymous = await start(true);
  const certificates: readonly (readonly [string, Authority])[] = [
    ['admin', cluster],
    ['metrics', cluster],
    ['proxy', cluster],
    ['nobody', cluster],
    ['expired', past],
    ['early', future],
    ['foreign', other],
  ];
  for (const [commonName, by] of certificates) {
    const organizations = commonName === 'admin' ? ['system:masters'] : [];
    agents.set(commonName, agentOf(await by.issue({ commonName, organizations, usage: 'client' })));
  }
  agents.set('none', agentOf());
  api.holders.set('t-scraper', { username: 'scraper', uid: '7', groups: ['scrapers'] });
  api.holders.set('t-reader', { username: 'reader', groups: [] });
  api.rules.set('system:masters', ['*']);
  api.rules.set('metrics', ['get metrics', 'get stats', 'create stats']);
  api.rules.set('proxy', ['get proxy', 'create proxy']);
  api.rules.set('scrapers', ['get metrics']);
  api.rules.set('reader', ['get pods', 'get healthz', 'get configz', 'get log', 'get statusz', 'create checkpoint']);
  api.rules.set('system:unauthenticated', ['get healthz']);
});
afterAll(async () => {
  for (const agent of agents.values()) agent.destroy();
  await Promise.all([server.close(), anonymous.close()]);
});

function reply({ response, caller }: Parameters<NonNullable<Parameters<Router['add']>[1]['GET']>>[0]): void {
  sendText(response, 200, `${caller.username} ${caller.groups.join()}`);
}

function agentOf(pair?: KeyPair): Agent {
  return new Agent({
    keepAlive: true,
    ca: cluster.pair.certificate,
    ...(pair === undefined ? {} : shown(pair)),
  });
}

async function call(who: string, method: string, path: string, at = server): Promise<{ status: number; text: string }> {
  const token = who.startsWith('t-') || who.startsWith('x-') ? who : undefined;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const agent = agents.get(token === undefined ? who : 'none');
  if (agent === undefined) throw new Error(`no agent ${who}`);
  const sent = request({ host: '127.0.0.1', port: at.port, path, method, agent, headers });
  sent.end();
  const [answer] = await once(sent, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode as number, text };
}

// Identity, method, path, and what kubelet 1.36 answers when the API server has the rules above.
const TABLE = `
  admin    GET    /pods                     200
  admin    GET    /containerLogs/a/b/c      200
  admin    POST   /exec/a/b/c               200
  admin    PUT    /debug/flags/v            200
  admin    DELETE /pods                     200
  admin    PATCH  /anything                 200
  metrics  GET    /metrics                  200
  metrics  GET    /metrics/cadvisor         200
  metrics  GET    /metrics/resource         200
  metrics  GET    /metrics/probes           200
  metrics  POST   /metrics                  403 create metrics
  metrics  GET    /stats/summary            200
  metrics  POST   /stats/summary            200
  metrics  PUT    /stats/summary            403 update stats
  metrics  GET    /pods                     403 get pods proxy
  metrics  GET    /runningpods/             403 get pods proxy
  metrics  GET    /healthz                  403 get healthz proxy
  metrics  GET    /healthz/syncloop         403 get healthz proxy
  metrics  GET    /configz                  403 get configz proxy
  metrics  GET    /flagz                    403 get configz
  metrics  GET    /statusz                  403 get statusz
  metrics  GET    /logs/                    403 get log
  metrics  GET    /exec/a/b/c               403 get proxy
  metrics  POST   /run/a/b/c                403 create proxy
  metrics  GET    /metricsx                 403 get proxy
  metrics  GET    /nothing                  403 get proxy
  proxy    GET    /pods                     200
  proxy    GET    /healthz                  200
  proxy    GET    /configz                  200
  proxy    GET    /exec/a/b/c               200
  proxy    POST   /portForward/a/b          200
  proxy    GET    /containerLogs/a/b/c      200
  proxy    GET    /metrics                  403 get metrics
  proxy    GET    /stats/summary            403 get stats
  proxy    GET    /logs/messages            403 get log
  proxy    POST   /checkpoint/a/b/c         403 create checkpoint
  proxy    GET    /flagz                    403 get configz
  proxy    PUT    /debug/flags/v            403 update proxy
  proxy    DELETE /exec/a/b/c               403 delete proxy
  nobody   GET    /healthz                  403 get healthz proxy
  nobody   GET    /pods                     403 get pods proxy
  nobody   HEAD   /metrics                  403
  t-reader GET    /pods                     200
  t-reader GET    /runningpods              200
  t-reader GET    /healthz/ping             200
  t-reader GET    /configz                  200
  t-reader GET    /flagz                    200
  t-reader GET    /logs/                    200
  t-reader GET    /statusz                  200
  t-reader POST   /checkpoint/a/b/c         200
  t-reader GET    /containerLogs/a/b/c      403 get proxy
  t-reader POST   /pods                     403 create pods proxy
  t-scraper GET   /metrics                  200
  t-scraper GET   /stats/summary            403 get stats
  t-scraper GET   /attach/a/b/c             403 get proxy
  x-unknown GET   /healthz                  401
  none     GET    /healthz                  401
  none     GET    /nothing                  401
  expired  GET    /healthz                  401
  early    GET    /healthz                  401
  foreign  GET    /healthz                  401
`;

describe('who may call the node API', () => {
  const rows = TABLE.trim()
    .split('\n')
    .map((line) => line.trim().split(/ +/));

  it.each(rows)('%s %s %s: %s', async (who = '', method = '', path = '', status = '', ...why) => {
    const answer = await call(who, method, path);
    expect(answer.status).toBe(Number(status));
    if (status === '401') expect(answer.text).toBe('Unauthorized');
    if (status === '403' && method !== 'HEAD') {
      const user = who.replace(/^t-/, '');
      const [verb, ...subresources] = why;
      expect(answer.text).toBe(
        `Forbidden (user=${user}, verb=${verb}, resource=nodes, subresource(s)=[${subresources.join(' ')}])\n`,
      );
    }
  });

  it('has sixty rows and more', () => {
    expect(rows.length).toBeGreaterThanOrEqual(60);
  });

  it('knows strangers only where they are welcome, and never those who show something bad', async () => {
    expect(await call('none', 'GET', '/healthz', anonymous)).toMatchObject({ status: 200 });
    expect((await call('none', 'GET', '/healthz', anonymous)).text).toBe('system:anonymous system:unauthenticated');
    expect((await call('none', 'GET', '/pods', anonymous)).text).toContain('user=system:anonymous, verb=get');
    expect(await call('x-unknown', 'GET', '/healthz', anonymous)).toMatchObject({ status: 401 });
    expect(await call('foreign', 'GET', '/healthz', anonymous)).toMatchObject({ status: 401 });
  });

  it('lets whoever is known do everything where nobody is to be asked', async () => {
    const open = new Authorizer(
      { nodeName: 'node-1', allowedMs: 1, deniedMs: 1 },
      { reviews: undefined, clock, log: silent },
    );
    expect(await open.refuse({ username: 'nobody', groups: [] }, 'DELETE', '/exec/a/b/c')).toBeUndefined();
  });

  it('remembers who holds a token for two minutes, also who holds none', async () => {
    const tokens = (): string[] => api.asked.splice(0).filter((line) => line.startsWith('token'));
    await call('t-scraper', 'GET', '/metrics');
    await clock.advance(120_001);
    tokens();
    await Promise.all([1, 2, 3].map(() => call('t-scraper', 'GET', '/metrics')));
    await call('x-second', 'GET', '/metrics');
    await call('x-second', 'GET', '/metrics');
    expect(tokens().sort()).toEqual(['token t-scraper', 'token x-second']);
    await clock.advance(119_000);
    await call('t-scraper', 'GET', '/metrics');
    expect(tokens()).toEqual([]);
    await clock.advance(2000);
    await call('t-scraper', 'GET', '/metrics');
    expect(tokens()).toEqual(['token t-scraper']);
  });

  it('remembers what is allowed for five minutes and what is not for thirty seconds', async () => {
    const asked = (): string[] => api.asked.splice(0).filter((line) => line.startsWith('proxy '));
    await clock.advance(300_001);
    asked();
    const both = async (): Promise<void> => {
      await call('proxy', 'GET', '/exec/a/b/c');
      await call('proxy', 'GET', '/metrics');
    };
    await both();
    await both();
    expect(asked()).toEqual(['proxy get proxy node-1', 'proxy get metrics node-1']);
    await clock.advance(30_001);
    await both();
    expect(asked()).toEqual(['proxy get metrics node-1']);
    await clock.advance(270_000);
    await both();
    expect(asked()).toEqual(['proxy get proxy node-1', 'proxy get metrics node-1']);
  });

  it('says that it does not know when the API server is away, and does not remember that', async () => {
    await clock.advance(300_001);
    api.away = true;
    expect(await call('admin', 'GET', '/pods')).toEqual({
      status: 500,
      text: 'Authorization error (user=admin, verb=get, resource=nodes, subresource=pods)',
    });
    expect(await call('t-reader', 'GET', '/pods')).toMatchObject({ status: 401 });
    api.away = false;
    expect(await call('admin', 'GET', '/pods')).toMatchObject({ status: 200 });
    expect(await call('t-reader', 'GET', '/pods')).toMatchObject({ status: 200 });
  });

  it('judges the path that is answered', async () => {
    for (const [path, location] of [
      ['/metrics/../exec/a/b/c', '/exec/a/b/c'],
      ['/metrics/%2e%2e/exec/a/b/c', '/exec/a/b/c'],
      ['/metrics%2f..%2fexec/a', '/exec/a'],
      ['//exec/a/b/c?x=1', '/exec/a/b/c?x=1'],
      ['/metrics/./resource', '/metrics/resource'],
    ] as const) {
      const sent = request({ host: '127.0.0.1', port: server.port, path, agent: agents.get('metrics') });
      sent.end();
      const [answer] = await once(sent, 'response');
      answer.resume();
      expect([path, answer.statusCode, answer.headers.location]).toEqual([path, 301, location]);
    }
    expect(await call('metrics', 'GET', '/metrics/%zz')).toMatchObject({ status: 400 });
    expect(await call('metrics', 'GET', '/metrics/%00')).toMatchObject({ status: 400 });
    expect(await call('metrics', 'GET', 'https://elsewhere/metrics')).toMatchObject({ status: 200 });
    expect(subresourcesOf('/metrics')).toEqual(['metrics']);
  });
});
