import type { FieldError } from '../port.ts';

/**
 * Field errors in apimachinery's words (pkg/util/validation/field/errors.go). `message` is the whole body, such as
 * `Invalid value: 70000: must be between 1 and 65535, inclusive`; `${field}: ${message}` is what kubectl shows.
 */
export function required(field: string, detail = ''): FieldError {
  return { field, reason: 'FieldValueRequired', message: withDetail('Required value', detail) };
}

export function invalid(field: string, value: unknown, detail: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: withDetail(`Invalid value: ${shownValue(value)}`, detail) };
}

export function typeInvalid(field: string, value: unknown, detail: string): FieldError {
  return { field, reason: 'FieldValueTypeInvalid', message: withDetail(`Invalid value: ${shownValue(value)}`, detail) };
}

export function notSupported(field: string, value: unknown, supported: readonly string[], hint = ''): FieldError {
  const values = supported.map((one) => JSON.stringify(one)).join(', ');
  const detail = `supported values: ${values}${hint}`;
  return { field, reason: 'FieldValueNotSupported', message: `Unsupported value: ${shownValue(value)}: ${detail}` };
}

export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${shownValue(value)}` };
}

export function forbidden(field: string, detail: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: withDetail('Forbidden', detail) };
}

export function notFound(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueNotFound', message: `Not found: ${shownValue(value)}` };
}

export function tooLong(field: string, limitBytes: number): FieldError {
  return { field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${limitBytes} bytes` };
}

export function tooMany(field: string, actual: number, limit: number): FieldError {
  return { field, reason: 'FieldValueTooMany', message: `Too many: ${actual}: must have at most ${limit} items` };
}

/** `spec` + `containers` → spec.containers */
export function child(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

/** Objects are cut short: a whole pod in an error message helps nobody. */
function shownValue(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function withDetail(head: string, detail: string): string {
  return detail === '' ? head : `${head}: ${detail}`;
}
