import type { Cpu, CpuTopology } from './cpu-topology.ts';

type Level = 'numaNode' | 'socket' | 'core';

/**
 * So many CPUs of those available, packed (kubelet cpumanager/cpu_assignment.go takeByTopologyNUMAPacked): whole NUMA nodes
 * and sockets while so many are still wanted, then whole cores, then single CPUs, at each level where the least is free.
 * undefined: there are not enough.
 */
export function takeCpus(
  topology: CpuTopology,
  available: ReadonlySet<number>,
  count: number,
): Set<number> | undefined {
  if (available.size < count) return undefined;
  const taken = new Set<number>();
  let free = topology.filter(({ id }) => available.has(id));
  const numbers = (level: Level): number => new Set(topology.map((cpu) => cpu[level])).size;
  // The larger of the two goes first: a NUMA node of several sockets, or a socket of several NUMA nodes.
  const order: readonly Level[] =
    numbers('socket') >= numbers('numaNode') ? ['numaNode', 'socket', 'core'] : ['socket', 'numaNode', 'core'];
  const take = (cpus: readonly Cpu[]): void => {
    for (const { id } of cpus) taken.add(id);
    free = free.filter(({ id }) => !taken.has(id));
  };
  for (const [depth, level] of order.entries()) {
    for (const unit of sortedUnits(free, order.slice(0, depth + 1))) {
      const whole = topology.filter((cpu) => cpu[level] === unit);
      const isFree = whole.every(({ id }) => free.some((cpu) => cpu.id === id));
      if (isFree && whole.length <= count - taken.size) take(whole);
    }
    if (taken.size === count) return taken;
  }
  for (const core of sortedUnits(free, order)) {
    for (const cpu of free.filter((each) => each.core === core).sort((a, b) => a.id - b.id)) {
      if (taken.size < count) take([cpu]);
    }
  }
  return taken.size === count ? taken : undefined;
}

/** Units of the last level, those of the unit above with the least free first, and so on; equal ones by number. */
function sortedUnits(free: readonly Cpu[], levels: readonly Level[]): number[] {
  const [level, ...below] = levels;
  if (level === undefined) return [];
  const units = new Map<number, Cpu[]>();
  for (const cpu of free) units.set(cpu[level], [...(units.get(cpu[level]) ?? []), cpu]);
  const sorted = [...units].sort(([a, ofA], [b, ofB]) => ofA.length - ofB.length || a - b);
  return below.length === 0 ? sorted.map(([unit]) => unit) : sorted.flatMap(([, cpus]) => sortedUnits(cpus, below));
}
