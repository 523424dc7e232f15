import type { Config } from '../config/config.ts';
import type { CgroupLimits, CgroupPort } from '../host/cgroup/port.ts';
import { openCgroups } from '../host/cgroup/real.ts';
import { SystemdCgroups } from '../host/cgroup/systemd-cgroups.ts';
import { openDBus } from '../host/dbus/real.ts';
import type { Files } from '../host/files/port.ts';
import type { FilesystemCapacity, MachineFacts, MachinePort } from '../host/machine/port.ts';
import { RealMachine } from '../host/machine/real.ts';
import { RealNet } from '../host/net/real.ts';
import { RealSystemd } from '../host/systemd-units/real.ts';
import { messageOf } from '../kit/errors.ts';
import type { ResourceList } from '../model/meta.ts';
import { wholeValueOf } from '../model/quantity.ts';
import { nodeCapacity } from '../node/node-status.ts';
import {
  checkReservations,
  nodeAllocatable,
  nodeCgroupLimits,
  nodeReservations,
  type Reservations,
} from '../pods/resources/node-allocatable.ts';
import type { NodeResourceFacts } from '../pods/resources/node-facts.ts';
import { PodCgroups } from '../pods/resources/pod-cgroups.ts';
import type { QosMemoryOptions } from '../pods/resources/qos-memory.ts';
import type { Foundation } from './foundation.ts';
import { ensureHost } from './host-requirements.ts';
import { openResourceManagers, type ResourceManagers } from './resource-managers.ts';

/** The machine before the runtime has said who owns its cgroups. */
export interface BareMachine {
  readonly port: MachinePort;
  readonly facts: MachineFacts;
  /** When the facts were asked for (Clock.monotonic). */
  readonly factsAt: number;
  readonly cgroups: CgroupPort;
  readonly rootLimits: CgroupLimits;
  readonly managers: ResourceManagers;
  readonly resourceFacts: NodeResourceFacts;
  readonly allocatable: (capacity: ResourceList) => ResourceList;
  /** Of the capacity measured at the start. */
  readonly allocatableNow: ResourceList;
  readonly qosMemory: Omit<QosMemoryOptions, 'paths'>;
}

export interface Machine extends BareMachine {
  readonly podCgroups: PodCgroups;
}

/** Finds out what this machine is, and whether a node can live on it. */
export async function openMachine(foundation: Foundation, files: Files): Promise<BareMachine> {
  const { config, clock, log } = foundation;
  const port = new RealMachine({}, { log });
  const factsAt = clock.monotonic();
  const facts = await port.facts();
  void port.details().then((details) => log.info({ ...details }, 'machine'));
  const cgroups = await openCgroups({}, { clock });
  await ensureHost({ host: config.host, cgroupVersion: cgroups.version }, { machine: port, net: new RealNet(), log });
  const reservations: Reservations = {
    kubeReserved: config.reserved.kube,
    systemReserved: config.reserved.system,
    evictionHard: config.reserved.evictionHard,
  };
  const nodefs = config.eviction.storageIsolation ? await filesystem(foundation, port) : undefined;
  const capacity = nodeCapacity(facts, nodefs, config.pods);
  checkReservations(capacity, reservations);
  const managers = await openResourceManagers(foundation, files, port, nodeReservations(capacity, reservations));
  const { cpus: cpuManager, memory: memoryManager } = managers;
  const allocatable = (of: ResourceList): ResourceList => nodeAllocatable(of, reservations);
  const allocatableNow = allocatable(capacity);
  const allocatableBytes = wholeValueOf(allocatableNow['memory'] ?? 0);
  const resourceFacts: NodeResourceFacts = {
    memoryBytes: facts.memoryBytes,
    cgroupVersion: cgroups.version,
    cfsQuota: config.cgroups.cpuCFSQuota,
    cfsPeriodUs: config.cgroups.cpuCFSQuotaPeriodMs * 1000,
    hugepageSizes: cgroups.controllers.has('hugetlb') ? facts.hugepages.map(({ size }) => size) : [],
    swapAccounting: await cgroups.accountsSwap(),
    ...(config.cgroups.swapBehavior === 'LimitedSwap' ? { limitedSwap: { swapBytes: facts.swapBytes } } : {}),
    singleProcessOomKill: config.cgroups.singleProcessOOMKill ?? cgroups.version === 1,
    podPidsLimit: config.pods.podPidsLimit,
    ...memoryQosOf(foundation, cgroups.version, allocatableBytes),
    ...(cpuManager === undefined
      ? {}
      : {
          cpus: {
            cpusOf: (uid, container) => cpuManager.cpusOf(uid, container),
            hasExclusive: (uid, container) => cpuManager.hasExclusive(uid, container),
            withoutQuota: config.cpuManager?.withoutQuota === true,
          },
        }),
    ...(memoryManager === undefined ? {} : { memsOf: (uid, container) => memoryManager.memsOf(uid, container) }),
  };
  const rootLimits = nodeCgroupLimits(
    { ...capacity, pids: String(facts.maxPids) },
    reservations,
    config.cgroups.enforceNodeAllocatable.includes('pods'),
  );
  return {
    port,
    facts,
    factsAt,
    cgroups,
    rootLimits,
    managers,
    resourceFacts,
    allocatable,
    allocatableNow,
    qosMemory: {
      tiered: resourceFacts.memoryQos?.tiered,
      reservedPercent: config.cgroups.memoryReservedPercent,
      allocatableBytes,
    },
  };
}

