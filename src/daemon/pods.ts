import type { ApiClient, EventRecorder, PodStatusWriter } from '../cluster/port.ts';
import { TokenRequestSource } from '../cluster/token-request-source.ts';
import { WatchedObjectSource } from '../cluster/watched-object-source.ts';
import { FeatureGates } from '../config/feature-gates.ts';
import { RealBlockDevices } from '../host/block/real.ts';
import { RealPrograms } from '../host/command/real.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import { RealFiles } from '../host/files/real.ts';
import { RemoteGuard } from '../host/files/remote-guard.ts';
import { makeShared } from '../host/mount/make-shared.ts';
import { RealMounts } from '../host/mount/real.ts';
import { RealProbe } from '../host/probe/real.ts';
import { RealStats } from '../host/stats/real.ts';
import { messageOf } from '../kit/errors.ts';
import type { Node } from '../model/node.ts';
import type { Pod } from '../model/pod.ts';
import { qosClassOf } from '../model/qos.ts';
import type { PressureMonitor } from '../node/pressure-monitor.ts';
import { StepExecutor } from '../pods/act/executors.ts';
import type { DeviceManager } from '../pods/devices/device-manager.ts';
import { HostParts } from '../pods/host-parts.ts';
import type { LocalReadiness } from '../pods/local-readiness.ts';
import { ContainerLogs } from '../pods/logs/container-logs.ts';
import { PodLoop } from '../pods/loop.ts';
import { dnsConfigFor } from '../pods/network-files/dns-config.ts';
import { parseResolvConf, type ResolvConf } from '../pods/network-files/resolv-conf.ts';
import { RelistMetrics } from '../pods/observe/relist-metrics.ts';
import { RuntimeCache } from '../pods/observe/runtime-cache.ts';
import { RuntimeHealth } from '../pods/observe/runtime-health.ts';
import { PodMetrics } from '../pods/pod-metrics.ts';
import { HookRunner } from '../pods/probes/hook-runner.ts';
import { ProbeScheduler } from '../pods/probes/probe-scheduler.ts';
import { podCgroupLimits } from '../pods/resources/pod-limits.ts';
import { maySwap } from '../pods/resources/swap.ts';
import { UserNamespaces } from '../pods/user-namespaces/user-namespaces.ts';
import { ClaimResolver } from '../pods/volumes/claims.ts';
import { CsiPlugin } from '../pods/volumes/csi/csi-plugin.ts';
import { imageVolumeRefusal } from '../pods/volumes/plugins/image.ts';
import { PodFiles } from '../pods/volumes/pod-files.ts';
import { PodVolumes } from '../pods/volumes/pod-volumes.ts';
import { VolumeMetrics } from '../pods/volumes/volume-metrics.ts';
import type { VolumeStatistics } from '../pods/volumes/volume-statistics.ts';
import { podAdmission } from './admission.ts';
import type { Caches } from './caches.ts';
import { declaredFeatures } from './declared-features.ts';
import { openDevices, tellPodResources } from './devices.ts';
import { type Foundation, KUBERNETES_VERSION, runPart } from './foundation.ts';
import { startHousekeeping } from './housekeeping.ts';
import { openImages } from './images.ts';
import type { Machine } from './machine.ts';
import { machineMaskedPaths } from './masked-paths.ts';
import type { Plugins } from './plugins.ts';
import type { DaemonPodSources } from './pod-sources.ts';
import { openResize } from './resize.ts';
import { openTopology, runCpuManager } from './resource-managers.ts';
import { openRuntimeClasses } from './runtime-classes.ts';
import { startShutdown } from './shutdown.ts';
import { openTrustBundles } from './trust-bundles.ts';
import { readHostIds } from './user-namespaces.ts';
import { openVolumeStatistics } from './volume-statistics.ts';

/** How often the runtime is listed while its events flow, and while they do not, in milliseconds. */
const RELIST = { relistMs: 1000, relistWithEventsMs: 5000 };
const RESOLV_CONF_MS = 60_000;
/** How soon it is looked again whether the pod loop has begun. */
const ADOPTED_MS = 100;
/** The largest resolv.conf that kubelet reads. */
const RESOLV_CONF_BYTES = 10 * 1024 * 1024;

