import type { Pod } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import { containersOf } from './hints.ts';

export interface ActivePod {
  readonly pod: Pod;
  readonly runtime: PodRuntime | undefined;
}

/** The pods that hold their resources, with what runs of them. */
export type ActivePods = () => readonly ActivePod[];

/** Whether what a container has is free again: its pod is over, or it is an init container and one after it has begun. */
export function isOver(active: ActivePod | undefined, container: string): boolean {
  if (active === undefined) return true;
  const { pod, runtime } = active;
  const all = containersOf(pod);
  const at = all.findIndex(({ name }) => name === container);
  const [own] = all.slice(at);
  if (at === -1 || own === undefined) return true;
  const runsOnce = at < (pod.spec.initContainers?.length ?? 0) && !isSidecar(own);
  if (!runsOnce || runtime === undefined) return false;
  // kubelet takes it when it adds the next container (memory_manager.go, cpu_manager.go AddContainer).
  return all.slice(at + 1).some(({ name }) => newestContainer(runtime, name) !== undefined);
}
