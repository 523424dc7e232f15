import type { Hint, Hints } from './hints.ts';
import { isNarrower, maskOf, type NumaMask, nodesOf, sizeOf } from './numa-mask.ts';

export type TopologyPolicy = 'none' | 'best-effort' | 'restricted' | 'single-numa-node';

/** The machine's nodes and how far they are from each other. */
export interface NumaInfo {
  readonly nodes: readonly number[];
  /** Undefined: of sets of the same size that with the lowest numbers is taken (prefer-closest-numa-nodes is off). */
  readonly distance: ((from: number, to: number) => number) | undefined;
}

/**
 * The nodes that suit all providers best, and whether the policy lets the pod in with them (kubelet
 * topologymanager/policy.go). Every choice of one hint for each resource stands for the nodes that they have in common;
 * what comes to the same is followed once only, so that many nodes do not make many millions of choices.
 */
export function mergeHints(
  policy: Exclude<TopologyPolicy, 'none'>,
  providers: readonly Hints[],
  numa: NumaInfo,
): { readonly hint: Hint; readonly admit: boolean } {
  const single = policy === 'single-numa-node';
  const lists = providers.flatMap(listsOf).map((list) => (single ? list.filter(isSingle) : list));
  const all = maskOf(numa.nodes);
  const rank = ranking(lists, single ? { ...numa, distance: undefined } : numa);
  let best: (Hint & { readonly nodes: NumaMask }) | undefined;
  for (const { nodes, preferred } of combinations(lists)) {
    const candidate = { nodes: nodes === undefined ? all : nodes & all, preferred };
    if (candidate.nodes !== 0n && (best === undefined || rank(candidate, best))) best = candidate;
  }
  const { nodes, preferred } = best ?? { nodes: all, preferred: false };
  const hint: Hint = { nodes: single && nodes === all ? undefined : nodes, preferred };
  return { hint, admit: policy === 'best-effort' || hint.preferred };
}

function listsOf(hints: Hints): (readonly Hint[])[] {
  if (hints.size === 0) return [[{ nodes: undefined, preferred: true }]];
  return [...hints.values()].map((list) =>
    list === undefined || list.length === 0 ? [{ nodes: undefined, preferred: list === undefined }] : list,
  );
}

function isSingle({ nodes, preferred }: Hint): boolean {
  return preferred && (nodes === undefined || sizeOf(nodes) === 1);
}

/** Preferred is only what all prefer, and all alike. */
function combinations(lists: readonly (readonly Hint[])[]): Hint[] {
  let found: Hint[] = [{ nodes: undefined, preferred: true }];
  for (const list of lists) {
    const next = new Map<string, Hint>();
    for (const so of found) {
      for (const hint of list) {
        const free = so.nodes === undefined || hint.nodes === undefined;
        const nodes = free ? (so.nodes ?? hint.nodes) : (so.nodes ?? 0n) & (hint.nodes ?? 0n);
        const preferred = so.preferred && hint.preferred && (free || so.nodes === hint.nodes);
        next.set(`${nodes} ${preferred}`, { nodes, preferred });
      }
    }
    found = [...next.values()];
  }
  return found;
}

type Better = (candidate: Hint & { nodes: NumaMask }, best: Hint & { nodes: NumaMask }) => boolean;

/**
 * Preferred ones first, of these the fittest. Of those that nobody prefers the one whose size comes nearest to what the most
 * demanding resource needs at least, and rather below it than above.
 */
function ranking(lists: readonly (readonly Hint[])[], numa: NumaInfo): Better {
  const least = lists.map((list) =>
    Math.min(...list.flatMap(({ nodes }) => (nodes === undefined ? [] : sizeOf(nodes)))),
  );
  const needed = Math.max(0, ...least.filter(Number.isFinite));
  const fitter = (a: NumaMask, b: NumaMask): boolean => {
    if (numa.distance === undefined || sizeOf(a) !== sizeOf(b)) return isNarrower(a, b);
    const [ofA, ofB] = [averageDistance(a, numa.distance), averageDistance(b, numa.distance)];
    return ofA === ofB ? a < b : ofA < ofB;
  };
  return (candidate, best) => {
    if (candidate.preferred !== best.preferred) return candidate.preferred;
    const [size, bestSize] = [sizeOf(candidate.nodes), sizeOf(best.nodes)];
    if (candidate.preferred || size === bestSize || bestSize > needed) return fitter(candidate.nodes, best.nodes);
    if (bestSize === needed || size > needed) return false;
    return size > bestSize;
  };
}

function averageDistance(mask: NumaMask, distance: (from: number, to: number) => number): number {
  const nodes = nodesOf(mask);
  const sum = nodes.reduce((so, from) => so + nodes.reduce((far, to) => far + distance(from, to), 0), 0);
  return sum / nodes.length ** 2;
}
