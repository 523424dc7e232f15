import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ProxyHealth } from '../../../src/api/proxy-health.ts';
import type { Config } from '../../../src/config/config.ts';
import { loadConfig } from '../../../src/config/load-config.ts';
import { Closers } from '../../../src/daemon/closers.ts';
import type { Foundation } from '../../../src/daemon/foundation.ts';
import { openHealthCheckNodePorts, serveProxy } from '../../../src/daemon/proxy-servers.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import { facts } from '../services/support/objects.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A port that somebody else has. */
async function takenPort(address = '127.0.0.1'): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  closing.push(() => new Promise((resolve) => server.close(() => resolve())));
  return (server.address() as AddressInfo).port;
}

async function foundationWith(services: Partial<Config['services']>): Promise<Foundation & { warnings: string[] }> {
  const { config } = await loadConfig({ files: [], flags: {}, hostname: () => 'node-1' });
  const closers = new Closers(silent);
  closing.push(() => closers.close());
  const warnings: string[] = [];
  const log = { ...silent, warn: (_fields: object, text: string) => void warnings.push(text), child: () => log };
  return {
    config: { ...config, services: { ...config.services, ...services } },
    clock: new SystemClock(),
    log,
    setVerbosity: () => {},
    metrics: new Metrics(),
    closers,
    version: '0',
    failed: () => {},
    warnings,
  };
}

const healthOf = ({ metrics }: Foundation): ProxyHealth =>
  new ProxyHealth(1000, { families: () => [], node: () => undefined, now: () => 0, metrics });

describe("kube-proxy's ports", () => {
  const serve = async (bindAddressHardFail: boolean): Promise<string[]> => {
    const taken = { address: '127.0.0.1', port: await takenPort() };
    const free = { address: '127.0.0.1', port: 0 };
    const foundation = await foundationWith({ healthz: taken, metrics: free, bindAddressHardFail });
    await serveProxy(foundation, {
      mode: 'nftables',
      health: healthOf(foundation),
      inspector: { inspect: () => Promise.reject(new Error('not asked')) } as never,
      effective: () => [],
    });
    return foundation.warnings;
  };

  it('that are taken are done without, unless bindAddressHardFail is set', async () => {
    expect(await serve(false)).toEqual(['goes on without serving the proxy health']);
    await expect(serve(true)).rejects.toMatchObject({ code: 'Unavailable' });
  });
});

describe('a health check node port that is taken', () => {
  it('is told in an event of the Service', async () => {
    const foundation = await foundationWith({});
    const port = await takenPort('0.0.0.0');
    const told = new Promise<unknown[]>((resolve) => {
      const ports = openHealthCheckNodePorts(foundation, {
        net: { localAddresses: () => ['127.0.0.1'] },
        health: healthOf(foundation),
        events: { event: (...words) => resolve(words) },
        facts,
      });
      ports.set('IPv4', 'ns/web', port, 1);
    });
    expect(await told).toEqual([
      { apiVersion: 'v1', kind: 'Service', namespace: 'ns', name: 'web' },
      'Warning',
      'FailedToStartServiceHealthcheck',
      expect.stringMatching(`^node node-1 failed to start healthcheck "ns/web" on port ${port}: .*EADDRINUSE`),
    ]);
  });
});
