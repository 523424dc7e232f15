import type { Pod } from '../../model/pod.ts';

/** fsGroup first, then the groups that volumes bring, then supplementalGroups; each once. */
export function supplementalGroupsOf(pod: Pod, extraGroups: readonly number[] = []): readonly number[] {
  const { fsGroup, supplementalGroups = [] } = pod.spec.securityContext ?? {};
  return [...new Set([...(fsGroup === undefined ? [] : [fsGroup]), ...extraGroups, ...supplementalGroups])];
}
