import type { EventRecorder } from '../cluster/port.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import { RealKmsg } from '../host/kmsg/real.ts';
import { messageOf } from '../kit/errors.ts';
import { pluggedResourcesOf } from '../node/extended-resources.ts';
import { claimNodeName } from '../node/name-claim.ts';
import { NodeAgent, nodeReference } from '../node/node-agent.ts';
import { NodeStartupMetrics } from '../node/node-startup-metrics.ts';
import { OomWatcher } from '../node/oom-watcher.ts';
import { PodCIDRFollower } from '../node/pod-cidr-follower.ts';
import { type MemoryUse, PressureMonitor } from '../node/pressure-monitor.ts';
import { RuntimeFactsSource } from '../node/runtime-facts.ts';
import { swapWarning } from '../node/swap-warning.ts';
import type { ServiceLoop } from '../services/loop.ts';
import type { ApiClients } from './api-clients.ts';
import type { Caches } from './caches.ts';
import { declaredFeatures } from './declared-features.ts';
import { type Foundation, KUBERNETES_VERSION, runPart } from './foundation.ts';
import type { Machine } from './machine.ts';
import type { Pods } from './pods.ts';
import { proxyFacts } from './services.ts';

export interface NodeDeps {
  readonly clients: ApiClients;
  readonly caches: Caches;
  readonly cri: CriRuntime;
  readonly machine: Machine;
  readonly events: EventRecorder;
  readonly files: Pick<Files, 'read'>;
  /** The API is in this process, for this node alone. */
  readonly embedded: boolean;
}

export interface NodeParts {
  readonly agent: NodeAgent;
  readonly pressure: PressureMonitor;
  /** Registers the node and keeps it, now that what its status tells of is running. */
  run(parts: {
    readonly pods: Pick<Pods, 'runtime' | 'health' | 'shuttingDown' | 'volumesInUse' | 'devices'>;
    readonly services: ServiceLoop;
    readonly hostIPs: () => readonly string[];
  }): void;
}

/** kubelet's PLEG threshold, and how long a list may take after a start before its absence counts. */
const RUNTIME_SILENCE_MS = 180_000;
const FIRST_LIST_MS = 30_000;
/** cm/container_manager.go */
const CGROUP_V1 =
  'cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. Please migrate to cgroup v2. More information at https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1';

