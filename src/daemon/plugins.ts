import type { ApiClient, View } from '../cluster/port.ts';
import { WatchCache, type WatchCacheMetrics } from '../cluster/watch-cache.ts';
import { CsiMetrics } from '../host/csi/csi-metrics.ts';
import { RealCsiNode } from '../host/csi/real.ts';
import { RealPluginRegistration } from '../host/csi/real-registration.ts';
import type { Files } from '../host/files/port.ts';
import { watchDirectory } from '../host/watch/real.ts';
import { resources } from '../model/resource.ts';
import type { CSIDriver } from '../model/storage.ts';
import { CsiAllocatable } from '../node/plugins/csi-allocatable.ts';
import { CsiDriverRegistry } from '../node/plugins/csi-driver-registry.ts';
import { CsiNodeWriter } from '../node/plugins/csi-node-writer.ts';
import { PluginWatcher } from '../node/plugins/plugin-watcher.ts';
import type { PluginHandler } from '../node/plugins/port.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface Plugins {
  readonly csiDrivers: CsiDriverRegistry;
  /** The cluster's CSIDriver objects, watched from the first question on. */
  csiDriverObjects(): View<CSIDriver>;
  /** Begins to look for plugins; `devices` takes those that have devices. */
  run(devices: PluginHandler): void;
}

/** What plugs into this node by a socket below the root directory: CSI drivers, and plugins that have devices. */
export function openPlugins(
  foundation: Foundation,
  { api, files, metrics }: { api: ApiClient; files: Files; metrics: WatchCacheMetrics },
): Plugins {
  const { config, clock, log, closers } = foundation;
  const logger = log.child({ part: 'plugins' });
  const csiNode = new CsiNodeWriter({ nodeName: config.nodeName }, { api, clock, log: logger });
  const calls = new CsiMetrics(foundation.metrics);
  const csiDrivers = new CsiDriverRegistry({
    open: (endpoint, name) =>
      new RealCsiNode(
        { endpoint },
        { clock, called: (method, seconds, error) => calls.record(name, method, seconds, error) },
      ),
    cluster: csiNode,
    log: logger,
  });
  closers.add('CSI drivers', () => csiDrivers.close());
  const watcherFor = (devices: PluginHandler): PluginWatcher =>
    new PluginWatcher(
      { directory: `${config.rootDir}/plugins_registry` },
      {
        files,
        watch: watchDirectory,
        registration: new RealPluginRegistration({ clock }),
        handlers: { CSIPlugin: csiDrivers, DevicePlugin: devices },
        clock,
        log: logger,
      },
    );
  let cache: WatchCache<CSIDriver, CSIDriver> | undefined;
  const csiDriverObjects = (): View<CSIDriver> => {
    if (cache === undefined) {
      const opened = new WatchCache<CSIDriver, CSIDriver>(
        {
          type: resources.csidrivers,
          project: ({ metadata: { name = '' }, spec }) => ({ metadata: { name }, spec }),
        },
        { api, clock, logger: log.child({ part: 'watch csidrivers' }), metrics },
      );
      runPart(foundation, 'watch of csidrivers', (signal) => opened.run(signal));
      cache = opened;
    }
    return cache;
  };
  const allocatable = new CsiAllocatable({ drivers: csiDrivers, objects: csiDriverObjects, clock, log: logger });
  return {
    csiDrivers,
    csiDriverObjects,
    run: (devices) => {
      const watcher = watcherFor(devices);
      runPart(foundation, 'CSINode', (signal) => csiNode.initialize(signal));
      runPart(foundation, 'plugins', (signal) => watcher.run(signal));
      runPart(foundation, 'CSI volume counts', (signal) => allocatable.run(signal));
    },
  };
}
