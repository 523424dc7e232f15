import type { Cpus } from './cpu-sets.ts';
import type { CpuTopology } from './cpu-topology.ts';
import type { Hint } from './hints.ts';
import { masksOf, type NumaMask, sizeOf } from './numa-mask.ts';

/**
 * The sets of NUMA nodes that have so many CPUs free, those of the fewest nodes preferred (kubelet cpumanager/policy_static.go
 * generateCPUTopologyHints). What init containers leave behind is to be among them.
 */
export function cpuHints(topology: CpuTopology, free: Cpus, reusable: Cpus, count: number): Hint[] {
  const nodes = [...new Set(topology.map(({ numaNode }) => numaNode))].sort((a, b) => a - b);
  let least = nodes.length;
  const found: NumaMask[] = [];
  for (const mask of masksOf(nodes)) {
    if (nodesCpus(topology, mask).size >= count) least = Math.min(least, sizeOf(mask));
    const again = nodesCpus(topology, mask, reusable);
    if (again.size === reusable.size && again.size + nodesCpus(topology, mask, free).size >= count) found.push(mask);
  }
  return found.map((mask) => ({ nodes: mask, preferred: sizeOf(mask) === least }));
}

/** The CPUs of these nodes, all or those that are in `among`. */
export function nodesCpus(topology: CpuTopology, nodes: NumaMask, among?: Cpus): Cpus {
  const own = topology.filter(({ numaNode }) => ((nodes >> BigInt(numaNode)) & 1n) === 1n);
  return new Set(own.map(({ id }) => id).filter((id) => among === undefined || among.has(id)));
}
