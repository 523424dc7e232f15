import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { HealthCheck } from '../../../src/api/health-checks.ts';
import { HealthServer } from '../../../src/api/health-server.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';

let server: HealthServer;
let problem: string | undefined;
let hang = false;
let ready = true;
const metrics = new Metrics();
metrics.counter('deckhand_test_total', 'A test.').inc(7);

const checks: HealthCheck[] = [
  { name: 'ping', kind: 'live', check: () => undefined },
  {
    name: 'syncloop',
    kind: 'live',
    check: async () => {
      if (hang) await new Promise(() => {});
      if (problem === 'throw') throw new Error('thrown');
      return problem;
    },
  },
  { name: 'caches', kind: 'ready', check: () => (ready ? undefined : 'pods are not synced') },
];

beforeEach(async () => {
  problem = undefined;
  hang = false;
  ready = true;
  server = new HealthServer(
    { address: '127.0.0.1', port: 0, checkTimeoutMs: 100 },
    { checks, metrics, clock: new SystemClock(), logger: silent },
  );
  await server.start();
});
afterEach(() => server.close());

function ask(path: string, method = 'GET'): Promise<{ status: number; body: string; type: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, method, agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body, type: answer.headers['content-type'] }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('HealthServer', () => {
  test('is ok when all is well', async () => {
    for (const path of ['/healthz', '/livez', '/readyz'])
      expect(await ask(path)).toMatchObject({ status: 200, body: 'ok' });
    expect((await ask('/readyz?verbose')).body).toBe('[+]ping ok\n[+]syncloop ok\n[+]caches ok\nreadyz check passed\n');
    expect((await ask('/healthz?verbose')).body).not.toContain('caches');
  });

  test('not ready is not unhealthy', async () => {
    ready = false;
    expect((await ask('/livez')).status).toBe(200);
    expect(await ask('/readyz')).toMatchObject({
      status: 500,
      body: '[+]ping ok\n[+]syncloop ok\n[-]caches failed: pods are not synced\nreadyz check failed\n',
    });
    expect((await ask('/readyz?exclude=caches')).status).toBe(200);
  });

  test('a check that fails, throws or hangs is told; single ones can be asked', async () => {
    problem = 'stuck';
    expect((await ask('/healthz')).body).toContain('[-]syncloop failed: stuck');
    expect((await ask('/healthz/ping')).status).toBe(200);
    expect((await ask('/healthz/syncloop')).status).toBe(500);
    problem = 'throw';
    expect((await ask('/healthz')).body).toContain('[-]syncloop failed: thrown');
    hang = true;
    expect((await ask('/healthz')).body).toContain('[-]syncloop failed: no answer within 100 ms');
  });

  test('serves metrics', async () => {
    const answer = await ask('/metrics');
    expect(answer.type).toContain('text/plain; version=0.0.4');
    expect(answer.body).toContain('deckhand_test_total 7');
  });

  test('knows nothing else', async () => {
    for (const path of ['/', '/healthz/none', '/metrics/x', '/healthz/ping/x', '/constructor', '//']) {
      expect((await ask(path)).status).toBe(404);
    }
    expect((await ask('/healthz', 'POST')).status).toBe(405);
    expect(await ask('/healthz', 'HEAD')).toMatchObject({ status: 200, body: '' });
  });

  test('a taken port is named, with the fields that choose another', async () => {
    const second = new HealthServer(
      { address: '127.0.0.1', port: server.port },
      { checks, metrics, clock: new SystemClock(), logger: silent },
    );
    await expect(second.start()).rejects.toThrow(new RegExp(`127.0.0.1:${server.port}: .*EADDRINUSE.*healthzPort`));
  });

  test('cuts off a client that is slow to say what it wants', { timeout: 15_000 }, async () => {
    const socket = connect(server.port, '127.0.0.1');
    const started = performance.now();
    const timer = setInterval(() => socket.write('X'), 200);
    socket.write('GET /healthz HTTP/1.1\r\nX-Slow: ');
    socket.on('error', () => {});
    socket.resume();
    await new Promise((resolve) => socket.on('close', resolve));
    clearInterval(timer);
    expect(performance.now() - started).toBeLessThan(9000);
  });
});