/** Waits until no other machine uses this node's name, and builds the node's agent. */
export async function openNode(foundation: Foundation, deps: NodeDeps, signal: AbortSignal): Promise<NodeParts> {
  const { config, clock, log, metrics, version } = foundation;
  const { clients, caches, cri, machine, events } = deps;
  const { nodeName, node, pods } = config;
  const logger = log.child({ part: 'node' });
  const tell = (event: { type: 'Normal' | 'Warning'; reason: string; message: string }): void =>
    events.event(nodeReference(nodeName), event.type, event.reason, event.message);
  const { heartbeat } = clients;
  if (!deps.embedded) {
    const { leaseSeconds } = node;
    const claim = { nodeName, identity: machine.facts, leaseSeconds };
    await claimNodeName(claim, { api: heartbeat, clock, logger, event: tell }, signal);
  }
  metrics.gauge('kubelet_cgroup_version', 'cgroup version on the hosts.').set(machine.cgroups.version);
  const pressure = pressureMonitor(foundation, deps, () =>
    tell({ type: 'Warning', reason: 'InvalidDiskCapacity', message: 'invalid capacity 0 on image filesystem' }),
  );
  const startedAt = clock.monotonic();
  let unhealthy: () => readonly string[] = () => [];
  let volumesInUse: Pods['volumesInUse'] = () => undefined;
  let devices: Pods['devices'] | undefined;
  let shuttingDown = (): boolean => false;
  const agent = new NodeAgent(
    {
      nodeName,
      nodeIPs: config.nodeIPs,
      externalCloudProvider: node.externalCloudProvider,
      maxPods: pods.maxPods,
      podsPerCore: pods.podsPerCore,
      kubeletPort: node.kubeletPort,
      maxImages: node.maxImages,
      localStorage: config.eviction.storageIsolation,
      kubeletVersion: `v${KUBERNETES_VERSION}.0+deckhand.${version}`,
      declaredFeatures: declaredFeatures(config.featureGates) ?? [],
      labels: node.labels,
      taints: node.taints,
      providerID: node.providerID,
      register: node.register,
      registerAgain: deps.embedded,
      pluggedResources: await pluggedResources(deps.files, config.rootDir),
      statusUpdateMs: node.statusUpdateMs,
      statusReportMs: node.statusReportMs,
      leaseSeconds: node.leaseSeconds,
    },
    {
      api: heartbeat,
      node: caches.node,
      machine: machine.port,
      runtime: new RuntimeFactsSource({ cri, clock }),
      allocatable: machine.allocatable,
      pressure,
      unhealthy: () => unhealthy(),
      volumesInUse: () => volumesInUse(),
      devices: () => devices?.resources(),
      shuttingDown: () => shuttingDown(),
      metrics: new NodeStartupMetrics(
        { nodeName, bootToStartMs: Math.max(0, machine.facts.uptimeMs - machine.factsAt) },
        metrics,
      ),
      events,
      clock,
      logger,
    },
  );
  await agent.resolve();
  return {
    agent,
    pressure,
    run: ({ pods: running, services, hostIPs }) => {
      unhealthy = () => plegProblem(running.runtime.staleMs, clock.monotonic() - startedAt);
      volumesInUse = running.volumesInUse;
      devices = running.devices;
      shuttingDown = running.shuttingDown;
      running.health.subscribe(() => agent.refresh());
      followNode(foundation, deps, agent, services, hostIPs);
      const oom = new OomWatcher({ kmsg: new RealKmsg({}, { clock }), event: tell, log: logger });
      runPart(foundation, 'OOM watcher', (stop) => oom.run(stop));
      runPart(foundation, 'node', async (stop) => {
        // A status before the first list would say that the node is not ready, only to take it back at once.
        await Promise.race([running.runtime.whenListed(), clock.sleep(1000, stop)]);
        const run = agent.run(stop);
        tellOfCgroups(foundation, machine, tell);
        const swapping = swapWarning(machine.facts.kernelVersion, machine.facts.swapBytes > 0);
        if (swapping !== undefined) tell(swapping);
        await run;
      });
    },
  };
}

/** What is worth an event of the node's cgroups, after its "Starting" (kubelet cgroupVersionCheck, enforceNodeAllocatableCgroups). */
function tellOfCgroups(
  { config, log }: Foundation,
  { cgroups, podCgroups }: Machine,
  tell: (event: { type: 'Normal' | 'Warning'; reason: string; message: string }) => void,
): void {
  if (cgroups.version === 1) {
    log.debug({}, CGROUP_V1);
    tell({ type: 'Warning', reason: 'CgroupV1', message: CGROUP_V1 });
  }
  if (!config.cgroups.perQOS) return;
  podCgroups.onRootLimited((error) =>
    tell(
      error === undefined
        ? { type: 'Normal', reason: 'NodeAllocatableEnforced', message: 'Updated Node Allocatable limit across pods' }
        : {
            type: 'Warning',
            reason: 'FailedNodeAllocatableEnforcement',
            message: `Failed to update Node Allocatable Limits ["kubepods"]: ${messageOf(error)}`,
          },
    ),
  );
}

/** In kubelet's words; the pods' runtime cache does here what its PLEG does there. */
function plegProblem(staleMs: number, sinceStartMs: number): readonly string[] {
  if (staleMs === Number.POSITIVE_INFINITY) {
    return sinceStartMs < FIRST_LIST_MS ? [] : ['PLEG is not healthy: pleg has yet to be successful'];
  }
  if (staleMs <= RUNTIME_SILENCE_MS) return [];
  const minutes = Math.floor(staleMs / 60_000);
  const seconds = Math.floor((staleMs % 60_000) / 1000);
  return [`PLEG is not healthy: pleg was last seen active ${minutes}m${seconds}s ago; threshold is 3m0s`];
}

