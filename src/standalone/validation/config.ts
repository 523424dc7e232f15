import { isDeepStrictEqual } from 'node:util';
import { configKeyError } from '../../model/names.ts';
import type { ConfigMap, Secret } from '../../model/objects.ts';
import type { FieldError } from '../port.ts';
import { forbidden, invalid, required, tooLong } from './field-errors.ts';

const SIZE_LIMIT_BYTES = 1024 * 1024;

/** ValidateConfigMap, ValidateConfigMapUpdate. */
export function validateConfigMap(config: ConfigMap, previous: ConfigMap | undefined): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, text] of Object.entries(config.data ?? {})) {
    errors.push(...keyErrors(key, 'data'));
    if (Object.hasOwn(config.binaryData ?? {}, key))
      errors.push(invalid(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    size += Buffer.byteLength(text);
  }
  for (const [key, text] of Object.entries(config.binaryData ?? {})) {
    errors.push(...keyErrors(key, 'binaryData'));
    if (Object.hasOwn(config.data ?? {}, key))
      errors.push(invalid(`binaryData[${key}]`, key, 'duplicate of key present in data'));
    size += Buffer.byteLength(text, 'base64');
  }
  // The API names the whole object here, with an empty path.
  if (size > SIZE_LIMIT_BYTES) errors.push(tooLong('data', SIZE_LIMIT_BYTES));
  return [...errors, ...frozenErrors(config, previous, ['data', 'binaryData'])];
}

/** What a Secret of a type must hold (pkg/apis/core/types.go, SecretType). */
const REQUIRED_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/dockercfg', ['.dockercfg']],
  ['kubernetes.io/dockerconfigjson', ['.dockerconfigjson']],
  ['kubernetes.io/ssh-auth', ['ssh-privatekey']],
  ['kubernetes.io/tls', ['tls.crt', 'tls.key']],
]);

/** ValidateSecret, ValidateSecretUpdate. */
export function validateSecret(secret: Secret, previous: Secret | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const data = secret.data ?? {};
  let size = 0;
  for (const [key, text] of Object.entries(data)) {
    errors.push(...keyErrors(key, 'data'));
    size += Buffer.byteLength(text, 'base64');
  }
  if (size > SIZE_LIMIT_BYTES) errors.push(tooLong('data', SIZE_LIMIT_BYTES));
  const type = secret.type ?? '';
  for (const key of REQUIRED_KEYS.get(type) ?? []) {
    if (!Object.hasOwn(data, key)) errors.push(required(`data[${key}]`));
    else if (key.startsWith('.docker') && !isJsonObject(data[key] ?? '')) {
      errors.push(invalid(`data[${key}]`, '<secret contents redacted>', 'must be a JSON object'));
    }
  }
  if (type === 'kubernetes.io/basic-auth' && !Object.hasOwn(data, 'username') && !Object.hasOwn(data, 'password')) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  if (
    type === 'kubernetes.io/service-account-token' &&
    !secret.metadata.annotations?.['kubernetes.io/service-account.name']
  ) {
    errors.push(required('metadata.annotations[kubernetes.io/service-account.name]'));
  }
  if (previous !== undefined && previous.type !== secret.type)
    errors.push(invalid('type', secret.type, 'field is immutable'));
  return [...errors, ...frozenErrors(secret, previous, ['data'])];
}

function keyErrors(key: string, field: string): FieldError[] {
  const error = configKeyError(key);
  return error === undefined ? [] : [invalid(`${field}[${key}]`, key, error)];
}

/** `immutable: true` cannot be taken back, and freezes the data. */
function frozenErrors<T extends ConfigMap | Secret>(
  object: T,
  previous: T | undefined,
  fields: readonly (keyof T & string)[],
): FieldError[] {
  if (previous?.immutable !== true) return [];
  const errors: FieldError[] = [];
  if (object.immutable !== true) errors.push(forbidden('immutable', 'field is immutable when `immutable` is set'));
  for (const field of fields) {
    if (!isDeepStrictEqual(object[field] ?? {}, previous[field] ?? {})) {
      errors.push(forbidden(field, 'field is immutable when `immutable` is set'));
    }
  }
  return errors;
}

function isJsonObject(base64: string): boolean {
  try {
    const value: unknown = JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
