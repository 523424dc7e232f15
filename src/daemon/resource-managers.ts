import type { CriRuntime } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import { readCpuTopology } from '../host/machine/cpu-topology.ts';
import type { MachinePort, NumaNode } from '../host/machine/port.ts';
import type { Amounts } from '../model/pod-resources.ts';
import type { DeviceManager } from '../pods/devices/device-manager.ts';
import type { ActivePods } from '../pods/managers/active-pods.ts';
import { AlignmentMetrics } from '../pods/managers/alignment-metrics.ts';
import { CpuManager } from '../pods/managers/cpu-manager.ts';
import { MemoryManager } from '../pods/managers/memory-manager.ts';
import type { NumaInfo } from '../pods/managers/merge-hints.ts';
import { reservedMemoryOf } from '../pods/managers/reserved-memory.ts';
import { checkNumaNodes, TopologyManager } from '../pods/managers/topology-manager.ts';
import { type Foundation, runPart } from './foundation.ts';

/** Who gives what of the machine to one container alone. */
export interface ResourceManagers {
  /** Undefined: no container has CPUs of its own. */
  readonly cpus: CpuManager | undefined;
  /** Undefined: no container has memory of its own. */
  readonly memory: MemoryManager | undefined;
  readonly aligned: AlignmentMetrics;
  readonly numaNodes: readonly NumaNode[];
  readonly numa: NumaInfo;
}

/** `reservations`: what no pod gets of the node as a whole. Throws InvalidConfig for settings that do not fit this machine. */
export async function openResourceManagers(
  { config, clock, log, metrics, closers }: Foundation,
  files: Files,
  port: MachinePort,
  reservations: Amounts,
): Promise<ResourceManagers> {
  const { cpuManager, memoryManager, topologyManager } = config;
  const numaNodes = await port.numaNodes();
  checkNumaNodes(topologyManager, numaNodes);
  const aligned = new AlignmentMetrics(metrics);
  let cpus: CpuManager | undefined;
  if (cpuManager !== undefined) {
    const { reserved, ...options } = cpuManager;
    cpus = new CpuManager(
      {
        ...options,
        reserved: typeof reserved === 'number' ? reserved : new Set(reserved),
        statePath: `${config.rootDir}/cpu_manager_state`,
      },
      { topology: await readCpuTopology(), files, clock, log: log.child({ part: 'cpu manager' }), metrics, aligned },
    );
    await cpus.load();
  }
  let memory: MemoryManager | undefined;
  if (memoryManager !== undefined) {
    memory = new MemoryManager(
      {
        statePath: `${config.rootDir}/memory_manager_state`,
        reserved: reservedMemoryOf(memoryManager.reserved, numaNodes, reservations),
      },
      { nodes: numaNodes, files, log: log.child({ part: 'memory manager' }), metrics },
    );
    await memory.load();
    const opened = memory;
    closers.add('memory manager', () => opened.close());
  }
  const distances = new Map(numaNodes.map(({ id, distances: far }) => [id, far]));
  const numa: NumaInfo = {
    nodes: numaNodes.map(({ id }) => id),
    distance: topologyManager.preferClosest ? (from, to) => distances.get(from)?.get(to) ?? 0 : undefined,
  };
  return { cpus, memory, aligned, numaNodes, numa };
}

export interface ResourceTopologyDeps {
  readonly managers: ResourceManagers;
  readonly devices: DeviceManager;
  /** Undefined while it is not known yet what runs: nothing that a pod has is taken for given back. */
  readonly active: () => ReturnType<ActivePods> | undefined;
}

/** Gives each pod that is let in what it is to have for itself. */
export function openTopology(
  { config, clock, metrics }: Foundation,
  { managers, devices, active }: ResourceTopologyDeps,
): TopologyManager {
  const { cpus, memory, aligned, numa } = managers;
  return new TopologyManager(config.topologyManager, {
    numa,
    managers: [cpus, memory].filter((manager) => manager !== undefined),
    devices,
    takeBack: () => {
      const pods = cpus === undefined && memory === undefined ? undefined : active();
      if (pods === undefined) return;
      cpus?.takeBack(() => pods);
      memory?.takeBack(() => pods);
    },
    clock,
    metrics,
    aligned,
  });
}

/** Keeps containers on their CPUs; `ready` resolves when what runs is adopted. */
export function runCpuManager(
  foundation: Foundation,
  { cpus }: ResourceManagers,
  cri: CriRuntime,
  active: ActivePods,
  ready: (signal: AbortSignal) => Promise<void>,
): void {
  if (cpus === undefined) return;
  runPart(foundation, 'cpu manager', async (signal) => {
    await ready(signal);
    await cpus.run(active, cri, signal);
  });
}