export interface PodsDeps {
  readonly api: ApiClient;
  readonly cri: CriRuntime;
  readonly machine: Machine;
  readonly caches: Caches;
  readonly events: EventRecorder;
  readonly statuses: PodStatusWriter;
  readonly localReadiness: LocalReadiness;
  readonly endpointsLeft: () => Promise<void>;
  readonly hostIPs: () => readonly string[];
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  /** This node's Node; undefined before it is known. */
  readonly node: () => Node | undefined;
  /** Asks for a new status of the Node: something that it tells of has changed. */
  readonly nodeChanged: () => void;
  readonly pressure: PressureMonitor;
  readonly sources: DaemonPodSources;
  readonly plugins: Plugins;
}

export interface Pods {
  readonly loop: PodLoop;
  readonly runtime: RuntimeCache;
  readonly health: RuntimeHealth;
  /** Node.status.volumesInUse; undefined while it is not known. */
  readonly volumesInUse: () => readonly string[] | undefined;
  readonly devices: DeviceManager;
  readonly statistics: VolumeStatistics;
  readonly shuttingDown: () => boolean;
}

/** Builds and starts the pods room. */
export async function startPods(foundation: Foundation, deps: PodsDeps): Promise<Pods> {
  const { config, clock, log, metrics, closers } = foundation;
  const { api, cri, machine, caches, events, statuses, hostIPs, localReadiness } = deps;
  const logOf = (part: string): typeof log => log.child({ part });

  const mounts = new RealMounts({}, { clock });
  const files = new RealFiles({ guard: new RemoteGuard({}, { mounts, clock }) });
  await files.makeDirectory(config.rootDir, 0o750, 0o755);
  for (const name of ['pods', 'plugins']) await files.makeDirectory(`${config.rootDir}/${name}`, 0o750);
  await files.makeDirectory(`${config.rootDir}/checkpoints`, 0o700);
  await files.makeDirectory(config.podLogsDir, 0o755, 0o755);
  await files.makeDirectory(config.containerLogsDir, 0o755, 0o755);
  const stats = new RealStats({ clock, mounts });
  const volumeMetrics = new VolumeMetrics(metrics, clock);
  const logs = new ContainerLogs(config, { files, log: logOf('logs') });
  await shareRoot(foundation, files, mounts);

  const { checkpoint } = deps.sources;
  const watched = new WatchedObjectSource({}, { api, clock, logger: logOf('objects'), metrics: caches.metrics });
  closers.add('object watches', () => watched.close());
  const requested = new TokenRequestSource({ api, clock, logger: logOf('tokens') });
  const objects = checkpoint?.objects(watched) ?? watched;
  const tokens = checkpoint?.tokens(requested) ?? requested;
  const allocatable = () => machine.allocatableNow;
  const recursiveReadOnly = (pod: Pod): boolean => handlersMountReadOnlyInDepth(pod, deps.node());
  const csi = new CsiPlugin(
    {
      rootDirectory: config.rootDir,
      nodeName: config.nodeName,
      bootId: machine.facts.bootID,
      refreshMs: config.pods.syncFrequencyMs,
      volumeHealth: new FeatureGates(config.featureGates).enabled('CSIVolumeHealth'),
    },
    {
      files,
      mounts,
      drivers: deps.plugins.csiDrivers,
      driverObjects: () => deps.plugins.csiDriverObjects(),
      api,
      tokens,
      events,
      node: deps.node,
      onNodeChange: (listener) => caches.node.subscribe(listener),
      usersChanged: deps.nodeChanged,
      podsCanGoOn: (uids) => loop.objectChanged(uids),
      metrics: volumeMetrics,
      clock,
      log: logOf('volumes'),
    },
  );
  const trustBundles = openTrustBundles(foundation, {
    api,
    metrics: caches.metrics,
    pods: () => deps.sources.pods.values(),
    changed: (uids) => loop.objectChanged(uids),
  });
  const volumes = new PodVolumes(
    { rootDirectory: config.rootDir },
    {
      ...(trustBundles === undefined ? {} : { trustBundles }),
      files,
      mounts,
      clock,
      log: logOf('volumes'),
      objects,
      tokens,
      allocatable,
      recursiveReadOnly,
      blocks: new RealBlockDevices({ clock }),
      events,
      imageVolumeRefusal: () => imageVolumeRefusal(deps.runtimeName, deps.runtimeVersion),
      claims: new ClaimResolver(checkpoint?.claims({ api, node: deps.node }) ?? { api, node: deps.node }),
      plugins: [csi],
      stats,
      metrics: volumeMetrics,
    },
  );
  volumeMetrics.count(metrics, volumes.counts);
  closers.add('volumes', () => volumes.close());
  const deviceDeps = {
    files,
    pods: () => deps.sources.pods.values(),
    isActive: (uid: string) => loop.knownUids().has(uid) || [...uidsOf(deps.sources.pods.values())].includes(uid),
    nodeChanged: deps.nodeChanged,
  };
  const { managers } = machine;
  const devices = await openDevices(foundation, { ...deviceDeps, numaNodes: managers.numaNodes });
  await tellPodResources(foundation, { ...deviceDeps, devices, managers });
  const topology = openTopology(foundation, {
    managers,
    devices,
    active: () => (loop.upMs === undefined || !deps.sources.pods.complete ? undefined : loop.activePods()),
  });
  const health = new RuntimeHealth({ cri, clock, log: logOf('runtime') });
  const idsPerPod = config.pods.idsPerUserNamespace;
  const userNamespaces = new UserNamespaces(
    { rootDirectory: config.rootDir, idsPerPod },
    {
      files,
      hostIds: () =>
        readHostIds({ idsPerPod, maxPods: config.pods.maxPods }, { files, programs: new RealPrograms({ clock }) }),
      handlers: () => health.handlers,
    },
  );
  const parts = new HostParts(
    { clusterDomain: config.dns.clusterDomain, nodeName: config.nodeName },
    {
      cgroups: machine.podCgroups,
      volumes,
      podFiles: new PodFiles({ rootDirectory: config.rootDir }, { files }),
      logs,
      userNamespaces,
      files,
      objects,
      tokens,
      devices,
      services: checkpoint?.services(caches.services) ?? caches.services,
      clock,
      hostIPs,
      allocatable,
      resourceFacts: () => machine.resourceFacts,
    },
  );

  const runtimeClasses = openRuntimeClasses(foundation, {
    api,
    metrics: caches.metrics,
    changed: (name) => {
      const waiting = [...deps.sources.pods.values()].filter(({ spec }) => spec.runtimeClassName === name);
      loop.objectChanged(uidsOf(waiting));
    },
  });
  const network = new RealProbe({ kubernetesVersion: KUBERNETES_VERSION }, { clock });
  closers.add('probe connections', () => network.close());
  const probes = new ProbeScheduler(
    {},
    { clock, probes: network, runtime: cri, events, metrics, log: logOf('probes') },
  );
  closers.add('probes', () => probes.close());
  const runtime = new RuntimeCache(RELIST, {
    cri,
    clock,
    log: logOf('runtime'),
    finalMessage: (status) => parts.finalMessage(status),
    metrics: new RelistMetrics(metrics),
  });
  const podMetrics = new PodMetrics(metrics, runtime);
  const resize = await openResize(foundation, {
    files,
    cri,
    cgroups: machine.podCgroups,
    resourcesOf: (pod, container) => parts.containerResources(pod, container),
    swaps: (pod, container) => maySwap(pod, container, machine.resourceFacts),
  });
  const executor = new StepExecutor(
    {
      podLogsDir: config.podLogsDir,
      clusterDomain: config.dns.clusterDomain,
      security: {
        seccompProfileRoot: `${config.rootDir}/seccomp`,
        seccompDefault: config.pods.seccompDefault,
        extraMaskedPaths: await machineMaskedPaths(files),
      },
      maxCrashBackoffMs: config.pods.maxCrashBackoffMs,
    },
    {
      cri,
      runtime,
      parts,
      images: await openImages(foundation, { api, cri, files, objects, tokens, events }),
      hooks: new HookRunner({ runtime: cri, probes: network, clock, events, metrics }),
      events,
      statuses,
      dns: await resolver(foundation, files, hostIPs),
      grantFor: (pod, container) => devices.grantFor(pod, container),
      runtimeHandler: (pod, signal) => runtimeClasses.handlerOf(pod, signal),
      metrics: podMetrics,
      clock,
      log: logOf('pods'),
      endpointsLeft: deps.endpointsLeft,
      resizes: resize.forExecutor,
      again: (uid) => loop.request(uid),
    },
  );
  let shuttingDown = (): boolean => false;
  const features = declaredFeatures(config.featureGates);
  const loop: PodLoop = new PodLoop(
    { resyncMs: config.pods.syncFrequencyMs },
    {
      pods: deps.sources.pods,
      sources: deps.sources.pods,
      runtime,
      health,
      executor,
      probes,
      statuses,
      events,
      localReadiness,
      allocate: (pod) => topology.allocate(pod),
      ...(await podAdmission(foundation, files, {
        api,
        machine,
        node: deps.node,
        pressures: () => deps.pressure.pressures,
        shuttingDown: () => shuttingDown(),
      })),
      resize: resize.forLoop,
      refreshVolumes: (pod) => volumes.refresh(pod),
      qosOf: qosClassOf,
      ...(features === undefined ? {} : { declaredFeatures: features }),
      hostIPs,
      runtimeName: () => deps.runtimeName,
      recursiveReadOnly,
      cgroupOf: (pod) => podCgroupLimits(pod, machine.resourceFacts),
      memoryPeak: (pod) => machine.podCgroups.memoryPeak(pod),
      metrics: podMetrics,
      clock,
      log: logOf('pods'),
    },
  );
  objects.subscribe((owners) => loop.objectChanged(owners));
  runPart(foundation, 'runtime cache', (signal) => runtime.run(signal));
  runPart(foundation, 'runtime health', (signal) => health.run(signal));
  runPart(foundation, 'pod loop', (signal) => loop.run(signal));
  const { sources, pressure } = deps;
  const statistics = openVolumeStatistics(foundation, { pods: () => loop.unfinishedPods(), volumes, events });
  const tidied = { cri, machine, pressure, events, files, logs, volumes, sources, loop, runtime, stats, statistics };
  startHousekeeping(foundation, tidied);
  runCpuManager(
    foundation,
    managers,
    cri,
    () => loop.activePods(),
    async (signal) => {
      await Promise.all([deps.sources.pods.whenComplete(signal), runtime.whenListed()]);
      // What runs is adopted by then.
      while (loop.upMs === undefined && !signal.aborted) await clock.sleep(ADOPTED_MS, signal).catch(() => {});
    },
  );
  runPart(foundation, 'granted resources', async (signal) => {
    await Promise.all([deps.sources.pods.whenComplete(signal), runtime.whenListed()]);
    resize.retain(uidsOf(deps.sources.pods.values()), runtime.uids());
  });
  shuttingDown = await startShutdown(foundation, { loop, runtime, files, events, refreshNode: deps.nodeChanged });
  const volumesInUse = (): readonly string[] | undefined => csi.users.inUse();
  return { loop, runtime, health, shuttingDown: () => shuttingDown(), volumesInUse, devices, statistics };
}

