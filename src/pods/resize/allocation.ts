import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod, ResourceRequirements } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { parseQuantity } from '../../model/quantity.ts';

/**
 * The resources of a pod's containers and of itself: those that it was granted ("allocated"), or those that are in force
 * for it ("actuated"). kubelet pkg/kubelet/allocation/state PodResourceInfo.
 */
export interface PodAllocation {
  readonly containers: Readonly<Record<string, ResourceRequirements>>;
  readonly pod: ResourceRequirements | undefined;
}

export const NOTHING_ALLOCATED: PodAllocation = { containers: {}, pod: undefined };

/** Which resizes are done beside those of app containers and sidecars; feature gates of the same names. */
export interface ResizeGates {
  /** InPlacePodVerticalScalingInitContainers */
  readonly initContainers: boolean;
  /** InPlacePodLevelResourcesVerticalScaling */
  readonly podLevel: boolean;
}

/** What the pod's spec asks for, as it is kept once it is granted. */
export function allocationOf(pod: Pod, gates: ResizeGates): PodAllocation {
  const containers: Record<string, ResourceRequirements> = {};
  for (const container of pod.spec.initContainers ?? []) {
    if (gates.initContainers || isSidecar(container)) containers[container.name] = container.resources ?? {};
  }
  for (const container of pod.spec.containers) containers[container.name] = container.resources ?? {};
  return { containers, pod: gates.podLevel ? pod.spec.resources : undefined };
}

/** The pod with what it was granted in place of what it asks for; the same object where there is no difference. */
export function withAllocation(pod: Pod, allocation: PodAllocation | undefined, gates: ResizeGates): Pod {
  if (allocation === undefined) return pod;
  let changed = false;
  const granted = (container: Container): Container => {
    const kept = Object.hasOwn(allocation.containers, container.name)
      ? allocation.containers[container.name]
      : undefined;
    if (kept === undefined || sameResources(container.resources, kept)) return container;
    changed = true;
    return { ...container, resources: kept };
  };
  const containers = pod.spec.containers.map(granted);
  const initContainers = pod.spec.initContainers?.map(granted);
  const { resources, ...spec } = pod.spec;
  const podDiffers = gates.podLevel && !sameResources(resources, allocation.pod);
  if (!changed && !podDiffers) return pod;
  const own = podDiffers ? allocation.pod : resources;
  return {
    ...pod,
    spec: {
      ...spec,
      containers,
      ...(initContainers === undefined ? {} : { initContainers }),
      ...(own === undefined ? {} : { resources: own }),
    },
  };
}

/** Equal amounts, however they are written; an empty list is as good as none. */
export function sameResources(a: ResourceRequirements | undefined, b: ResourceRequirements | undefined): boolean {
  if (a === b) return true;
  const claims = (of: ResourceRequirements | undefined): string => JSON.stringify(of?.claims ?? []);
  return sameList(a?.requests, b?.requests) && sameList(a?.limits, b?.limits) && claims(a) === claims(b);
}

function sameList(a: ResourceList = {}, b: ResourceList = {}): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => {
      const [mine, theirs] = [a[name], Object.hasOwn(b, name) ? b[name] : undefined];
      return mine !== undefined && theirs !== undefined && parseQuantity(mine) === parseQuantity(theirs);
    })
  );
}

/** The limits that a container lives under: where it has none of its own for cpu or memory, the pod's. */
export function effectiveResources(pod: Pod, container: Container): ResourceRequirements {
  const own = container.resources ?? {};
  const ofPod = pod.spec.resources?.limits ?? {};
  const limits: ResourceList = { ...own.limits };
  for (const name of ['cpu', 'memory']) {
    const given = limits[name];
    const fromPod = ofPod[name];
    if ((given === undefined || isZero(given)) && fromPod !== undefined && !isZero(fromPod)) limits[name] = fromPod;
  }
  return Object.keys(limits).length === 0 ? own : { ...own, limits };
}

function isZero(quantity: string | number): boolean {
  return parseQuantity(quantity) === 0n;
}
