/** A set of NUMA nodes: bit n is node n (bigint: machines with more than 32 nodes exist). */
export type NumaMask = bigint;

export function maskOf(nodes: Iterable<number>): NumaMask {
  let mask = 0n;
  for (const node of nodes) mask |= 1n << BigInt(node);
  return mask;
}

/** The nodes in it, by number. */
export function nodesOf(mask: NumaMask): number[] {
  const nodes: number[] = [];
  for (let rest = mask, node = 0; rest > 0n; rest >>= 1n, node++) if ((rest & 1n) === 1n) nodes.push(node);
  return nodes;
}

export function sizeOf(mask: NumaMask): number {
  let size = 0;
  for (let rest = mask; rest > 0n; rest &= rest - 1n) size++;
  return size;
}

/** Fewer nodes, or as many with the lower numbers (topologymanager/bitmask IsNarrowerThan). */
export function isNarrower(a: NumaMask, b: NumaMask): boolean {
  const [ofA, ofB] = [sizeOf(a), sizeOf(b)];
  return ofA === ofB ? a < b : ofA < ofB;
}

/** All sets of some of these nodes but the empty one, the smaller ones first. */
export function masksOf(nodes: readonly number[]): NumaMask[] {
  let masks: NumaMask[] = [0n];
  for (const node of nodes) masks = [...masks, ...masks.map((mask) => mask | (1n << BigInt(node)))];
  return masks
    .slice(1)
    .map((mask) => ({ mask, size: sizeOf(mask) }))
    .sort((a, b) => a.size - b.size || (a.mask < b.mask ? -1 : 1))
    .map(({ mask }) => mask);
}
