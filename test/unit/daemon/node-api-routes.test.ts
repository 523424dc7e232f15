import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Router } from '../../../src/api/router.ts';
import type { Foundation } from '../../../src/daemon/foundation.ts';
import type { NodeApiDeps } from '../../../src/daemon/node-api.ts';
import { withPodRoutes } from '../../../src/daemon/node-api-routes.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

let server: Server;
afterEach(() => server.close());

/** Serves the routes of a node whose handlers are set as given. */
async function serve(nodeAPI: object): Promise<(method: string, path: string) => Promise<string>> {
  const foundation = { config: { nodeAPI, featureGates: {}, rootDir: '/none' }, clock: new ManualClock() };
  const router = withPodRoutes(new Router(), foundation as unknown as Foundation, {} as unknown as NodeApiDeps);
  const caller = { username: 'a', groups: [] };
  server = createServer((incoming, response) => {
    const path = incoming.url ?? '';
    void router.handle({ request: incoming, response, caller, path, query: new URLSearchParams() });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return async (method, path) => {
    const sent = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', path, method });
    sent.end();
    const [answer] = await once(sent, 'response');
    let text = '';
    for await (const chunk of answer) text += chunk;
    return `${answer.statusCode} ${text.trim()}`;
  };
}

it('says that debugging is off where it is', async () => {
  const ask = await serve({ debuggingHandlers: false });
  for (const path of [
    '/run/a/b/c',
    '/exec/a/b/c',
    '/attach/a/b/c',
    '/portForward/a/b',
    '/containerLogs/a/b/c',
    '/runningpods/',
    '/logs/',
  ]) {
    expect([path, await ask('GET', path)]).toEqual([path, '405 Debug endpoints are disabled.']);
  }
  expect(await ask('POST', '/exec/a/b/c')).toBe('405 Debug endpoints are disabled.');
  expect(await ask('GET', '/configz')).toBe('404 404: Page Not Found');
});

it('says that profiles and flags are not served where they are not', async () => {
  const ask = await serve({ debuggingHandlers: true, systemLogHandler: false, streamIdleMs: 1 });
  expect(await ask('GET', '/debug/pprof/heap')).toBe('405 profiling endpoint is disabled.');
  expect(await ask('PUT', '/debug/flags/v')).toBe('405 flags endpoint is disabled.');
});

it('says that the logs of the machine are not served where they are not', async () => {
  const ask = await serve({ debuggingHandlers: true, systemLogHandler: false, streamIdleMs: 1 });
  expect(await ask('GET', '/logs/messages')).toBe('405 logs endpoint is disabled.');
});
