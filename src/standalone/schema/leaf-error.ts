import { isQuantity } from '../../model/quantity.ts';
import type { LeafType } from './port.ts';

// As Go's time.RFC3339 reads it; seconds and an offset are required.
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const MAX_INT32 = 2_147_483_647;

/**
 * What is wrong with a leaf's JSON value: `type` when it is of another JSON type, `form` when its text is malformed;
 * undefined when it is right.
 */
export function leafError(type: LeafType, value: unknown): { kind: 'type' | 'form'; expected: string } | undefined {
  switch (type) {
    case 'string':
      return typeof value === 'string' ? undefined : typeError('a string', value);
    case 'boolean':
      return typeof value === 'boolean' ? undefined : typeError('true or false', value);
    case 'int32':
    case 'int64': {
      if (typeof value !== 'number') return typeError('a whole number', value);
      if (!Number.isInteger(value)) return { kind: 'type', expected: 'must be a whole number' };
      const limit = type === 'int32' ? MAX_INT32 : Number.MAX_SAFE_INTEGER;
      if (value > limit || value < -limit - 1) return { kind: 'type', expected: `must fit in ${type}` };
      return undefined;
    }
    case 'number':
      return typeof value === 'number' ? undefined : typeError('a number', value);
    case 'quantity': {
      if (typeof value !== 'string' && typeof value !== 'number') return typeError('a quantity such as "500m"', value);
      if (isQuantity(value)) return undefined;
      return {
        kind: 'form',
        expected:
          "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', such as 500m, 0.5, 64Mi or 2G",
      };
    }
    case 'intOrString':
      if (typeof value === 'string') return undefined;
      if (typeof value !== 'number') return typeError('a whole number or a string', value);
      return Number.isInteger(value) ? undefined : { kind: 'type', expected: 'must be a whole number or a string' };
    case 'time':
    case 'microTime':
      if (typeof value !== 'string') return typeError('an RFC 3339 time', value);
      if (RFC_3339.test(value) && !Number.isNaN(Date.parse(value))) return undefined;
      return { kind: 'form', expected: 'must be a time of RFC 3339 such as 2026-01-31T12:00:00Z' };
    case 'bytes':
      if (typeof value !== 'string') return typeError('base64 text', value);
      // Go's decoder skips line ends, which YAML block scalars bring along.
      return BASE64.test(value.replace(/[\r\n]/g, '')) ? undefined : { kind: 'form', expected: 'must be base64 text' };
    case 'json':
      return typeof value === 'object' && !Array.isArray(value) ? undefined : typeError('an object', value);
    case 'any':
      return undefined;
  }
}

function typeError(expected: string, value: unknown): { kind: 'type'; expected: string } {
  return { kind: 'type', expected: `must be ${expected}, not ${typeName(value)}` };
}

/** The JSON type of a value, with its article. */
export function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return 'a string';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'a boolean';
    default:
      return 'an object';
  }
}
