import type { Target } from '../model.ts';

/** One endpoint as the policies see it, with this node's own knowledge already in `ready` and `serving`. */
export interface Candidate extends Target {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface PolicyUse {
  readonly usesCluster: boolean;
  readonly usesLocal: boolean;
  readonly nodeName: string;
  readonly zone: string | undefined;
}

export interface Categories {
  readonly cluster: readonly Candidate[];
  readonly local: readonly Candidate[];
  readonly reachable: readonly Candidate[];
  /** There is a usable endpoint somewhere in the cluster, reachable under the policies or not. */
  readonly anywhere: boolean;
}

type Topology = { readonly by: 'none' } | { readonly by: 'node' } | { readonly by: 'zone'; readonly zone: string };

/**
 * Chooses the endpoints of each traffic policy: the ready ones, or, separately for each policy, those that are
 * terminating but still serve when none is ready (KEP-1669); narrowed by the slices' hints (KEP-2433, KEP-3015).
 * Facts from upstream pkg/proxy/topology.go.
 */
export function categorizeEndpoints(candidates: readonly Candidate[], use: PolicyUse): Categories {
  const ready = candidates.filter((candidate) => candidate.ready);
  const lastResort = candidates.filter((candidate) => !candidate.ready && candidate.serving && candidate.terminating);
  const anywhere = ready.length > 0 || lastResort.length > 0;
  let cluster: readonly Candidate[] = [];
  let local: readonly Candidate[] = [];
  if (use.usesCluster) {
    const topology = topologyOf(ready, use);
    cluster = ready.filter((candidate) => isNear(candidate, topology, use.nodeName));
    if (cluster.length === 0) cluster = lastResort;
  }
  if (use.usesLocal) {
    local = ready.filter((candidate) => candidate.local);
    if (local.length === 0) local = lastResort.filter((candidate) => candidate.local);
  }
  return { cluster, local, reachable: union(cluster, local), anywhere };
}

/** Hints count only if every ready endpoint has one and at least one of them is for us; node hints go first. */
function topologyOf(ready: readonly Candidate[], use: PolicyUse): Topology {
  if (ready.length === 0) return { by: 'none' };
  const { nodeName, zone } = use;
  if (
    ready.every((candidate) => candidate.nodeHints.length > 0) &&
    ready.some((candidate) => candidate.nodeHints.includes(nodeName))
  ) {
    return { by: 'node' };
  }
  if (
    zone !== undefined &&
    zone !== '' &&
    ready.every((candidate) => candidate.zoneHints.length > 0) &&
    ready.some((candidate) => candidate.zoneHints.includes(zone))
  ) {
    return { by: 'zone', zone };
  }
  return { by: 'none' };
}

function isNear(candidate: Candidate, topology: Topology, nodeName: string): boolean {
  switch (topology.by) {
    case 'none':
      return true;
    case 'node':
      return candidate.nodeHints.includes(nodeName);
    case 'zone':
      return candidate.zoneHints.includes(topology.zone);
  }
}

function union(cluster: readonly Candidate[], local: readonly Candidate[]): readonly Candidate[] {
  if (cluster.length === 0) return local;
  const missing = local.filter((candidate) => !cluster.includes(candidate));
  return missing.length === 0 ? cluster : [...cluster, ...missing];
}
