import type { KubeObject, ObjectMeta } from '../../model/meta.ts';

// Kinds whose generation Kubernetes counts (rest strategies in pkg/registry).
const GENERATION_KINDS: ReadonlySet<string> = new Set(['Pod', 'EndpointSlice', 'PriorityClass']);

export function countsGeneration(kind: string): boolean {
  return GENERATION_KINDS.has(kind);
}

/** What the store alone sets. */
export function ownFields({ uid, creationTimestamp, resourceVersion, generation }: ObjectMeta): ObjectMeta {
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(generation === undefined ? {} : { generation }),
  };
}

/** One more when anything but metadata and status differs, or when the object begins to be deleted. */
export function nextGeneration(current: KubeObject, next: KubeObject): number | undefined {
  const { generation } = current.metadata;
  if (generation === undefined) return undefined;
  const before = current as unknown as Record<string, unknown>;
  const after = next as unknown as Record<string, unknown>;
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  keys.delete('metadata');
  keys.delete('status');
  // Equal subtrees are shared (adopt), so identity is equality here.
  let changed = [...keys].some((key) => before[key] !== after[key]);
  changed ||= current.metadata.deletionTimestamp === undefined && next.metadata.deletionTimestamp !== undefined;
  return changed ? generation + 1 : generation;
}
