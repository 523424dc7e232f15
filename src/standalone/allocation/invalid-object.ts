import { CodedError } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import type { FieldError } from '../port.ts';

/** The error of an object with mistakes, worded as an API server does: `Pod "web" is invalid: spec.…: Required value`. */
export class InvalidObjectError extends CodedError {
  readonly fieldErrors: readonly FieldError[];

  constructor(type: ResourceType, object: KubeObject, fieldErrors: readonly FieldError[]) {
    const name = object.metadata?.name ?? '';
    const list = fieldErrors.map(({ field, message }) => `${field}: ${message}`);
    const text = list.length === 1 ? list[0] : `[${list.join(', ')}]`;
    const shown = type.group === '' ? type.kind : `${type.kind}.${type.group}`;
    super('InvalidObject', `${shown} ${JSON.stringify(name)} is invalid: ${text}`, {
      kind: type.kind,
      name,
      reason: 'Invalid',
      field: fieldErrors[0]?.field,
    });
    this.fieldErrors = fieldErrors;
  }
}

export function invalidObject(
  type: ResourceType,
  object: KubeObject,
  errors: readonly FieldError[],
): InvalidObjectError {
  return new InvalidObjectError(type, object, errors);
}
