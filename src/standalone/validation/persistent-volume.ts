import { isDeepStrictEqual } from 'node:util';
import type { LabelSelector, ResourceList } from '../../model/meta.ts';
import { dns1123SubdomainError } from '../../model/names.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../model/objects.ts';
import { sourceFieldsOf } from '../../model/persistent-volume.ts';
import { isQuantity, parseQuantity } from '../../model/quantity.ts';
import type { FieldError } from '../port.ts';
import { child, forbidden, invalid, required } from './field-errors.ts';
import { validateLabelSelector } from './label-selector.ts';
import { noBackstepErrors } from './paths.ts';
import { type NodeTerm, nodeSelectorErrors } from './scheduling.ts';

/** ValidatePersistentVolume and, with `previous`, ValidatePersistentVolumeUpdate. */
export function validatePersistentVolume(
  volume: PersistentVolume,
  previous: PersistentVolume | undefined,
): FieldError[] {
  const spec = volume.spec ?? {};
  const errors: FieldError[] = [];
  if ((spec.accessModes?.length ?? 0) === 0) errors.push(required('spec.accessModes'));
  if ((spec.accessModes?.length ?? 0) > 1 && spec.accessModes?.includes('ReadWriteOncePod') === true) {
    errors.push(forbidden('spec.accessModes', 'may not use ReadWriteOncePod with other access modes'));
  }
  errors.push(...capacityErrors(spec.capacity, 'spec.capacity', true));
  if (spec.storageClassName) errors.push(...classErrors(spec.storageClassName, 'spec.storageClassName'));
  const sources = sourceFieldsOf(spec);
  if (sources.length === 0) errors.push(required('spec', 'must specify a volume type'));
  for (const name of sources.slice(1))
    errors.push(forbidden(child('spec', name), 'may not specify more than 1 volume type'));
  if (spec.hostPath !== undefined) {
    if (!spec.hostPath.path) errors.push(required('spec.hostPath.path'));
    else errors.push(...noBackstepErrors(spec.hostPath.path, 'spec.hostPath.path'));
    if (spec.hostPath.path === '/' && spec.persistentVolumeReclaimPolicy === 'Recycle') {
      errors.push(forbidden('spec.persistentVolumeReclaimPolicy', "may not be 'recycle' for a hostPath mount of '/'"));
    }
  }
  const affinity = spec.nodeAffinity as { required?: { nodeSelectorTerms?: NodeTerm[] } } | undefined;
  if (spec.local !== undefined) {
    if (!spec.local.path) errors.push(required('spec.local.path'));
    if (affinity === undefined) errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
  }
  if (affinity !== undefined) {
    if (affinity.required === undefined)
      errors.push(required('spec.nodeAffinity.required', 'must specify required node constraints'));
    else errors.push(...nodeSelectorErrors(affinity.required, 'spec.nodeAffinity.required'));
  }
  if (previous === undefined) return errors;
  for (const name of sources) {
    const [before, after] = [previous.spec, spec] as Record<string, unknown>[];
    if (!isDeepStrictEqual(before?.[name], after?.[name])) {
      errors.push(forbidden('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'));
      break;
    }
  }
  if (previous.spec?.volumeMode !== spec.volumeMode)
    errors.push(invalid('spec.volumeMode', spec.volumeMode, 'field is immutable'));
  return errors;
}

/** ValidatePersistentVolumeClaim; once bound only requests may grow (and not below the status). */
export function validatePersistentVolumeClaim(
  claim: PersistentVolumeClaim,
  previous: PersistentVolumeClaim | undefined,
): FieldError[] {
  const errors = validateClaimSpec(claim.spec ?? {}, 'spec');
  if (previous === undefined) return errors;
  const frozen = (spec: PersistentVolumeClaim['spec']): object => ({ ...spec, resources: undefined, volumeName: '' });
  if (!isDeepStrictEqual(frozen(previous.spec), frozen(claim.spec))) {
    const detail =
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
    errors.push(forbidden('spec', detail));
  }
  if (previous.spec?.volumeName && previous.spec.volumeName !== claim.spec?.volumeName) {
    errors.push(forbidden('spec', 'volumeName is immutable once the claim is bound'));
  }
  const [before, after] = [
    previous.spec?.resources?.requests?.['storage'],
    claim.spec?.resources?.requests?.['storage'],
  ];
  if (before !== undefined && after !== undefined && parseQuantity(after) < parseQuantity(before)) {
    errors.push(forbidden('spec.resources.requests.storage', 'field can not be less than previous value'));
  }
  return errors;
}

interface ClaimSpec {
  accessModes?: string[];
  resources?: { requests?: ResourceList };
  selector?: unknown;
  storageClassName?: string;
}

export function validateClaimSpec(spec: ClaimSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const modes = spec.accessModes ?? [];
  if (modes.length === 0) errors.push(required(child(path, 'accessModes'), 'at least 1 access mode is required'));
  if (modes.length > 1 && modes.includes('ReadWriteOncePod')) {
    errors.push(forbidden(child(path, 'accessModes'), 'may not use ReadWriteOncePod with other access modes'));
  }
  errors.push(...validateLabelSelector(spec.selector as LabelSelector | undefined, child(path, 'selector')));
  errors.push(...capacityErrors(spec.resources?.requests, `${path}.resources`, false));
  if (spec.storageClassName) errors.push(...classErrors(spec.storageClassName, child(path, 'storageClassName')));
  return errors;
}

function capacityErrors(list: ResourceList | undefined, path: string, exactlyStorage: boolean): FieldError[] {
  const storage = list?.['storage'];
  const at = `${path}[storage]`;
  if (storage === undefined || !isQuantity(storage)) return [required(exactlyStorage ? path : at)];
  if (exactlyStorage && Object.keys(list ?? {}).length > 1) {
    return [
      { field: path, reason: 'FieldValueNotSupported', message: 'Unsupported value: only ["storage"] is expected' },
    ];
  }
  return parseQuantity(storage) > 0n ? [] : [invalid(at, storage, 'must be greater than zero')];
}

function classErrors(name: string, path: string): FieldError[] {
  const error = dns1123SubdomainError(name);
  return error === undefined ? [] : [invalid(path, name, error)];
}
