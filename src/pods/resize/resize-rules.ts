import type { Container, Pod } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { containersOf } from '../container-kinds.ts';
import { type ResizeGates, sameResources } from './allocation.ts';

export interface ResizeRules {
  readonly gates: ResizeGates;
  /** The policy of the CPU manager, and of the memory manager, is static. */
  readonly staticCpus: boolean;
  readonly staticMemory: boolean;
  /** Whether a container of this pod may swap. */
  readonly swaps: (pod: Pod, container: Container) => boolean;
}

export interface Infeasible {
  /** kubelet's label of kubelet_pod_infeasible_resizes_total. */
  readonly label: string;
  readonly message: string;
}

/** Why this node can never resize the pod like this (allocation/handlers.go); undefined when it may. Pure. */
export function infeasible(desired: Pod, allocated: Pod, rules: ResizeRules): Infeasible | undefined {
  if (memoryOfSwapping(desired, allocated, rules)) {
    return { label: 'swap_limitation', message: 'In-place resize of containers with swap is not supported.' };
  }
  if (!rules.gates.podLevel && !sameResources(desired.spec.resources, allocated.spec.resources)) {
    return { label: 'plr_feature_gate_off', message: 'InPlacePodLevelResourcesVerticalScaling is disabled' };
  }
  if (qosClassOf(desired) !== 'Guaranteed') return undefined;
  if (rules.staticCpus && requestChanges(desired, allocated, 'cpu', rules.gates)) {
    return {
      label: 'guaranteed_pod_cpu_manager_static_policy',
      message: 'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
    };
  }
  if (rules.staticMemory && requestChanges(desired, allocated, 'memory', rules.gates)) {
    return {
      label: 'guaranteed_pod_memory_manager_static_policy',
      message: 'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"',
    };
  }
  return undefined;
}

function memoryOfSwapping(desired: Pod, allocated: Pod, { swaps }: ResizeRules): boolean {
  return pairs(desired, allocated).some(([next, old]) => {
    if (requestOf(next, 'memory') === requestOf(old, 'memory')) return false;
    const policy = old.resizePolicy?.find(({ resourceName }) => resourceName === 'memory');
    if (policy?.restartPolicy === 'RestartContainer') return false;
    return swaps(desired, next) || swaps(allocated, old);
  });
}

function requestChanges(desired: Pod, allocated: Pod, name: 'cpu' | 'memory', gates: ResizeGates): boolean {
  const resizable = new Set(
    containersOf(desired)
      .filter(({ kind }) => kind !== 'ephemeral' && (kind !== 'init' || gates.initContainers))
      .map(({ container }) => container.name),
  );
  return pairs(desired, allocated).some(
    ([next, old]) => resizable.has(next.name) && requestOf(next, name) !== requestOf(old, name),
  );
}

function pairs(desired: Pod, allocated: Pod): [Container, Container][] {
  const old = [...allocated.spec.containers, ...(allocated.spec.initContainers ?? [])];
  return [...desired.spec.containers, ...(desired.spec.initContainers ?? [])].flatMap((next) => {
    const twin = old.find(({ name }) => name === next.name);
    return twin === undefined ? [] : [[next, twin] as [Container, Container]];
  });
}

function requestOf({ resources }: Container, name: 'cpu' | 'memory'): bigint {
  return parseQuantity(resources?.requests?.[name] ?? 0);
}
