import type { EventRecorder } from '../cluster/port.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import type { StatsPort } from '../host/stats/port.ts';
import { nodeReference } from '../node/node-agent.ts';
import type { PressureMonitor } from '../node/pressure-monitor.ts';
import { EvictionManager } from '../pods/eviction/eviction-manager.ts';
import { UsageSource } from '../pods/eviction/usage-source.ts';
import { Housekeeping } from '../pods/housekeeping.ts';
import { ImageCollector } from '../pods/images/image-collector.ts';
import type { ContainerLogs } from '../pods/logs/container-logs.ts';
import { type LiveLog, LogRotator } from '../pods/logs/log-rotator.ts';
import type { PodLoop } from '../pods/loop.ts';
import { isAlive } from '../pods/observe/pod-runtime.ts';
import type { RuntimeCache } from '../pods/observe/runtime-cache.ts';
import { PodPaths } from '../pods/volumes/pod-paths.ts';
import type { VolumeManager } from '../pods/volumes/port.ts';
import type { VolumeStatistics } from '../pods/volumes/volume-statistics.ts';
import { type Foundation, runPart } from './foundation.ts';
import type { Machine } from './machine.ts';
import type { DaemonPodSources } from './pod-sources.ts';

export interface HousekeepingParts {
  readonly cri: CriRuntime;
  readonly machine: Machine;
  readonly pressure: PressureMonitor;
  readonly events: EventRecorder;
  readonly files: Files;
  readonly logs: ContainerLogs;
  readonly volumes: Pick<VolumeManager, 'existing' | 'tearDown'>;
  readonly sources: DaemonPodSources;
  readonly loop: PodLoop;
  readonly runtime: RuntimeCache;
  readonly stats: StatsPort;
  readonly statistics: VolumeStatistics;
}

const SWEEP_MS = 10_000;
/** kubelet's ContainerGCPeriod. */
const CONTAINER_GC_MS = 60_000;

/** Starts what keeps the node tidy: leftovers of vanished pods, logs. */
export function startHousekeeping(foundation: Foundation, parts: HousekeepingParts): void {
  const { config, clock, log } = foundation;
  const { cri, machine, events, files, logs, volumes, sources, loop, runtime } = parts;
  const node = nodeReference(config.nodeName);
  const housekeeping = new Housekeeping(
    { podLogsDir: config.podLogsDir, everyMs: SWEEP_MS, linksEveryMs: CONTAINER_GC_MS },
    {
      knownUids: () => new Set([...loop.knownUids(), ...uidsOf(sources)]),
      volumes,
      cgroups: machine.podCgroups,
      files,
      removeDanglingLinks: () => logs.removeDanglingLinks((id) => runs(runtime, id)),
      failed: (message) => events.event(node, 'Warning', 'ContainerGCFailed', message),
      metrics: foundation.metrics,
      clock,
      log: log.child({ part: 'housekeeping' }),
    },
  );
  runPart(foundation, 'housekeeping', async (signal) => {
    await Promise.all([sources.pods.whenComplete(signal), runtime.whenListed()]);
    await housekeeping.run(signal);
  });
  const images = new ImageCollector(config.images.collection, {
    cri,
    machine: machine.port,
    mountedImages: () => mountedImages(sources),
    event: (reason, message) => events.event(node, 'Warning', reason, message),
    clock,
    metrics: foundation.metrics,
    log: log.child({ part: 'images' }),
  });
  runPart(foundation, 'image collection', async (signal) => {
    await runtime.whenListed();
    await images.run(signal);
  });
  startEviction(foundation, parts, images);
  const rotator = new LogRotator(
    { ...config.containerLogs, everyMs: config.containerLogs.monitorMs },
    { liveLogs: () => liveLogs(runtime, logs), cri, files, clock, log: log.child({ part: 'logs' }) },
  );
  runPart(foundation, 'log rotation', async (signal) => {
    await runtime.whenListed();
    await rotator.run(signal);
  });
}

function startEviction(foundation: Foundation, parts: HousekeepingParts, images: ImageCollector): void {
  const { config, clock, log, metrics } = foundation;
  const { cri, machine, pressure, events, files, logs, loop, runtime, stats, statistics } = parts;
  const paths = new PodPaths(config.rootDir);
  const eviction = new EvictionManager(config.eviction, {
    look: (signal) => pressure.look(signal),
    pods: {
      activePods: () => loop.unfinishedPods(),
      evict: (uid, end) => loop.evict(uid, end),
      isReclaimed: (uid) => loop.isReclaimed(uid),
      discardEnded: (ms) => loop.discardEnded(ms),
    },
    images,
    usage: new UsageSource({
      runtime,
      cri,
      stats,
      files,
      logs,
      paths,
      volumes: statistics,
      cgroupOf: (pod) => machine.podCgroups.pathOf(pod),
      cgroupsIn: (path) => machine.cgroups.children(path),
    }),
    node: nodeReference(config.nodeName),
    events,
    clock,
    metrics,
    log: log.child({ part: 'eviction' }),
  });
  runPart(foundation, 'volume usage', async (signal) => {
    await runtime.whenListed();
    await statistics.run(signal);
  });
  runPart(foundation, 'eviction', async (signal) => {
    await Promise.all([parts.sources.pods.whenComplete(signal), runtime.whenListed()]);
    await eviction.run(signal);
  });
}

function* uidsOf({ pods }: DaemonPodSources): Generator<string> {
  for (const { metadata } of pods.values()) if (metadata.uid !== undefined) yield metadata.uid;
}

function* mountedImages({ pods }: DaemonPodSources): Generator<string> {
  for (const { spec } of pods.values()) {
    for (const { image } of spec.volumes ?? []) if (image?.reference !== undefined) yield image.reference;
  }
}

/** A container's id, or the beginning of one, is that of a container which has not ended. */
function runs(runtime: RuntimeCache, id: string): boolean {
  return runtime
    .uids()
    .some((uid) => runtime.get(uid)?.containers.some((record) => record.id.startsWith(id) && isAlive(record)));
}

function* liveLogs(runtime: RuntimeCache, logs: ContainerLogs): Generator<LiveLog> {
  for (const uid of runtime.uids()) {
    const pod = runtime.get(uid);
    for (const { id, name, restartCount, state } of pod?.containers ?? []) {
      if (pod === undefined || state !== 'RUNNING') continue;
      yield { containerId: id, path: logs.pathOf(pod, name, restartCount) };
    }
  }
}
