import { type Cpu, type CpuTopology, cpusPerCore } from './cpu-topology.ts';

type Level = 'numaNode' | 'socket' | 'core';

export interface TakingOptions {
  /** distribute-cpus-across-cores: a thread of each core before the second of any. */
  readonly spread?: boolean;
  /** prefer-align-cpus-by-uncorecache: CPUs that share their last cache, where there are enough. */
  readonly byUncoreCache?: boolean;
}

/**
 * So many CPUs of those available, packed (kubelet cpumanager/cpu_assignment.go takeByTopologyNUMAPacked): whole NUMA nodes
 * and sockets while so many are still wanted, then whole cores, then single CPUs, at each level where the least is free.
 * undefined: there are not enough.
 */
export function takeCpus(
  topology: CpuTopology,
  available: ReadonlySet<number>,
  count: number,
  { spread = false, byUncoreCache = false }: TakingOptions = {},
): Set<number> | undefined {
  if (available.size < count) return undefined;
  const state = new Taking(topology, available, count);
  const [first, second] = state.order;
  state.takeWhole(first, state.sorted([first]));
  state.takeWhole(second, state.sorted([first, second]));
  if (byUncoreCache) takeByUncoreCache(state);
  // Whole cores would be the opposite of spreading.
  if (!spread) state.takeWhole('core', state.sorted(state.order));
  state.takeSingle(spread);
  return state.missing === 0 ? state.taken : undefined;
}

/** What is taken and what is still free, on the way to so many. */
class Taking {
  readonly topology: CpuTopology;
  readonly taken = new Set<number>();
  /** The larger of the two goes first: a NUMA node of several sockets, or a socket of several NUMA nodes. */
  readonly order: readonly [Level, Level, Level];
  free: readonly Cpu[];
  missing: number;

  constructor(topology: CpuTopology, available: ReadonlySet<number>, count: number) {
    this.topology = topology;
    this.free = topology.filter(({ id }) => available.has(id));
    this.missing = count;
    const numbers = (level: Level): number => new Set(topology.map((cpu) => cpu[level])).size;
    const nodesFirst = numbers('socket') >= numbers('numaNode');
    this.order = nodesFirst ? ['numaNode', 'socket', 'core'] : ['socket', 'numaNode', 'core'];
  }

  take(cpus: readonly Cpu[]): void {
    for (const { id } of cpus) this.taken.add(id);
    this.free = this.free.filter(({ id }) => !this.taken.has(id));
    this.missing -= cpus.length;
  }

  /** Those of the units that are wholly free, while so many CPUs are wanted. */
  takeWhole(level: keyof Cpu, units: readonly number[]): void {
    for (const unit of units) {
      const whole = this.topology.filter((cpu) => cpu[level] === unit);
      const isFree = whole.every(({ id }) => this.free.some((cpu) => cpu.id === id));
      if (isFree && whole.length > 0 && whole.length <= this.missing) this.take(whole);
    }
  }

  takeSingle(spread: boolean): void {
    const units = spread ? this.sorted(this.order.slice(0, this.order.indexOf('socket') + 1)) : this.sorted(this.order);
    for (const unit of units) {
      const cpus = this.free.filter((cpu) => cpu[spread ? 'socket' : 'core'] === unit).sort((a, b) => a.id - b.id);
      this.take(cpus.slice(0, this.missing));
    }
  }

  /** Units of the last level, those of the unit above with the least free first, and so on; equal ones by number. */
  sorted(levels: readonly (keyof Cpu)[]): number[] {
    return sortedUnits(this.free, levels);
  }
}

/** Whole caches first, and what is left from the first one that has all of it, in whole cores but for the last thread. */
function takeByUncoreCache(state: Taking): void {
  const caches = new Set(state.topology.map(({ uncoreCache }) => uncoreCache));
  const perCache = Math.floor(state.topology.length / caches.size);
  const byNode = state.order[0] === 'numaNode' ? (['numaNode'] as const) : (['socket', 'numaNode'] as const);
  const threads = cpusPerCore(state.topology);
  for (const cache of state.sorted([...byNode, 'uncoreCache'])) {
    if (state.missing >= perCache) state.takeWhole('uncoreCache', state.sorted([...byNode, 'uncoreCache']));
    if (state.missing === 0) return;
    const free = state.free.filter(({ uncoreCache }) => uncoreCache === cache);
    const cores = [...new Set(free.map(({ core }) => core))].sort((a, b) => a - b);
    const enough = new Set(cores.slice(0, Math.ceil(state.missing / threads)));
    let cpus = free.filter(({ core }) => enough.has(core)).sort((a, b) => a.id - b.id);
    if (state.missing % 2 !== 0 && threads > 1 && cpus.length > state.missing) cpus = cpus.slice(0, -1);
    if (cpus.length === state.missing) state.take(cpus);
    if (state.missing === 0) return;
  }
}

function sortedUnits(free: readonly Cpu[], levels: readonly (keyof Cpu)[]): number[] {
  const [level, ...below] = levels;
  if (level === undefined) return [];
  const units = new Map<number, Cpu[]>();
  for (const cpu of free) units.set(cpu[level], [...(units.get(cpu[level]) ?? []), cpu]);
  const sorted = [...units].sort(([a, ofA], [b, ofB]) => ofA.length - ofB.length || a - b);
  return below.length === 0 ? sorted.map(([unit]) => unit) : sorted.flatMap(([, cpus]) => sortedUnits(cpus, below));
}
