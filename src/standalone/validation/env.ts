import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import {
  configKeyError,
  dns1123LabelError,
  dns1123SubdomainError,
  envVarNameError,
  qualifiedNameError,
} from '../../model/names.ts';
import type {
  EnvFromSource,
  EnvVar,
  FileKeySelector,
  ObjectFieldSelector,
  ResourceFieldSelector,
  Volume,
} from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { child, invalid, notFound, notSupported, required } from './field-errors.ts';
import { noBackstepErrors } from './paths.ts';

/** Fields of a pod that environment variables may show. */
export const ENV_FIELDS: readonly string[] = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
/** Fields of a pod that files of the downward API may show. */
export const FILE_FIELDS: readonly string[] = [
  'metadata.name',
  'metadata.namespace',
  'metadata.labels',
  'metadata.annotations',
  'metadata.uid',
];
const SUBSCRIPTED = /^metadata\.(labels|annotations)\['([^']*)'\]$/;
const CONTAINER_RESOURCE = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;
const SOURCES = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'] as const;

export function validateEnv(variables: readonly EnvVar[] | undefined, path: string): FieldError[] {
  return (variables ?? []).flatMap((variable, index) => variableErrors(variable, `${path}[${index}]`));
}

function variableErrors(variable: EnvVar, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!variable.name) errors.push(required(child(path, 'name')));
  else {
    const error = envVarNameError(variable.name);
    if (error !== undefined) errors.push(invalid(child(path, 'name'), variable.name, error));
  }
  const source = variable.valueFrom;
  if (source === undefined) return errors;
  const at = child(path, 'valueFrom');
  const set = SOURCES.filter((name) => source[name] !== undefined);
  if (set.length === 0) {
    errors.push(
      invalid(
        at,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      ),
    );
  } else if (variable.value) errors.push(invalid(at, '', 'may not be specified when `value` is not empty'));
  else if (set.length > 1) errors.push(invalid(at, '', 'may not have more than one field specified at a time'));
  if (source.fieldRef !== undefined)
    errors.push(...fieldRefErrors(source.fieldRef, `${at}.fieldRef`, ENV_FIELDS, true));
  if (source.resourceFieldRef !== undefined) {
    errors.push(...resourceFieldErrors(source.resourceFieldRef, `${at}.resourceFieldRef`, false));
  }
  if (source.fileKeyRef !== undefined) errors.push(...fileKeyErrors(source.fileKeyRef, `${at}.fileKeyRef`));
  for (const name of ['configMapKeyRef', 'secretKeyRef'] as const) {
    const ref = source[name];
    if (ref === undefined) continue;
    if (!ref.name) errors.push(required(`${at}.${name}.name`));
    else errors.push(...nameErrors(ref.name, `${at}.${name}.name`));
    if (!ref.key) errors.push(required(`${at}.${name}.key`));
    else {
      const error = configKeyError(ref.key);
      if (error !== undefined) errors.push(invalid(`${at}.${name}.key`, ref.key, error));
    }
  }
  return errors;
}

function fileKeyErrors({ key, volumeName, path: file }: FileKeySelector, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const keyError = key ? envVarNameError(key) : undefined;
  if (!key) errors.push(required(child(path, 'key')));
  else if (keyError !== undefined) errors.push(invalid(child(path, 'key'), key, keyError));
  const volumeError = volumeName ? dns1123LabelError(volumeName) : undefined;
  if (!volumeName) errors.push(required(child(path, 'volumeName')));
  else if (volumeError !== undefined) errors.push(invalid(child(path, 'volumeName'), volumeName, volumeError));
  if (!file) errors.push(required(child(path, 'path')));
  else errors.push(...noBackstepErrors(file, child(path, 'path')));
  return errors;
}

