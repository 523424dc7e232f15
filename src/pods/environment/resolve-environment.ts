import { CodedError, messageOf } from '../../kit/errors.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { ConfigMap, Secret } from '../../model/objects.ts';
import type { Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, Pod } from '../../model/pod.ts';
import type { Service } from '../../model/service.ts';
import { envFileValue } from './env-file.ts';
import { expand } from './expand.ts';
import { type PodAddresses, podFieldValue } from './field-ref.ts';
import { containerOf, resourceFieldValue } from './resource-field-ref.ts';
import { serviceEnvironment } from './service-environment.ts';

export interface EnvironmentContext extends PodAddresses {
  /** By name, those of the pod's namespace; absent means that the API does not have it. */
  readonly configMaps: Pick<ReadonlyMap<string, ConfigMap>, 'get'>;
  readonly secrets: Pick<ReadonlyMap<string, Secret>, 'get'>;
  /** All that the node knows; those of other namespaces are passed over. */
  readonly services: Iterable<Service>;
  readonly nodeName: string;
  readonly allocatable: ResourceList;
  /** The environment files that the container names, read beforehand: text, or why there is none. */
  readonly files?: readonly EnvFile[];
}

export interface EnvFile {
  readonly volumeName: string;
  readonly path: string;
  readonly content: string | CodedError;
}

/** One variable, in CRI's own shape. */
export interface Variable {
  readonly key: string;
  readonly value: string;
}

/**
 * The variables of one container (kubelet makeEnvironmentVariables): Service variables where nothing else sets the name,
 * then envFrom in its order (later sources win), then env in its order (over all). A value's `$(NAME)` sees envFrom and
 * earlier env first, Service variables after that. A name occurs once.
 * Throws InvalidObject or NotFound with metadata.reason CreateContainerConfigError and kubelet's words.
 */
export function resolveEnvironment(pod: Pod, container: Container, context: EnvironmentContext): readonly Variable[] {
  const namespace = pod.metadata.namespace ?? '';
  const fromServices = serviceEnvironment(context.services, namespace, pod.spec.enableServiceLinks ?? true);
  const variables = new Map<string, string>();
  for (const source of container.envFrom ?? []) addSource(variables, source, context);
  const lookup = (name: string): string | undefined => variables.get(name) ?? fromServices.get(name);
  for (const variable of container.env ?? []) {
    const value = variableValue(variable, pod, container, context, lookup);
    if (value !== undefined) variables.set(variable.name, value);
  }
  for (const name of variables.keys()) fromServices.delete(name);
  return [...fromServices, ...variables].map(([key, value]) => ({ key, value }));
}

/** The same variables as a record, for expand and subPathExpr. */
export function environmentRecord(variables: readonly Variable[]): Readonly<Record<string, string>> {
  const record: Record<string, string> = Object.create(null);
  for (const { key, value } of variables) record[key] = value;
  return record;
}

function addSource(variables: Map<string, string>, source: EnvFromSource, context: EnvironmentContext): void {
  const prefix = source.prefix ?? '';
  const { configMapRef, secretRef } = source;
  if (configMapRef !== undefined) {
    const found = lookUp('configmap', configMapRef, context.configMaps);
    for (const key of sortedKeys(found?.data)) variables.set(prefix + key, found?.data?.[key] ?? '');
  }
  if (secretRef !== undefined) {
    const found = lookUp('secret', secretRef, context.secrets);
    for (const key of sortedKeys(found?.data)) variables.set(prefix + key, decode(found?.data?.[key] ?? ''));
  }
}

function variableValue(
  variable: EnvVar,
  pod: Pod,
  container: Container,
  context: EnvironmentContext,
  lookup: (name: string) => string | undefined,
): string | undefined {
  if (variable.value !== undefined && variable.value !== '') return expand(variable.value, lookup);
  if (variable.valueFrom === undefined || variable.valueFrom === null) return '';
  try {
    return sourceValue(variable.valueFrom, pod, container, context);
  } catch (error) {
    if (error instanceof CodedError) {
      throw new CodedError(error.code, error.message, { ...error.metadata, ...REASON, variable: variable.name }, error);
    }
    throw new CodedError('InvalidObject', messageOf(error), { ...REASON, variable: variable.name }, error);
  }
}

