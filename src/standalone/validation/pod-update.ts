import { isDeepStrictEqual } from 'node:util';
import type { Container, Pod, PodSpec, Toleration } from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { forbidden, invalid } from './field-errors.ts';
import { validatePodSpec } from './pod.ts';
import { validatePodResize } from './pod-resize.ts';
import { validateTolerations } from './scheduling.ts';

const MIRROR = 'kubernetes.io/config.mirror';
const MAY_CHANGE =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,' +
  '`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),' +
  '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/**
 * ValidatePodUpdate and its siblings for the subresources: what of a pod may change once it exists. A pod without a
 * node may get one (binding), ephemeral containers may be added, with `resize` cpu and memory may change.
 */
export function validatePodUpdate(pod: Pod, previous: Pod, subresource: string | undefined): FieldError[] {
  if (subresource === 'ephemeralcontainers') return ephemeralErrors(pod, previous);
  if (subresource === 'resize') return validatePodResize(pod, previous);
  const errors = [...imageErrors(pod.spec, previous.spec), ...deadlineErrors(pod.spec, previous.spec)];
  const before = comparable(previous.spec);
  const after = comparable(pod.spec);
  if (!previous.spec.nodeName) delete after.nodeName;
  const gatesLeft = new Set(pod.spec.schedulingGates?.map(({ name }) => name));
  const gated = (previous.spec.schedulingGates?.length ?? 0) > 0;
  if (gated) {
    const old = new Set(previous.spec.schedulingGates?.map(({ name }) => name));
    for (const name of gatesLeft) {
      if (!old.has(name))
        errors.push(
          forbidden('spec.schedulingGates', `only deletion is allowed, but found new scheduling gate '${name}'`),
        );
    }
    delete before.schedulingGates;
    delete after.schedulingGates;
    // While it is gated, a pod may still be steered (KEP-3838).
    for (const field of ['nodeSelector', 'affinity'] as const) {
      delete before[field];
      delete after[field];
    }
  }
  errors.push(...tolerationErrors(pod.spec.tolerations, previous.spec.tolerations));
  delete before.tolerations;
  delete after.tolerations;
  const changed = changedPaths(before, after, 'spec');
  if (changed.length > 0) errors.push(forbidden('spec', `${MAY_CHANGE}; changed: ${changed.join(', ')}`));
  return errors;
}

/** True when `next` could not be had by updating `previous`: the pod must be deleted and made again. */
export function needsNewPod(next: Pod, previous: Pod): boolean {
  return validatePodUpdate(next, previous, undefined).some(({ reason }) => reason === 'FieldValueForbidden');
}

/** A copy without what may change. */
function comparable(spec: PodSpec): Partial<PodSpec> {
  const strip = (container: Container): Container => {
    const { image: _image, ...rest } = container;
    return rest as Container;
  };
  const copy: Partial<PodSpec> = { ...spec, containers: spec.containers.map(strip) };
  if (spec.initContainers !== undefined) copy.initContainers = spec.initContainers.map(strip);
  delete copy.activeDeadlineSeconds;
  const grace = copy.terminationGracePeriodSeconds ?? 0;
  if (grace < 0) copy.terminationGracePeriodSeconds = 1;
  return copy;
}

function imageErrors(spec: PodSpec, previous: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['containers', 'initContainers'] as const) {
    const [next = [], old = []] = [spec[field], previous[field]];
    if (next.length !== old.length) {
      errors.push(forbidden(`spec.${field}`, 'pod updates may not add or remove containers'));
      continue;
    }
    for (const [index, container] of next.entries()) {
      if (container.image) continue;
      errors.push({ field: `spec.${field}[${index}].image`, reason: 'FieldValueRequired', message: 'Required value' });
    }
  }
  return errors;
}

function deadlineErrors(spec: PodSpec, previous: PodSpec): FieldError[] {
  const [next, old] = [spec.activeDeadlineSeconds, previous.activeDeadlineSeconds];
  const at = 'spec.activeDeadlineSeconds';
  if (next !== undefined) {
    if (next < 1 || next > 2_147_483_647) return [invalid(at, next, 'must be between 1 and 2147483647, inclusive')];
    if (old !== undefined && next > old) return [invalid(at, next, 'must be less than or equal to previous value')];
  } else if (old !== undefined) return [invalid(at, null, 'must not update from a positive integer to nil value')];
  return [];
}

/** Tolerations may be added; of an old one only the seconds may change. */
function tolerationErrors(next: readonly Toleration[] = [], old: readonly Toleration[] = []): FieldError[] {
  const same = (left: Toleration, right: Toleration): boolean =>
    isDeepStrictEqual({ ...left, tolerationSeconds: 0 }, { ...right, tolerationSeconds: 0 });
  if (old.some((toleration) => !next.some((other) => same(toleration, other)))) {
    return [forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
  }
  return validateTolerations(next, 'spec.tolerations');
}

/** ValidatePodEphemeralContainersUpdate: they may be added, and stay as they are from then on. */
function ephemeralErrors({ spec }: Pod, { spec: previous, metadata }: Pod): FieldError[] {
  if (metadata.annotations?.[MIRROR] !== undefined) {
    return [forbidden('', 'static pods do not support ephemeral containers')];
  }
  const next = spec.ephemeralContainers ?? [];
  for (const container of previous.ephemeralContainers ?? []) {
    const kept = next.find(({ name }) => name === container.name);
    if (kept === undefined) {
      return [
        forbidden('spec.ephemeralContainers', `existing ephemeral containers ["${container.name}"] may not be removed`),
      ];
    }
    if (!isDeepStrictEqual(kept, container)) {
      return [
        forbidden('spec.ephemeralContainers', `existing ephemeral containers ["${container.name}"] may not be changed`),
      ];
    }
  }
  const others = changedPaths({ ...previous, ephemeralContainers: [] }, { ...spec, ephemeralContainers: [] }, 'spec');
  if (others.length > 0)
    return [forbidden('spec', `may only change ephemeralContainers; changed: ${others.join(', ')}`)];
  return validatePodSpec(spec, 'spec').filter(({ field }) => field.startsWith('spec.ephemeralContainers'));
}

/** The paths of the smallest differing parts, at most ten. */
export function changedPaths(before: unknown, after: unknown, path: string): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    return before.flatMap((item, index) => changedPaths(item, after[index], `${path}[${index}]`)).slice(0, 10);
  }
  if (isRecord(before) && isRecord(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...names].flatMap((name) => changedPaths(before[name], after[name], `${path}.${name}`)).slice(0, 10);
  }
  return [path];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