/** Seconds; the defaults of Prometheus' client libraries, which kubelet uses here. */
const CGROUP_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Makes the cgroups that pods live in, by the driver that the runtime uses, too. */
export async function makePodCgroups(
  foundation: Foundation,
  machine: BareMachine,
  driver: Config['cgroups']['driver'],
): Promise<Machine> {
  const { config, clock, log, closers } = foundation;
  let { cgroups } = machine;
  if (driver === 'systemd') {
    const systemd = new RealSystemd({ clock, open: () => openDBus({}, { clock }) });
    closers.add('systemd', () => systemd.close());
    cgroups = new SystemdCgroups({ cgroups, systemd });
  }
  const durations = foundation.metrics.histogram(
    'kubelet_cgroup_manager_duration_seconds',
    'How long operations on the cgroups of pods took.',
    CGROUP_BUCKETS,
    ['operation_type'],
  );
  const podCgroups = new PodCgroups(
    {
      cgroupRoot: config.cgroups.root,
      node: machine.resourceFacts,
      rootLimits: machine.rootLimits,
      qosMemory: machine.qosMemory,
    },
    {
      cgroups,
      clock,
      log: log.child({ part: 'cgroups' }),
      record: (operation_type, seconds) => durations.observe({ operation_type }, seconds),
    },
  );
  await podCgroups.ensureRoot();
  if (machine.resourceFacts.memoryQos !== undefined) countProtected(foundation, podCgroups);
  closers.add('pod cgroups', () => podCgroups.close());
  return { ...machine, cgroups, podCgroups };
}

function memoryQosOf(
  { config, log }: Foundation,
  version: 1 | 2,
  allocatableBytes: number,
): Pick<NodeResourceFacts, 'memoryQos'> {
  const { memoryQos } = config.cgroups;
  if (memoryQos === undefined) return {};
  if (version === 2) return { memoryQos: { ...memoryQos, allocatableBytes } };
  log.warn({}, 'the feature gate MemoryQoS is on, but this host has cgroup v1: memory is not protected by requests');
  return {};
}

function countProtected({ metrics }: Foundation, { qosMemory }: PodCgroups): void {
  const gauge = (name: string, help: string, of: 'guaranteed' | 'burstable'): void => {
    metrics.gauge(name, help, [], (value) => value.set(qosMemory?.protected[of] ?? 0));
  };
  gauge('kubelet_memory_qos_node_memory_min_bytes', 'Memory that is kept for Guaranteed pods.', 'guaranteed');
  gauge('kubelet_memory_qos_node_memory_low_bytes', 'Memory that Burstable pods lose only late.', 'burstable');
}

async function filesystem({ config, log }: Foundation, port: MachinePort): Promise<FilesystemCapacity | undefined> {
  try {
    return await port.filesystem(config.rootDir);
  } catch (error) {
    log.warn(
      { rootDir: config.rootDir, error: messageOf(error) },
      'the size of the root directory’s file system is not known',
    );
    return undefined;
  }
}
