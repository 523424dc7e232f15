import { afterEach, describe, expect, it } from 'vitest';
import { HealthCheckNodePorts } from '../../../src/api/health-check-node-ports.ts';
import { PlainServer } from '../../../src/api/plain-server.ts';
import { type ProxierState, ProxyHealth } from '../../../src/api/proxy-health.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { Node } from '../../../src/model/node.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const at = Date.parse('2026-01-02T03:04:05Z');

function healthOf(families: readonly ProxierState[], node: Partial<Node> | undefined = { metadata: {} }) {
  const metrics = new Metrics();
  const health = new ProxyHealth(60_000, {
    families: () => families,
    node: () => node as Node | undefined,
    now: () => at,
    metrics,
  });
  const ask = async (path: string): Promise<{ status: number | undefined; body: unknown }> => {
    const answer = await health.answers(path, { query: new URLSearchParams(), isLocal: true });
    return { status: answer?.status, body: answer === undefined ? undefined : JSON.parse(answer.body) };
  };
  return { health, metrics, ask };
}

const state = (pendingSince?: number): ProxierState => ({
  family: 'IPv4',
  lastSyncedAt: at - 90_000,
  pendingSince,
});

describe('/healthz and /livez of the proxy', () => {
  it('well: in kube-proxy’s words', async () => {
    const { ask } = healthOf([state()]);
    expect(await ask('/healthz')).toEqual({
      status: 200,
      body: {
        lastUpdated: '2026-01-02T03:04:05.000Z',
        currentTime: '2026-01-02T03:04:05.000Z',
        nodeEligible: true,
        status: { IPv4: { lastUpdated: '2026-01-02T03:02:35.000Z', healthy: true } },
      },
    });
    expect((await ask('/livez')).body).not.toHaveProperty('nodeEligible');
    expect((await ask('/other')).status).toBeUndefined();
  });

  it('a change that waits for less than the time-out is fine, for longer it is not', async () => {
    expect((await healthOf([state(at - 59_000)]).ask('/livez')).status).toBe(200);
    const { ask, health, metrics } = healthOf([state(at - 61_000)]);
    const { status, body } = await ask('/livez');
    expect(status).toBe(503);
    expect(body).toMatchObject({ lastUpdated: '2026-01-02T03:02:35.000Z', status: { IPv4: { healthy: false } } });
    expect(health.healthy).toBe(false);
    expect(await metrics.text()).toContain('kubeproxy_proxy_livez_total{code="503"} 1');
  });

  it('is well while it starts', async () => {
    expect(await healthOf([{ ...state(at - 99_000), lastSyncedAt: undefined }]).ask('/livez')).toMatchObject({
      status: 200,
    });
  });

  it.each([
    ['deleted', { metadata: { deletionTimestamp: '2026-01-02T03:04:05Z' } }],
    ['tainted', { metadata: {}, spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] } }],
  ])('a node that is being %s is out for load balancers, but live', async (_what, node) => {
    const { ask } = healthOf([state()], node as Partial<Node>);
    expect(await ask('/healthz')).toMatchObject({ status: 503, body: { nodeEligible: false } });
    expect((await ask('/livez')).status).toBe(200);
  });
});

async function freePort(): Promise<number> {
  const server = new PlainServer(
    { address: '127.0.0.1', port: 0, what: 'nothing', otherwise: '' },
    { answers: () => undefined, log: silent },
  );
  await server.start();
  const { port } = server;
  await server.close();
  return port;
}

describe('health check node ports', () => {
  function open(healthy = true) {
    const failures: string[] = [];
    let failed: () => void = () => {};
    const failure = new Promise<void>((resolve) => {
      failed = resolve;
    });
    const ports = new HealthCheckNodePorts({
      healthy: () => healthy,
      addresses: () => ['127.0.0.1'],
      failed: (service, port) => {
        failures.push(`${service} ${port}`);
        failed();
      },
      log: silent,
    });
    closing.push(() => ports.close());
    return { ports, failures, failure };
  }
  /** Until it listens. */
  async function get(port: number): Promise<Response> {
    for (let turn = 0; ; turn++) {
      try {
        return await fetch(`http://127.0.0.1:${port}/any/path`);
      } catch (error) {
        if (turn > 100) throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  it('says how many endpoints there are, and 503 without any', async () => {
    const { ports } = open();
    const port = await freePort();
    ports.set('IPv4', 'ns/web', port, 2);
    const two = await get(port);
    expect([two.status, two.headers.get('x-load-balancing-endpoint-weight')]).toEqual([200, '2']);
    expect(two.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await two.json()).toEqual({
      service: { namespace: 'ns', name: 'web' },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    });
    ports.set('IPv4', 'ns/web', port, 0);
    expect((await get(port)).status).toBe(503);
  });

  it('is out while the proxy is not healthy', async () => {
    const { ports } = open(false);
    const port = await freePort();
    ports.set('IPv4', 'ns/web', port, 2);
    expect((await get(port)).status).toBe(503);
  });

  it('stops with its Service, and moves with its port', async () => {
    const { ports } = open();
    const [port, other] = [await freePort(), await freePort()];
    ports.set('IPv4', 'ns/web', port, 1);
    await get(port);
    ports.set('IPv4', 'ns/web', other, 1);
    expect((await get(other)).status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
    ports.set('IPv4', 'ns/web', 0, 0);
    await expect(fetch(`http://127.0.0.1:${other}/`)).rejects.toThrow();
  });

  it('a port that is taken is told', async () => {
    const { ports, failures, failure } = open();
    const port = await freePort();
    ports.set('IPv4', 'ns/first', port, 1);
    await get(port);
    ports.set('IPv4', 'ns/second', port, 1);
    await failure;
    expect(failures).toEqual([`ns/second ${port}`]);
    expect(await (await get(port)).json()).toMatchObject({ service: { name: 'first' } });
  });
});
