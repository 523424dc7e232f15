import { isDeepStrictEqual } from 'node:util';
import { dns1123SubdomainError, qualifiedNameError } from '../../model/names.ts';
import type { CSIDriver, CSINode, StorageClass, VolumeAttachment } from '../../model/storage.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, invalid, notSupported, required, tooLong } from './field-errors.ts';

const SHORTEST_TOKEN_SECONDS = 600;
const LONGEST_TOKEN_SECONDS = 2 ** 32;
const NODE_ID_BYTES = 192;
const DRIVER_NAME_BYTES = 63;

/** ValidateCSIDriverName. */
export function csiDriverNameErrors(name: string | undefined, path: string): FieldError[] {
  if (!name) return [required(path)];
  const errors = Buffer.byteLength(name) > DRIVER_NAME_BYTES ? [tooLong(path, DRIVER_NAME_BYTES)] : [];
  const error = dns1123SubdomainError(name.toLowerCase());
  return error === undefined ? errors : [...errors, invalid(path, name, error)];
}

/** ValidateCSIDriver, ValidateCSIDriverUpdate. */
export function validateCSIDriver(driver: CSIDriver, previous: CSIDriver | undefined): FieldError[] {
  const { spec = {} } = driver;
  const errors = csiDriverNameErrors(driver.metadata.name, 'metadata.name');
  const audiences = new Set<string>();
  for (const [index, { audience, expirationSeconds }] of (spec.tokenRequests ?? []).entries()) {
    const at = `spec.tokenRequests[${index}]`;
    if (audiences.has(audience)) errors.push(duplicate(`${at}.audience`, audience));
    audiences.add(audience);
    if (expirationSeconds === undefined) continue;
    if (expirationSeconds < SHORTEST_TOKEN_SECONDS) {
      const detail = 'may not specify a duration less than 10 minutes';
      errors.push(invalid(`${at}.expirationSeconds`, expirationSeconds, detail));
    } else if (expirationSeconds > LONGEST_TOKEN_SECONDS) {
      const detail = 'may not specify a duration larger than 2^32 seconds';
      errors.push(invalid(`${at}.expirationSeconds`, expirationSeconds, detail));
    }
  }
  for (const [index, mode] of (spec.volumeLifecycleModes ?? []).entries()) {
    if (mode === 'Persistent' || mode === 'Ephemeral') continue;
    errors.push(notSupported(`spec.volumeLifecycleModes[${index}]`, mode, ['Persistent', 'Ephemeral']));
  }
  const period = spec.nodeAllocatableUpdatePeriodSeconds;
  if (period !== undefined && period < 10) {
    errors.push(
      invalid('spec.nodeAllocatableUpdatePeriodSeconds', period, 'must be greater than or equal to 10 seconds'),
    );
  }
  if (previous === undefined) return errors;
  for (const field of ['attachRequired', 'volumeLifecycleModes'] as const) {
    if (isDeepStrictEqual(previous.spec?.[field], spec[field])) continue;
    errors.push(invalid(`spec.${field}`, spec[field], 'field is immutable'));
  }
  return errors;
}

/** ValidateCSINode, ValidateCSINodeUpdate. */
export function validateCSINode(node: CSINode, previous: CSINode | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, driver] of (node.spec?.drivers ?? []).entries()) {
    const at = `spec.drivers[${index}]`;
    errors.push(...csiDriverNameErrors(driver.name, `${at}.name`));
    if (!driver.nodeID) errors.push(required(`${at}.nodeID`));
    else if (Buffer.byteLength(driver.nodeID) > NODE_ID_BYTES) {
      errors.push(invalid(`${at}.nodeID`, driver.nodeID, `must be ${NODE_ID_BYTES} characters or less`));
    }
    const count = driver.allocatable?.count;
    if (count !== undefined && count < 0) {
      errors.push(invalid(`${at}.allocatable.count`, count, 'must be greater than or equal to 0'));
    }
    if (names.has(driver.name)) errors.push(duplicate(`${at}.name`, driver.name));
    names.add(driver.name);
    const keys = driver.topologyKeys ?? [];
    for (const [position, key] of keys.entries()) {
      const error = qualifiedNameError(key);
      if (keys.indexOf(key) !== position) errors.push(duplicate(at, key));
      else if (error !== undefined) errors.push(invalid(at, key, error));
    }
    const before = previous?.spec?.drivers?.find(({ name }) => name === driver.name);
    if (before === undefined) continue;
    const fixed = ({ allocatable: _, ...rest }: typeof driver): object => rest;
    if (!isDeepStrictEqual(fixed(before), fixed(driver))) {
      errors.push(invalid('spec.drivers', driver, 'field is immutable'));
    }
  }
  return errors;
}

/** ValidateVolumeAttachment, ValidateVolumeAttachmentUpdate. */
export function validateVolumeAttachment(
  attachment: VolumeAttachment,
  previous: VolumeAttachment | undefined,
): FieldError[] {
  const spec = attachment.spec as Partial<VolumeAttachment['spec']> | undefined;
  const errors = csiDriverNameErrors(spec?.attacher, 'spec.attacher');
  const source: { persistentVolumeName?: string; inlineVolumeSpec?: object } = spec?.source ?? {};
  const given = [source.persistentVolumeName, source.inlineVolumeSpec].filter((one) => one !== undefined && one !== '');
  if (given.length === 0) {
    errors.push(required('spec.source', 'must specify exactly one of inlineVolumeSpec and persistentVolumeName'));
  } else if (given.length > 1) {
    errors.push(
      invalid('spec.source', source, 'must specify exactly one of inlineVolumeSpec and persistentVolumeName'),
    );
  }
  if (!spec?.nodeName) errors.push(required(child('spec', 'nodeName')));
  if (previous !== undefined && !isDeepStrictEqual(previous.spec, spec)) {
    errors.push(invalid('spec', spec, 'field is immutable'));
  }
  return errors;
}

/** ValidateStorageClass, ValidateStorageClassUpdate. */
export function validateStorageClass(cls: StorageClass, previous: StorageClass | undefined): FieldError[] {
  const errors: FieldError[] = [];
  if (!cls.provisioner) errors.push(required('provisioner'));
  else {
    const error = qualifiedNameError(cls.provisioner.toLowerCase());
    if (error !== undefined) errors.push(invalid('provisioner', cls.provisioner, error));
  }
  for (const key of Object.keys(cls.parameters ?? {})) {
    if (key === '') errors.push(invalid('parameters', key, 'field can not be empty.'));
  }
  if (previous === undefined) return errors;
  for (const field of ['parameters', 'provisioner', 'reclaimPolicy', 'volumeBindingMode'] as const) {
    if (!isDeepStrictEqual(previous[field], cls[field])) errors.push(invalid(field, cls[field], 'field is immutable'));
  }
  return errors;
}
