import type { CpuTopology } from './cpu-topology.ts';
import { masksOf, nodesOf } from './numa-mask.ts';
import { takeCpus } from './take-cpus.ts';

interface Plan {
  readonly nodes: readonly number[];
  /** Nodes that give one group more than the others. */
  readonly remainder: readonly number[];
  readonly balance: number;
}

/**
 * So many CPUs, from as few NUMA nodes as can be and from each as many (kubelet cpumanager/cpu_assignment.go
 * takeByTopologyNUMADistributed; KEP-2902). What cannot be divided goes where it leaves the machine the most even. They are
 * given in groups of `groupSize`: the threads of a core, or 1. Packed where no even share can be had.
 */
export function distributeCpus(
  topology: CpuTopology,
  available: ReadonlySet<number>,
  count: number,
  groupSize: number,
): Set<number> | undefined {
  if (available.size < count) return undefined;
  if (count === 0) return new Set();
  const plan = count % groupSize === 0 ? planOf(topology, available, count, groupSize) : undefined;
  if (plan === undefined) return takeCpus(topology, available, count);
  const taken = new Set<number>();
  const takeFrom = (node: number, cpus: number): boolean => {
    const own = topology.filter(({ id, numaNode }) => numaNode === node && available.has(id) && !taken.has(id));
    const found = takeCpus(topology, new Set(own.map(({ id }) => id)), cpus);
    for (const id of found ?? []) taken.add(id);
    return found !== undefined;
  };
  for (const node of plan.nodes) takeFrom(node, evenShare(count, plan.nodes.length, groupSize));
  while (taken.size < count) {
    const before = taken.size;
    for (const node of plan.remainder) if (taken.size < count) takeFrom(node, groupSize);
    if (taken.size === before) return takeCpus(topology, available, count);
  }
  return taken;
}

/** The best plan of the fewest nodes for which there is any. */
function planOf(
  topology: CpuTopology,
  available: ReadonlySet<number>,
  count: number,
  groupSize: number,
): Plan | undefined {
  const nodes = new Set(topology.map(({ numaNode }) => numaNode));
  const free = new Map<number, number>();
  for (const { id, numaNode } of topology) if (available.has(id)) free.set(numaNode, (free.get(numaNode) ?? 0) + 1);
  const groups = count / groupSize;
  const perNode = Math.ceil(Math.ceil(topology.length / groupSize) / nodes.size);
  const [least, most] = [Math.ceil(groups / perNode), Math.min(groups, free.size)];
  // Nodes where less is free first, so that of equal plans theirs is taken.
  const order = sortedNodes(topology, available);
  for (let size = least; size <= most; size++) {
    let best: Plan | undefined;
    for (const chosen of subsets(order, size)) {
      const plan = evenly(chosen, free, count, groupSize);
      if (plan !== undefined && (best === undefined || plan.balance < best.balance)) best = plan;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

/** undefined: these nodes cannot give as many each. */
function evenly(
  chosen: readonly number[],
  free: ReadonlyMap<number, number>,
  count: number,
  groupSize: number,
): Plan | undefined {
  const share = evenShare(count, chosen.length, groupSize);
  const has = chosen.map((node) => free.get(node) ?? 0);
  const inGroups = has.reduce((sum, cpus) => sum + Math.floor(cpus / groupSize) * groupSize, 0);
  if (inGroups < count || has.some((cpus) => cpus < share)) return undefined;
  const left = new Map(free);
  for (const node of chosen) left.set(node, (left.get(node) ?? 0) - share);
  const rest = count - share * chosen.length;
  if (rest === 0) return { nodes: chosen, remainder: [], balance: deviation([...left.values()]) };
  const givers = chosen.filter((node) => (left.get(node) ?? 0) >= groupSize);
  let best: Plan | undefined;
  for (let size = givers.length; size >= 1; size--) {
    for (const remainder of subsets(givers, size)) {
      const after = withoutRest(left, remainder, rest, groupSize);
      const balance = after === undefined ? Number.POSITIVE_INFINITY : deviation([...after.values()]);
      if (after !== undefined && (best === undefined || balance < best.balance)) {
        best = { nodes: chosen, remainder, balance };
      }
    }
  }
  return best;
}

function withoutRest(
  left: ReadonlyMap<number, number>,
  remainder: readonly number[],
  rest: number,
  groupSize: number,
): ReadonlyMap<number, number> | undefined {
  const after = new Map(left);
  for (let open = rest; open > 0; ) {
    const before = open;
    for (const node of remainder) {
      const has = after.get(node) ?? 0;
      if (open === 0 || has < groupSize) continue;
      after.set(node, has - groupSize);
      open -= groupSize;
    }
    if (open === before) return undefined;
  }
  return after;
}

function evenShare(count: number, nodes: number, groupSize: number): number {
  return Math.floor(Math.floor(count / nodes) / groupSize) * groupSize;
}

function sortedNodes(topology: CpuTopology, available: ReadonlySet<number>): number[] {
  const free = topology.filter(({ id }) => available.has(id));
  const count = (level: 'numaNode' | 'socket', unit: number): number =>
    free.filter((cpu) => cpu[level] === unit).length;
  const sockets = new Set(topology.map(({ socket }) => socket)).size;
  const nodes = [...new Map(free.map(({ numaNode, socket }) => [numaNode, socket]))];
  const nodesFirst = sockets >= new Set(topology.map(({ numaNode }) => numaNode)).size;
  return nodes
    .sort(([a, socketA], [b, socketB]) => {
      const bySocket = nodesFirst ? 0 : count('socket', socketA) - count('socket', socketB) || socketA - socketB;
      return bySocket || count('numaNode', a) - count('numaNode', b) || a - b;
    })
    .map(([node]) => node);
}

/** In the order of the list. */
function subsets(list: readonly number[], size: number): number[][] {
  const places = masksOf(list.map((_, at) => at)).map(nodesOf);
  return places
    .filter((chosen) => chosen.length === size)
    .sort((a, b) => lexically(a, b))
    .map((chosen) => chosen.flatMap((at) => list[at] ?? []));
}

function lexically(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((each, index) => each !== b[index]);
  return at === -1 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/** Rounded as kubelet does, so that equal means equal. */
function deviation(values: readonly number[]): number {
  const round = (value: number): number => Math.round(value * 1000) / 1000;
  const mean = round(values.reduce((sum, value) => sum + value, 0) / values.length);
  return round(Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length));
}
