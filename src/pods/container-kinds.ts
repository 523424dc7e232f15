import type { Container, Pod } from '../model/pod.ts';
import { isSidecar } from '../model/pod-resources.ts';

export type ContainerKind = 'init' | 'sidecar' | 'app' | 'ephemeral';

export interface KindedContainer {
  readonly kind: ContainerKind;
  readonly container: Container;
}

/** Every container of a pod in the order of its start: init and sidecars, app, ephemeral. */
export function containersOf(pod: Pod): KindedContainer[] {
  return [
    ...(pod.spec.initContainers ?? []).map((container) => ({
      kind: isSidecar(container) ? ('sidecar' as const) : ('init' as const),
      container,
    })),
    ...pod.spec.containers.map((container) => ({ kind: 'app' as const, container })),
    ...(pod.spec.ephemeralContainers ?? []).map((container) => ({ kind: 'ephemeral' as const, container })),
  ];
}

export function findContainer(pod: Pod, name: string): KindedContainer | undefined {
  return containersOf(pod).find((entry) => entry.container.name === name);
}
