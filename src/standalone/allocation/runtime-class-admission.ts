import { isDeepStrictEqual } from 'node:util';
import type { KubeObject, ResourceList } from '../../model/meta.ts';
import type { RuntimeClass } from '../../model/objects.ts';
import type { Pod, PodSpec, Toleration } from '../../model/pod.ts';
import { amountsOf } from '../../model/pod-resources.ts';
import { resources } from '../../model/resource.ts';
import { refused } from './refused.ts';

/**
 * What the RuntimeClass admission plugin does to a new pod: its class's overhead, node selector and tolerations. Throws
 * Forbidden for an unknown class and for a pod that contradicts its class.
 */
export function addRuntimeClass(pod: Pod, spec: PodSpec, find: (name: string) => KubeObject | undefined): void {
  const forbid = (problem: string) => refused(resources.pods, pod, problem);
  const name = spec.runtimeClassName;
  const cls = name === undefined ? undefined : (find(name) as RuntimeClass | undefined);
  if (name !== undefined && cls === undefined) {
    throw forbid(`pod rejected: RuntimeClass ${JSON.stringify(name)} not found`);
  }
  const overhead = cls?.overhead?.podFixed;
  if (overhead !== undefined) {
    if (spec.overhead !== undefined && !isSame(spec.overhead, overhead)) {
      throw forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    }
    spec.overhead = { ...overhead };
  } else if (spec.overhead !== undefined) {
    throw forbid('pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead');
  }
  const { nodeSelector, tolerations = [] } = cls?.scheduling ?? {};
  for (const [key, value] of Object.entries(nodeSelector ?? {})) {
    const own = spec.nodeSelector?.[key];
    if (own === undefined || own === value) continue;
    throw forbid(
      `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`,
    );
  }
  if (nodeSelector !== undefined) spec.nodeSelector = { ...spec.nodeSelector, ...nodeSelector };
  if (tolerations.length > 0) spec.tolerations = merged(spec.tolerations ?? [], tolerations);
}

function merged(own: readonly Toleration[], more: readonly Toleration[]): Toleration[] {
  const fresh = more.filter((toleration) => !own.some((known) => isDeepStrictEqual(known, toleration)));
  return [...own, ...fresh];
}

function isSame(one: ResourceList, other: ResourceList): boolean {
  return isDeepStrictEqual(amountsOf(one), amountsOf(other));
}
