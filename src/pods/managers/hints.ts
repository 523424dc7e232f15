import type { Container, Pod } from '../../model/pod.ts';
import type { Refusal } from '../admit/admit-pod.ts';
import type { NumaMask } from './numa-mask.ts';

/** NUMA nodes from which something could be given. */
export interface Hint {
  /** Undefined: it does not matter which. */
  readonly nodes: NumaMask | undefined;
  /** Of no more nodes than it takes on an empty machine. */
  readonly preferred: boolean;
}

/** By resource. Undefined: any node is as good as another; empty: no nodes have enough. No resource: nothing is wanted. */
export type Hints = ReadonlyMap<string, readonly Hint[] | undefined>;

/** Somebody who has things of NUMA nodes to give away (kubelet topologymanager.HintProvider). */
export interface HintProvider {
  /** Whether the pod asks for any of it. */
  wants(pod: Pod): boolean;
  hints(pod: Pod, container: Container): Hints;
  /** Of the pod as a whole. */
  podHints(pod: Pod): Hints;
}

/** One who gives at once. What a container has already is not given twice. */
export interface ResourceManager extends HintProvider {
  allocate(pod: Pod, container: Container, affinity: Hint): Refusal | undefined;
  /** The pod does not get in after all. */
  forget(podUid: string): void;
}

export const NO_AFFINITY: Hint = { nodes: undefined, preferred: false };

export function containersOf({ spec }: Pod): readonly Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** kubelet cm/admission: an error of a manager that is no refusal of its own kind. */
export function unexpected(why: string): Refusal {
  return { reason: 'UnexpectedAdmissionError', message: `Allocate failed due to ${why}, which is unexpected` };
}
