import type { KubeObject, ObjectMeta } from '../../model/meta.ts';
import {
  dns1035LabelError,
  dns1123LabelError,
  dns1123SubdomainError,
  labelValueError,
  qualifiedNameError,
} from '../../model/names.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { FieldError } from '../port.ts';
import { child, forbidden, invalid, required, tooLong } from './field-errors.ts';

const ANNOTATIONS_LIMIT_BYTES = 256 * 1024;

type NameRule = (name: string) => string | undefined;

function nameRuleOf(type: ResourceType): NameRule {
  if (type.plural === resources.namespaces.plural) return dns1123LabelError;
  if (type.plural === resources.services.plural) return dns1035LabelError;
  // "We don't care what you call your certificate requests": bootstrap names are base64url.
  if (type.plural === resources.certificatesigningrequests.plural) return () => undefined;
  // Its own rules are stricter, and speak of colons (validateClusterTrustBundle).
  if (type.plural === resources.clustertrustbundles.plural) return () => undefined;
  return dns1123SubdomainError;
}

/** ValidateObjectMeta (apimachinery pkg/api/validation/objectmeta.go), and on update what may not change. */
export function validateObjectMeta(
  type: ResourceType,
  object: KubeObject,
  previous: KubeObject | undefined,
): FieldError[] {
  const meta: ObjectMeta = object.metadata ?? {};
  const errors = nameErrors(type, meta);
  if (type.namespaced) {
    if (!meta.namespace) errors.push(required('metadata.namespace'));
    else {
      const error = dns1123LabelError(meta.namespace);
      if (error !== undefined) errors.push(invalid('metadata.namespace', meta.namespace, error));
    }
  } else if (meta.namespace) errors.push(forbidden('metadata.namespace', 'not allowed on this type'));
  errors.push(...labelErrors(meta.labels, 'metadata.labels'));
  errors.push(...annotationErrors(meta.annotations, 'metadata.annotations'));
  for (const [index, finalizer] of (meta.finalizers ?? []).entries()) {
    const error = qualifiedNameError(finalizer);
    if (error !== undefined) errors.push(invalid(`metadata.finalizers[${index}]`, finalizer, error));
  }
  errors.push(...ownerErrors(meta));
  if (previous !== undefined) errors.push(...changeErrors(meta, previous.metadata));
  return errors;
}

function nameErrors(type: ResourceType, meta: ObjectMeta): FieldError[] {
  const rule = nameRuleOf(type);
  const errors: FieldError[] = [];
  if (meta.generateName) {
    // A dash at the end is what most prefixes have; the random suffix follows it.
    const error = rule(meta.generateName.replace(/-$/, 'a'));
    if (error !== undefined) errors.push(invalid('metadata.generateName', meta.generateName, error));
  }
  if (!meta.name) {
    if (!meta.generateName) errors.push(required('metadata.name', 'name or generateName is required'));
    return errors;
  }
  const error = rule(meta.name);
  if (error !== undefined) errors.push(invalid('metadata.name', meta.name, error));
  return errors;
}

export function labelErrors(labels: Readonly<Record<string, string>> | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    const keyError = qualifiedNameError(key);
    if (keyError !== undefined) errors.push(invalid(field, key, keyError));
    const valueError = labelValueError(value);
    if (valueError !== undefined) errors.push(invalid(`${field}[${key}]`, value, valueError));
  }
  return errors;
}

function annotationErrors(annotations: Readonly<Record<string, string>> | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    // Keys of annotations may have upper case in their prefix.
    const error = qualifiedNameError(key.toLowerCase());
    if (error !== undefined) errors.push(invalid(field, key, error));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > ANNOTATIONS_LIMIT_BYTES) errors.push(tooLong(field, ANNOTATIONS_LIMIT_BYTES));
  return errors;
}

function ownerErrors(meta: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  let controller: string | undefined;
  for (const [index, owner] of (meta.ownerReferences ?? []).entries()) {
    const path = `metadata.ownerReferences[${index}]`;
    for (const name of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (!owner[name]) errors.push(required(child(path, name), 'must not be empty'));
    }
    if (owner.controller !== true) continue;
    if (controller !== undefined) {
      const detail = `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${owner.name}`;
      errors.push(invalid('metadata.ownerReferences', owner.name, detail));
    }
    controller = owner.name;
  }
  return errors;
}

function changeErrors(meta: ObjectMeta, previous: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of ['name', 'namespace', 'uid', 'creationTimestamp'] as const) {
    if (meta[name] !== undefined && meta[name] !== '' && meta[name] !== previous[name]) {
      errors.push(invalid(`metadata.${name}`, meta[name], 'field is immutable'));
    }
  }
  const added = (meta.finalizers ?? []).filter((finalizer) => !previous.finalizers?.includes(finalizer));
  if (previous.deletionTimestamp !== undefined && added.length > 0) {
    errors.push(
      forbidden(
        'metadata.finalizers',
        `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
      ),
    );
  }
  return errors;
}
