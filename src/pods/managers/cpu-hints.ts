import { CodedError } from '../../kit/errors.ts';
import type { Cpus } from './cpu-sets.ts';
import type { CpuTopology } from './cpu-topology.ts';
import type { Hint } from './hints.ts';
import { maskOf, masksOf, type NumaMask, sizeOf } from './numa-mask.ts';

export interface CpuWish {
  readonly free: Cpus;
  /** Of init containers of the pod; all of them are to be among what is given. */
  readonly reusable: Cpus;
  readonly count: number;
  /** Of NUMA nodes of the fewest sockets all are preferred, not only the fewest nodes. */
  readonly bySocket: boolean;
}

/**
 * The sets of NUMA nodes that have so many CPUs free, those of the fewest nodes preferred (kubelet cpumanager/policy_static.go
 * generateCPUTopologyHints).
 */
export function cpuHints(topology: CpuTopology, { free, reusable, count, bySocket }: CpuWish): Hint[] {
  const nodes = [...new Set(topology.map(({ numaNode }) => numaNode))].sort((a, b) => a - b);
  let least = nodes.length;
  const found: NumaMask[] = [];
  for (const mask of masksOf(nodes)) {
    if (nodesCpus(topology, mask).size >= count) least = Math.min(least, sizeOf(mask));
    const again = nodesCpus(topology, mask, reusable);
    if (again.size === reusable.size && again.size + nodesCpus(topology, mask, free).size >= count) found.push(mask);
  }
  const sockets = new Set(topology.map(({ socket }) => socket)).size;
  const fewest = Math.ceil(least / Math.max(1, Math.floor(nodes.length / sockets)));
  const preferred = (mask: NumaMask): boolean =>
    sizeOf(mask) === least || (bySocket && socketNumbers(topology, mask).size === fewest);
  return found.map((mask) => ({ nodes: mask, preferred: preferred(mask) }));
}

/** All NUMA nodes of the sockets that these nodes are on. */
export function socketsOf(topology: CpuTopology, nodes: NumaMask): NumaMask {
  const sockets = socketNumbers(topology, nodes);
  return maskOf(topology.filter(({ socket }) => sockets.has(socket)).map(({ numaNode }) => numaNode));
}

/** Throws InvalidConfig: with several sockets to a NUMA node nothing could be aligned to a socket. */
export function checkSockets(topology: CpuTopology): void {
  const count = (level: 'socket' | 'numaNode'): number => new Set(topology.map((cpu) => cpu[level])).size;
  if (count('socket') <= count('numaNode')) return;
  throw new CodedError(
    'InvalidConfig',
    `cpuManagerPolicyOptions align-by-socket: not compatible with hardware where number of sockets are more than number of NUMA: ${count('socket')} sockets, ${count('numaNode')} NUMA nodes`,
  );
}

function socketNumbers(topology: CpuTopology, nodes: NumaMask): Set<number> {
  const near = nodesCpus(topology, nodes);
  return new Set(topology.filter(({ id }) => near.has(id)).map(({ socket }) => socket));
}

/** The CPUs of these nodes, all or those that are in `among`. */
export function nodesCpus(topology: CpuTopology, nodes: NumaMask, among?: Cpus): Cpus {
  const own = topology.filter(({ numaNode }) => ((nodes >> BigInt(numaNode)) & 1n) === 1n);
  return new Set(own.map(({ id }) => id).filter((id) => among === undefined || among.has(id)));
}
