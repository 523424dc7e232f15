import type { Hint } from './hints.ts';
import type { MemoryLedger, MemoryRequest } from './memory-ledger.ts';
import { isNarrower, masksOf, type NumaMask, nodesOf, sizeOf } from './numa-mask.ts';

/**
 * The sets of nodes that have so much of every kind free, those of the fewest nodes preferred (kubelet
 * memorymanager/policy_static.go calculateHints). `reusable` is what init containers of the pod leave behind there.
 */
export function memoryHints(
  ledger: MemoryLedger,
  request: MemoryRequest,
  reusable: (nodes: NumaMask, type: string) => number,
): Hint[] {
  let least = ledger.nodes.size;
  const found: NumaMask[] = [];
  for (const mask of masksOf([...ledger.nodes.keys()])) {
    const nodes = nodesOf(mask);
    const sum = (type: string, what: 'free' | 'allocatable'): number =>
      nodes.reduce((so, node) => so + (ledger.table(node, type)?.[what] ?? 0), 0);
    const kinds = [...request];
    if (kinds.some(([type, size]) => sum(type, 'allocatable') < size)) continue;
    least = Math.min(least, nodes.length);
    if (mixesGroups(ledger, mask)) continue;
    if (kinds.every(([type, size]) => sum(type, 'free') + reusable(mask, type) >= size)) found.push(mask);
  }
  return found.map((nodes) => ({ nodes, preferred: sizeOf(nodes) === least }));
}

/** Some of these nodes are in use alone or with others: what is spread over several nodes has them for itself. */
export function mixesGroups(ledger: MemoryLedger, mask: NumaMask): boolean {
  const nodes = nodesOf(mask);
  return nodes.some((id) => {
    const { numberOfAssignments = 0, cells = [] } = ledger.nodes.get(id) ?? {};
    const same = cells.length === nodes.length && cells.every((cell) => nodes.includes(cell));
    return numberOfAssignments > 0 && !same;
  });
}

export function hasFree(ledger: MemoryLedger, mask: NumaMask, request: MemoryRequest): boolean {
  return [...request].every(
    ([type, size]) => nodesOf(mask).reduce((so, node) => so + (ledger.table(node, type)?.free ?? 0), 0) >= size,
  );
}

/** A preferred one, and of those the one of the fewest nodes. */
export function bestHint(hints: readonly Hint[]): Hint | undefined {
  let best: Hint | undefined;
  for (const hint of hints) {
    const better =
      best === undefined ||
      (hint.preferred && !best.preferred) ||
      (hint.preferred === best.preferred && isNarrower(hint.nodes ?? 0n, best.nodes ?? 0n));
    if (better) best = hint;
  }
  return best;
}
