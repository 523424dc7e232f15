import { nearMiss } from '../../kit/near-miss.ts';
import type { FieldError } from '../port.ts';
import { child, invalid, typeInvalid } from '../validation/field-errors.ts';
import { leafError, typeName } from './leaf-error.ts';
import type { ObjectSchema, Schema } from './port.ts';

const UNKNOWN = 'unknown field';

/**
 * Every unknown field and every value of a wrong JSON type or malformed text (quantities, times, base64), with the
 * field that was probably meant. Null is as good as absent anywhere, as in Go.
 */
export function structuralErrors(root: ObjectSchema, object: unknown): FieldError[] {
  const errors: FieldError[] = [];
  walk(root, object, '', errors);
  return errors;
}

/** An unknown field, which `fieldValidation=Ignore` and `=Warn` let pass; all other structural errors are fatal. */
export function isUnknownField(error: FieldError): boolean {
  return error.reason === 'FieldValueForbidden' && error.message.startsWith(UNKNOWN);
}

function walk(schema: Schema, value: unknown, path: string, errors: FieldError[]): void {
  if (value === null || value === undefined) return;
  switch (schema.kind) {
    case 'leaf': {
      const error = leafError(schema.type, value);
      if (error?.kind === 'type') errors.push(typeInvalid(path, value, error.expected));
      else if (error !== undefined) errors.push(invalid(path, value, error.expected));
      return;
    }
    case 'list':
      if (!Array.isArray(value)) {
        errors.push(typeInvalid(path, value, `must be a list, not ${typeName(value)}`));
        return;
      }
      for (const [index, item] of value.entries()) walk(schema.item, item, `${path}[${index}]`, errors);
      return;
    case 'map':
      if (!isRecord(value)) {
        errors.push(typeInvalid(path, value, `must be an object, not ${typeName(value)}`));
        return;
      }
      for (const [key, item] of Object.entries(value)) walk(schema.value, item, `${path}[${key}]`, errors);
      return;
    case 'object':
      if (!isRecord(value)) {
        errors.push(typeInvalid(path, value, `must be an object, not ${typeName(value)}`));
        return;
      }
      for (const [name, item] of Object.entries(value)) {
        const field = schema.fields.get(name);
        if (field !== undefined) walk(field.schema, item, child(path, name), errors);
        else errors.push(unknownField(schema, child(path, name), name));
      }
  }
}

function unknownField(schema: ObjectSchema, path: string, name: string): FieldError {
  const meant = nearMiss(name, schema.fields.keys());
  const hint = meant === undefined ? '' : `, did you mean ${JSON.stringify(meant)}?`;
  return { field: path, reason: 'FieldValueForbidden', message: `${UNKNOWN} ${JSON.stringify(path)}${hint}` };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
