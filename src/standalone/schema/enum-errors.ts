import { nearMiss } from '../../kit/near-miss.ts';
import type { FieldError } from '../port.ts';
import { child, notSupported, required } from '../validation/field-errors.ts';
import type { ObjectSchema, Schema } from './port.ts';

/**
 * Values outside of the closed sets of the API, in the metadata and the spec; what status holds is its writer's. Empty
 * text counts as absent unless the field is required.
 */
export function enumErrors(root: ObjectSchema, object: object): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, value] of Object.entries(object)) {
    const field = name === 'status' ? undefined : root.fields.get(name);
    if (field !== undefined) walk(field.schema, value, name, field.required, errors);
  }
  return errors;
}

function walk(schema: Schema, value: unknown, path: string, isRequired: boolean, errors: FieldError[]): void {
  if (value === null || value === undefined) return;
  if (schema.kind === 'leaf') {
    if (schema.values === undefined || typeof value !== 'string' || schema.values.includes(value)) return;
    if (value === '') {
      if (isRequired) errors.push(required(path));
      return;
    }
    const meant = nearMiss(value, schema.values);
    const hint = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`;
    errors.push(notSupported(path, value, [...schema.values].sort(), hint));
  } else if (schema.kind === 'list') {
    if (!Array.isArray(value) || !canHoldEnum(schema.item)) return;
    for (const [index, item] of value.entries()) walk(schema.item, item, `${path}[${index}]`, true, errors);
  } else if (schema.kind === 'object' && typeof value === 'object') {
    for (const [name, item] of Object.entries(value)) {
      const field = schema.fields.get(name);
      if (field !== undefined) walk(field.schema, item, child(path, name), field.required, errors);
    }
  }
}

function canHoldEnum(schema: Schema): boolean {
  return schema.kind !== 'leaf' || schema.values !== undefined;
}