/** Environment files lie in emptyDirs (validateFileKeyRefVolumes). */
export function validateEnvFileVolumes(
  variables: readonly EnvVar[] | undefined,
  volumes: readonly Volume[] | undefined,
  path: string,
): FieldError[] {
  return (variables ?? []).flatMap(({ valueFrom }, index) => {
    const name = valueFrom?.fileKeyRef?.volumeName;
    if (!name) return [];
    const at = `${path}[${index}].valueFrom.fileKeyRef.volumeName`;
    const volume = volumes?.find((one) => one.name === name);
    if (volume === undefined) return [notFound(at, name)];
    return volume.emptyDir === undefined ? [invalid(at, name, 'referenced volume must be of type emptyDir')] : [];
  });
}

export function validateEnvFrom(sources: readonly EnvFromSource[] | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, source] of (sources ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (source.prefix) {
      const error = envVarNameError(source.prefix);
      if (error !== undefined) errors.push(invalid(child(at, 'prefix'), source.prefix, error));
    }
    const set = (['configMapRef', 'secretRef'] as const).filter((name) => source[name] !== undefined);
    if (set.length === 0) errors.push(invalid(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    if (set.length > 1) errors.push(invalid(at, '', 'may not have more than one field specified at a time'));
    for (const name of set) {
      const ref = source[name]?.name;
      if (!ref) errors.push(required(`${at}.${name}.name`));
      else errors.push(...nameErrors(ref, `${at}.${name}.name`));
    }
  }
  return errors;
}

export function fieldRefErrors(
  ref: ObjectFieldSelector,
  path: string,
  fields: readonly string[],
  inEnv: boolean,
): FieldError[] {
  if (!ref.apiVersion) return [required(child(path, 'apiVersion'))];
  if (!ref.fieldPath) return [required(child(path, 'fieldPath'))];
  const at = child(path, 'fieldPath');
  const [, map, key] = SUBSCRIPTED.exec(ref.fieldPath) ?? [];
  if (key !== undefined) {
    const error = qualifiedNameError(map === 'annotations' ? key.toLowerCase() : key);
    return error === undefined ? [] : [invalid(at, key, error)];
  }
  if (fields.includes(ref.fieldPath)) return [];
  if (inEnv && (ref.fieldPath === 'metadata.labels' || ref.fieldPath === 'metadata.annotations')) {
    return [
      invalid(
        at,
        ref.fieldPath,
        `error converting fieldPath: an environment variable can show one entry only, as in ${ref.fieldPath}['key']`,
      ),
    ];
  }
  return [notSupported(at, ref.fieldPath, [...fields].sort())];
}

export function resourceFieldErrors(ref: ResourceFieldSelector, path: string, inVolume: boolean): FieldError[] {
  if (inVolume && !ref.containerName) return [required(child(path, 'containerName'))];
  if (!ref.resource) return [required(child(path, 'resource'))];
  const match = CONTAINER_RESOURCE.exec(ref.resource);
  if (match === null) {
    const supported = ['limits', 'requests'].flatMap((kind) =>
      ['cpu', 'ephemeral-storage', 'memory'].map((name) => `${kind}.${name}`),
    );
    return [notSupported(child(path, 'resource'), ref.resource, supported)];
  }
  return divisorErrors(match[2] ?? '', String(ref.divisor ?? '0'), child(path, 'divisor'));
}

function divisorErrors(resource: string, divisor: string, path: string): FieldError[] {
  const text = canonicalQuantity(divisor);
  if (text === '0') return [];
  const supported =
    resource === 'cpu'
      ? ['1m', '1']
      : ['1', '1k', '1M', '1G', '1T', '1P', '1E', '1Ki', '1Mi', '1Gi', '1Ti', '1Pi', '1Ei'];
  if (supported.includes(text)) return [];
  return [
    invalid(path, divisor, `only divisor's values ${supported.join(', ')} are supported with the ${resource} resource`),
  ];
}

function nameErrors(name: string, path: string): FieldError[] {
  const error = dns1123SubdomainError(name);
  return error === undefined ? [] : [invalid(path, name, error)];
}