function* uidsOf(pods: Iterable<Pod>): Generator<string> {
  for (const pod of pods) if (pod.metadata.uid !== undefined) yield pod.metadata.uid;
}

/** Where it cannot be done, pods with mount propagation say so when they start; the others do not need it. */
async function shareRoot({ config, log }: Foundation, files: RealFiles, mounts: RealMounts): Promise<void> {
  try {
    await makeShared(mounts, await files.realPath(config.rootDir));
  } catch (error) {
    log.warn({ rootDir: config.rootDir, error: messageOf(error) }, 'mounts below the root directory cannot be shared');
  }
}

/** For a pod with a RuntimeClass, whose handler is looked up later, all handlers have to. */
function handlersMountReadOnlyInDepth({ spec }: Pod, node: Node | undefined): boolean {
  const handlers = node?.status?.runtimeHandlers ?? [];
  const possible = (spec.runtimeClassName ?? '') === '' ? handlers.filter(({ name = '' }) => name === '') : handlers;
  return possible.length > 0 && possible.every(({ features }) => features?.['recursiveReadOnlyMounts'] === true);
}

/** The resolver configuration of pods, from the host's resolv.conf as it was read last. */
async function resolver(
  foundation: Foundation,
  files: RealFiles,
  hostIPs: () => readonly string[],
): Promise<(pod: Pod) => ReturnType<typeof dnsConfigFor>> {
  const { config, log, clock } = foundation;
  const { clusterDNS, clusterDomain, resolvConf } = config.dns;
  let hostResolv: ResolvConf | undefined;
  const read = async (): Promise<void> => {
    if (resolvConf === '') return;
    try {
      hostResolv = parseResolvConf((await files.read(resolvConf, { maxBytes: RESOLV_CONF_BYTES })).toString());
    } catch (error) {
      log.warn({ resolvConf, error: messageOf(error) }, 'resolv.conf cannot be used; pods get what it said last');
    }
  };
  await read();
  runPart(foundation, 'resolv.conf', async (signal) => {
    while (!signal.aborted) {
      await clock.sleep(RESOLV_CONF_MS, signal);
      await read();
    }
  });
  return (pod) => dnsConfigFor(pod, { clusterDNS, clusterDomain, hostResolv, nodeIPs: hostIPs() });
}
