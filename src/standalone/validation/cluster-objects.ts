import { isDeepStrictEqual } from 'node:util';
import { parseCidr } from '../../model/cidr.ts';
import { labelValueError, qualifiedNameError } from '../../model/names.ts';
import type { Node } from '../../model/node.ts';
import type { Event, Lease, PriorityClass } from '../../model/objects.ts';
import type { FieldError } from '../port.ts';
import { duplicate, forbidden, invalid, required } from './field-errors.ts';
import { quantityErrors } from './resource-requirements.ts';

const HIGHEST_USER_PRIORITY = 1_000_000_000;

/** The classes that every cluster has, with their values (pkg/apis/scheduling/v1/helpers.go). */
export const SYSTEM_CLASSES: ReadonlyMap<string, number> = new Map([
  ['system-node-critical', 2_000_001_000],
  ['system-cluster-critical', 2_000_000_000],
]);

/** ValidateNode, ValidateNodeUpdate. */
export function validateNode(node: Node, previous: Node | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const taints = new Set<string>();
  for (const [index, taint] of (node.spec?.taints ?? []).entries()) {
    const at = `spec.taints[${index}]`;
    const keyError = qualifiedNameError(taint.key ?? '');
    if (keyError !== undefined) errors.push(invalid(`${at}.key`, taint.key ?? '', keyError));
    const valueError = labelValueError(taint.value ?? '');
    if (valueError !== undefined) errors.push(invalid(`${at}.value`, taint.value, valueError));
    if (!taint.effect) errors.push(required(`${at}.effect`));
    const key = `${taint.key}:${taint.effect}`;
    if (taints.has(key))
      errors.push({
        ...duplicate(at, taint),
        message: `Duplicate value: ${JSON.stringify(taint)}: taints must be unique by key and effect pair`,
      });
    taints.add(key);
  }
  for (const [index, cidr] of (node.spec?.podCIDRs ?? []).entries()) {
    if (parseCidr(cidr) === undefined) {
      errors.push(
        invalid(`spec.podCIDRs[${index}]`, cidr, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'),
      );
    }
  }
  for (const field of ['capacity', 'allocatable'] as const) {
    const list = node.status?.[field] ?? {};
    for (const name of Object.keys(list)) {
      errors.push(
        ...quantityErrors(name, list, `status.${field}`, ['cpu', 'memory', 'ephemeral-storage', 'pods', 'storage']),
      );
    }
  }
  if (previous === undefined) return errors;
  const [before, after] = [previous.spec ?? {}, node.spec ?? {}];
  if ((before.podCIDRs?.length ?? 0) > 0 && !isDeepStrictEqual(before.podCIDRs, after.podCIDRs)) {
    errors.push(forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
  }
  if (before.providerID && before.providerID !== after.providerID) {
    errors.push(forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid'));
  }
  return errors;
}

/** ValidatePriorityClass, ValidatePriorityClassUpdate. */
export function validatePriorityClass(cls: PriorityClass, previous: PriorityClass | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const name = cls.metadata.name ?? '';
  const system = SYSTEM_CLASSES.get(name);
  if (name.startsWith('system-') && system !== cls.value) {
    errors.push(
      forbidden('metadata.name', "priority class names with 'system-' prefix are reserved for system use only"),
    );
  } else if (system === undefined && cls.value > HIGHEST_USER_PRIORITY) {
    const detail = `maximum allowed value of a user defined priority is ${HIGHEST_USER_PRIORITY}`;
    errors.push(forbidden('value', detail));
  }
  if (previous === undefined) return errors;
  if (previous.value !== cls.value) errors.push(forbidden('value', 'may not be changed in an update.'));
  if (previous.preemptionPolicy !== cls.preemptionPolicy) {
    errors.push(invalid('preemptionPolicy', cls.preemptionPolicy, 'field is immutable'));
  }
  return errors;
}

/** ValidateLease. */
export function validateLease(lease: Lease): FieldError[] {
  const spec = lease.spec ?? {};
  const errors: FieldError[] = [];
  if (spec.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0) {
    errors.push(invalid('spec.leaseDurationSeconds', spec.leaseDurationSeconds, 'must be greater than 0'));
  }
  if (spec.leaseTransitions !== undefined && spec.leaseTransitions < 0) {
    errors.push(invalid('spec.leaseTransitions', spec.leaseTransitions, 'must be greater than or equal to 0'));
  }
  return errors;
}

/** legacyValidateEvent: an event is about something in its own namespace. */
export function validateEvent(event: Event): FieldError[] {
  const about = event.involvedObject?.namespace ?? '';
  const own = event.metadata.namespace ?? '';
  if (about === '' ? own === 'default' || own === 'kube-system' : about === own) return [];
  return [invalid('involvedObject.namespace', about, 'does not match event.namespace')];
}
