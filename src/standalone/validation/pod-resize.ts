import { isDeepStrictEqual } from 'node:util';
import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod, PodSpec, ResourceRequirements } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { isMirrorPod } from '../../model/static-pod.ts';
import type { FieldError } from '../port.ts';
import { forbidden, invalid } from './field-errors.ts';
import { validatePodSpec } from './pod.ts';

/**
 * What a write to the subresource `resize` may change of a pod: cpu and memory of its containers, of its init containers
 * and of itself, but never so that its QoS class changes or that a request or limit is taken away (apis/core/validation
 * ValidatePodResize).
 */
export function validatePodResize(pod: Pod, previous: Pod): FieldError[] {
  if (isMirrorPod(previous)) return [forbidden('', 'static pods cannot be resized')];
  if (previous.spec.os?.name === 'windows') return [forbidden('', 'windows pods cannot be resized')];
  const errors = validatePodSpec(pod.spec, 'spec');
  if ((previous.status?.qosClass ?? qosClassOf(previous)) !== qosClassOf(pod)) {
    const is = pod.status?.qosClass ?? '';
    errors.push(invalid('spec', is, 'Pod QOS Class may not change as a result of resizing'));
  }
  if (!nodeResizes(previous)) errors.push(forbidden('spec', 'Pod running on node without support for resize'));
  errors.push(...podLevelErrors(pod.spec.resources, previous.spec.resources));
  const order = [...orderErrors('containers', pod, previous), ...orderErrors('initContainers', pod, previous)];
  if (order.length > 0) return [...errors, ...order];
  for (const field of ['initContainers', 'containers'] as const) {
    for (const [index, old] of (previous.spec[field] ?? []).entries()) {
      const next = pod.spec[field]?.[index];
      if (next !== undefined) errors.push(...containerErrors(field, index, next, old));
    }
  }
  if (errors.length === 0 && !isDeepStrictEqual(withoutResources(pod.spec), withoutResources(previous.spec))) {
    errors.push(forbidden('spec', 'only cpu and memory resources are mutable'));
  }
  return errors;
}

/** A node that can resize says what its running containers have. */
function nodeResizes({ status }: Pod): boolean {
  const running = status?.containerStatuses?.find(({ state }) => state?.running !== undefined);
  return running === undefined || running.resources !== undefined;
}

function podLevelErrors(next: ResourceRequirements | undefined, old: ResourceRequirements | undefined): FieldError[] {
  if (isEmpty(next) && isEmpty(old)) return [];
  const at = 'spec.resources';
  if (old !== undefined && next === undefined) return [forbidden(at, 'pod-level resources cannot be removed')];
  const errors = removedErrors(next, old, at, (kind) => `pod-level resource ${kind} cannot be removed`);
  if (!isDeepStrictEqual(others(next), others(old))) {
    errors.push(forbidden('spec', 'only cpu and memory resources are mutable at pod-level'));
  }
  return errors;
}

function orderErrors(field: 'containers' | 'initContainers', pod: Pod, previous: Pod): FieldError[] {
  const [next, old] = [pod.spec[field] ?? [], previous.spec[field] ?? []];
  const at = `spec.${field}`;
  if (next.length !== old.length) return [forbidden(at, `${field} may not be added or removed on resize`)];
  return old.flatMap(({ name }, index) =>
    next[index]?.name === name
      ? []
      : [forbidden(`${at}[${index}].name`, `${field} may not be renamed or reordered on resize`)],
  );
}

function containerErrors(
  field: 'containers' | 'initContainers',
  index: number,
  next: Container,
  old: Container,
): FieldError[] {
  const path = `spec.${field}[${index}]`;
  const at = `${path}.resources`;
  const errors = removedErrors(next.resources, old.resources, at, (kind) => `resource ${kind} cannot be removed`);
  const { resources: nextResources, ...nextRest } = next;
  const { resources: oldResources, ...oldRest } = old;
  if (!isDeepStrictEqual(nextRest, oldRest) || !isDeepStrictEqual(others(nextResources), others(oldResources))) {
    errors.push(
      field === 'containers'
        ? forbidden('spec', 'only cpu and memory resources are mutable')
        : forbidden(path, 'only cpu and memory resources for init or sidecar containers are mutable'),
    );
  }
  const changed = !isDeepStrictEqual(nextResources, oldResources);
  if (field === 'initContainers' && changed && !isSidecar(next)) {
    for (const { restartPolicy } of next.resizePolicy ?? []) {
      if (restartPolicy !== 'RestartContainer') continue;
      const detail = 'non-sidecar init containers with a resize policy of RestartContainer cannot be resized';
      errors.push(forbidden(path, detail));
    }
  }
  return errors;
}

function removedErrors(
  next: ResourceRequirements | undefined,
  old: ResourceRequirements | undefined,
  at: string,
  detail: (kind: 'requests' | 'limits') => string,
): FieldError[] {
  return (['requests', 'limits'] as const).flatMap((kind) => {
    const lost = Object.keys(old?.[kind] ?? {}).some((name) => !Object.hasOwn(next?.[kind] ?? {}, name));
    return lost ? [forbidden(`${at}.${kind}`, detail(kind))] : [];
  });
}

function isEmpty(resources: ResourceRequirements | undefined): boolean {
  return [resources?.requests, resources?.limits].every((list) => Object.keys(list ?? {}).length === 0);
}

/** All but cpu and memory; an empty list is as good as none. */
function others(resources: ResourceRequirements | undefined): Record<string, unknown> {
  const rest = (list: ResourceList | undefined): Record<string, unknown> => {
    const { cpu: _cpu, memory: _memory, ...kept } = list ?? {};
    return kept;
  };
  return { requests: rest(resources?.requests), limits: rest(resources?.limits), claims: resources?.claims ?? [] };
}

function withoutResources({ resources: _resources, ...spec }: PodSpec): Omit<PodSpec, 'resources'> {
  const strip = ({ resources: _own, ...container }: Container): Container => container;
  return {
    ...spec,
    containers: spec.containers.map(strip),
    ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(strip) }),
  };
}
