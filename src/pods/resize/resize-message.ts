import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod, ResourceRequirements } from '../../model/pod.ts';

/** An event's text about a resize: what happened, and as JSON what the pod's containers are to have (events/resize.go). */
export function resizeMessage(what: string, pod: Pod, generation: number | undefined, error = ''): string {
  const { initContainers = [], containers } = pod.spec;
  const summary = {
    ...(initContainers.length === 0 ? {} : { initContainers: initContainers.map(shown) }),
    ...(containers.length === 0 ? {} : { containers: containers.map(shown) }),
    generation: generation ?? 0,
    ...(error === '' ? {} : { error }),
  };
  return `${what}: ${JSON.stringify(summary)}`;
}

function shown({ name, resources }: Container): { name: string; resources: ResourceRequirements } {
  const { limits, requests, claims } = resources ?? {};
  return {
    name,
    resources: {
      ...(isEmpty(limits) ? {} : { limits: canonical(limits) }),
      ...(isEmpty(requests) ? {} : { requests: canonical(requests) }),
      ...(claims === undefined || claims.length === 0 ? {} : { claims }),
    },
  };
}

function isEmpty(list: ResourceList | undefined): boolean {
  return Object.keys(list ?? {}).length === 0;
}

function canonical(list: ResourceList = {}): ResourceList {
  const names = Object.keys(list).sort();
  return Object.fromEntries(names.map((name) => [name, canonicalQuantity(list[name] ?? 0)]));
}
