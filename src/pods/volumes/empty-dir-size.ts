import type { ResourceList } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { wholeValueOf } from '../../model/quantity.ts';

/**
 * Bytes of a memory emptyDir: the least of what the node allows, the pod's memory limit and sizeLimit; undefined when
 * none of them is known (pkg/volume/emptydir calculateEmptyDirMemorySize).
 */
export function memorySizeOf(
  pod: Pod,
  sizeLimit: string | number | undefined,
  allocatable: ResourceList,
): number | undefined {
  const bounds = [
    allocatable['memory'] === undefined ? 0 : wholeValueOf(allocatable['memory']),
    podMemoryLimit(pod) ?? 0,
    sizeLimit === undefined ? 0 : wholeValueOf(sizeLimit),
  ].filter((bytes) => bytes > 0);
  return bounds.length === 0 ? undefined : Math.min(...bounds);
}

/** The pod's own limit, or that of its containers together; undefined as soon as one container has none. */
function podMemoryLimit(pod: Pod): number | undefined {
  const own = pod.spec.resources?.limits?.['memory'];
  if (own !== undefined) return wholeValueOf(own);
  const { containers, initContainers = [] } = pod.spec;
  const limitOf = (container: Pod['spec']['containers'][number]): number =>
    wholeValueOf(container.resources?.limits?.['memory'] ?? 0);
  if ([...containers, ...initContainers].some((container) => limitOf(container) === 0)) return undefined;
  const sidecars = initContainers.filter((container) => container.restartPolicy === 'Always');
  const steady = [...containers, ...sidecars].reduce((sum, container) => sum + limitOf(container), 0);
  return initContainers.reduce((most, container) => Math.max(most, limitOf(container)), steady);
}