/** What others than the API need of the Node: the runtime its pod CIDR, the Service rules that, its zone and addresses. */
function followNode(
  foundation: Foundation,
  { caches, cri }: NodeDeps,
  agent: NodeAgent,
  services: ServiceLoop,
  hostIPs: () => readonly string[],
): void {
  const { config, clock, log } = foundation;
  const follower = new PodCIDRFollower({ cri, clock, logger: log.child({ part: 'node' }) });
  foundation.closers.add('pod CIDR', () => follower.close());
  follower.set(config.pods.podCIDR);
  const follow = (): void => {
    const current = caches.node.get(config.nodeName) ?? agent.current;
    const podCIDRs = current?.spec?.podCIDRs ?? [];
    if (podCIDRs.length > 0) follower.set(podCIDRs);
    services.setFacts(
      proxyFacts(config, {
        caches,
        hostIPs,
        podCIDRs: () => (podCIDRs.length > 0 ? podCIDRs : config.pods.podCIDR),
        zone: () => zoneOf(current),
      }),
    );
  };
  foundation.closers.add('Node listener', caches.node.subscribe(follow));
  foundation.closers.add('ServiceCIDR listener', caches.serviceCIDRs.subscribe(follow));
  if (caches.node.synced) follow();
}

async function pluggedResources(files: Pick<Files, 'read'>, rootDir: string): Promise<readonly string[] | undefined> {
  try {
    return pluggedResourcesOf((await files.read(`${rootDir}/device-plugins/kubelet_internal_checkpoint`)).toString());
  } catch {
    return undefined;
  }
}

export function zoneOf(node: { metadata: { labels?: Record<string, string> } } | undefined): string | undefined {
  return node?.metadata.labels?.['topology.kubernetes.io/zone'];
}

function pressureMonitor(
  { config, clock, log }: Foundation,
  { cri, machine }: NodeDeps,
  invalidDiskCapacity: () => void,
): PressureMonitor {
  let told = false;
  const { facts, cgroups, podCgroups, port } = machine;
  const useOf = async (path: string, limit: number | undefined): Promise<MemoryUse | undefined> => {
    const { memoryUsage, memoryInactiveFile = 0, memoryLimit } = await cgroups.read(path);
    const limitBytes = limit ?? memoryLimit ?? -1;
    // cgroup v2's root counts nothing itself: there the whole machine's figure stands for it.
    const usedBytes = memoryUsage ?? (limit === undefined ? undefined : (await port.load()).memoryUsedBytes);
    if (usedBytes === undefined || limitBytes < 0) return undefined;
    return { usedBytes, inactiveFileBytes: memoryInactiveFile, limitBytes };
  };
  return new PressureMonitor(
    {
      hard: config.reserved.evictionHard,
      ...config.eviction,
      podsEnforced: config.cgroups.enforceNodeAllocatable.includes('pods'),
      rootDir: config.rootDir,
      maxPids: facts.maxPids,
    },
    {
      machine: port,
      memory: async () => {
        const node = await useOf('/', facts.memoryBytes);
        if (node === undefined) throw new Error('the kernel does not say how much memory is in use');
        return { node, pods: await useOf(podCgroups.paths.root, undefined) };
      },
      imageMounts: async () => {
        const { imageFilesystems, containerFilesystems } = await cri.imageFsInfo();
        return { images: imageFilesystems[0]?.mountpoint, containers: containerFilesystems[0]?.mountpoint };
      },
      invalidDiskCapacity: () => {
        if (!told) invalidDiskCapacity();
        told = true;
      },
      clock,
      logger: log.child({ part: 'node' }),
    },
  );
}
