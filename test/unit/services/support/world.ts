import type { EventRecorder } from '../../../../src/cluster/port.ts';
import { FakeConntrack } from '../../../../src/host/conntrack/fake.ts';
import { FakeIptables, type FakeIptablesOptions } from '../../../../src/host/iptables/fake.ts';
import { FakeNet } from '../../../../src/host/net/fake.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { EndpointSlice, Service } from '../../../../src/model/service.ts';
import { IptablesBackend } from '../../../../src/services/act/iptables-backend.ts';
import { ServiceLoop, type ServiceLoopOptions } from '../../../../src/services/loop.ts';
import type { LocalEndpoints, ProxyBackend } from '../../../../src/services/port.ts';
import { ProxyMetrics } from '../../../../src/services/proxy-metrics.ts';
import { FakeView } from './fake-view.ts';
import { facts, nodeIP } from './objects.ts';

export interface World {
  readonly clock: ManualClock;
  readonly services: FakeView<Service>;
  readonly slices: FakeView<EndpointSlice>;
  readonly kernel: FakeIptables;
  readonly conntrack: FakeConntrack;
  readonly net: FakeNet;
  readonly metrics: Metrics;
  readonly logged: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[];
  loop: ServiceLoop;
  /** Lets everything that is due happen. */
  settle(ms?: number): Promise<void>;
}

export interface WorldOptions {
  readonly kernel?: FakeIptables;
  readonly kernelOptions?: FakeIptablesOptions;
  readonly loop?: Partial<ServiceLoopOptions>;
  readonly localEndpoints?: LocalEndpoints;
  readonly services?: FakeView<Service>;
  readonly slices?: FakeView<EndpointSlice>;
  readonly conntrack?: FakeConntrack;
  /** Instead of `kernel`, which then stays empty. */
  readonly backend?: ProxyBackend;
  readonly events?: EventRecorder;
}

/** A whole Service loop over a kernel in memory. */
export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const clock = new ManualClock();
  const services = options.services ?? new FakeView<Service>();
  const slices = options.slices ?? new FakeView<EndpointSlice>();
  const family = options.kernelOptions?.family ?? 'IPv4';
  const kernel = options.kernel ?? new FakeIptables({ family, localAddresses: [nodeIP], ...options.kernelOptions });
  const conntrack = options.conntrack ?? new FakeConntrack();
  const net = new FakeNet({}, ['127.0.0.1', nodeIP]);
  const metrics = new Metrics();
  const logged: World['logged'] = [];
  const level = (name: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    logged.push({ level: name, message, fields });
  };
  const log = { ...silent, error: level('error'), warn: level('warn'), info: level('info'), child: () => log };
  const loop = new ServiceLoop(
    { facts, minSyncMs: 0, checkMs: 30_000, ...options.loop },
    {
      clock,
      log,
      metrics: new ProxyMetrics(metrics),
      services,
      slices,
      backends: [options.backend ?? new IptablesBackend({ iptables: kernel, log })],
      net,
      conntrack,
      ...(options.events === undefined ? {} : { events: options.events }),
      ...(options.localEndpoints === undefined ? {} : { localEndpoints: options.localEndpoints }),
    },
  );
  const settle = async (ms = 1): Promise<void> => {
    await clock.advance(ms);
    // A sync of many Services takes more than one turn of the event loop.
    for (
      let turn = 0;
      turn < 50 && loop.status().families.some((family) => family.pendingSince !== undefined);
      turn++
    ) {
      await clock.advance(0);
    }
  };
  return { clock, services, slices, kernel, conntrack, net, metrics, logged, loop, settle };
}

/** A world that has written its first rules. */
export async function startedWorld(options: WorldOptions = {}): Promise<World> {
  const world = await makeWorld(options);
  await world.loop.start();
  await world.settle();
  return world;
}
