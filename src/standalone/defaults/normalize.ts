import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import { leafError } from '../schema/leaf-error.ts';
import type { ObjectSchema, Schema } from '../schema/port.ts';

/**
 * A deep copy as an API server would hold it: without unknown fields, nulls and values that structuralErrors reports,
 * and with quantities in canonical text. Lists keep their places: an item of a wrong type becomes an empty one, so
 * that field paths stay right.
 */
export function normalize(schema: ObjectSchema, object: object): Record<string, unknown> {
  return (copy(schema, object) ?? {}) as Record<string, unknown>;
}

function copy(schema: Schema, value: unknown): unknown {
  if (value === null || value === undefined) return undefined;
  switch (schema.kind) {
    case 'leaf':
      if (leafError(schema.type, value) !== undefined) return undefined;
      if (schema.type === 'quantity') return canonicalQuantity(value as string | number);
      return typeof value === 'object' ? structuredClone(value) : value;
    case 'list': {
      if (!Array.isArray(value)) return undefined;
      return value.map((item) => copy(schema.item, item) ?? emptyOf(schema.item));
    }
    case 'map': {
      if (!isRecord(value)) return undefined;
      const result: Record<string, unknown> = {};
      for (const [key, item] of Object.entries(value)) {
        const copied = copy(schema.value, item) ?? emptyOf(schema.value);
        setOwn(result, key, copied);
      }
      return result;
    }
    case 'object': {
      if (!isRecord(value)) return undefined;
      const result: Record<string, unknown> = {};
      for (const [name, item] of Object.entries(value)) {
        const field = schema.fields.get(name);
        const copied = field === undefined ? undefined : copy(field.schema, item);
        if (copied !== undefined) result[name] = copied;
      }
      return result;
    }
  }
}

/** Go's zero value, which null stands for inside of lists and maps. */
function emptyOf(schema: Schema): unknown {
  switch (schema.kind) {
    case 'list':
      return [];
    case 'leaf':
      return schema.type === 'string' || schema.type === 'bytes'
        ? ''
        : schema.type === 'boolean'
          ? false
          : schema.type === 'quantity'
            ? '0'
            : 0;
    default:
      return {};
  }
}

// "__proto__" may be a key of labels or data; plain assignment would set the prototype.
function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