/** undefined: an optional source is absent, so the variable is not set at all. */
function sourceValue(
  source: EnvVarSource,
  pod: Pod,
  container: Container,
  context: EnvironmentContext,
): string | undefined {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef } = source;
  if (fieldRef !== undefined) {
    if (fieldRef.fieldPath === 'spec.nodeName') return context.nodeName;
    return podFieldValue(pod, fieldRef.fieldPath, context);
  }
  if (resourceFieldRef !== undefined) {
    const whose = containerOf(pod, resourceFieldRef.containerName, container);
    return resourceFieldValue(pod, whose, resourceFieldRef, context.allocatable);
  }
  if (configMapKeyRef !== undefined) {
    const data = lookUp('configmap', configMapKeyRef, context.configMaps)?.data;
    return keyOf('ConfigMap', data, configMapKeyRef, pod);
  }
  if (secretKeyRef !== undefined) {
    const data = lookUp('secret', secretKeyRef, context.secrets)?.data;
    const encoded = keyOf('Secret', data, secretKeyRef, pod);
    return encoded === undefined ? undefined : decode(encoded);
  }
  if (fileKeyRef !== undefined) return fileKey(fileKeyRef, context.files ?? []);
  const kind = Object.keys(source)[0] ?? 'an empty source';
  throw new CodedError('Unimplemented', `valueFrom.${kind} is not supported; use a value, fieldRef or a key reference`);
}

/** In kubelet's words; a key without a value counts as absent, as does kubelet's. */
function fileKey(ref: FileKeySelector, files: readonly EnvFile[]): string | undefined {
  const { volumeName, path, key } = ref;
  const file = files.find((one) => one.volumeName === volumeName && one.path === path);
  if (file === undefined) {
    throw new CodedError('NotFound', `cannot find the volume "${volumeName}" referenced by FileKeyRef`, { ...REASON });
  }
  let value: string;
  try {
    if (typeof file.content !== 'string') throw file.content;
    value = envFileValue(file.content, key);
  } catch (error) {
    const code = error instanceof CodedError ? error.code : 'Internal';
    throw new CodedError(code, `couldn't parse env file: ${messageOf(error)}`, { ...REASON, path }, error);
  }
  if (value !== '') return value;
  if (ref.optional === true) return undefined;
  throw new CodedError('NotFound', `environment variable key "${key}" not found in file "${path}"`, { ...REASON, key });
}

interface Optional {
  readonly name?: string;
  readonly optional?: boolean;
}

function lookUp<T>(kind: 'configmap' | 'secret', ref: Optional, objects: { get(name: string): T | undefined }) {
  const found = objects.get(ref.name ?? '');
  if (found === undefined && ref.optional !== true) {
    throw new CodedError('NotFound', `${kind} "${ref.name ?? ''}" not found`, { ...REASON, kind, name: ref.name });
  }
  return found;
}

function keyOf(
  kind: string,
  data: Readonly<Record<string, string>> | undefined,
  ref: Optional & { readonly key: string },
  pod: Pod,
): string | undefined {
  if (data !== undefined && Object.hasOwn(data, ref.key)) return data[ref.key];
  if (ref.optional === true) return undefined;
  const where = `${pod.metadata.namespace ?? ''}/${ref.name ?? ''}`;
  throw new CodedError('NotFound', `couldn't find key ${ref.key} in ${kind} ${where}`, { ...REASON, key: ref.key });
}

const REASON = { reason: 'CreateContainerConfigError' } as const;

function sortedKeys(data: Readonly<Record<string, string>> | undefined): string[] {
  return Object.keys(data ?? {}).sort();
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
