import type { ObjectSource, TokenSource } from '../../cluster/port.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { ConfigMap, Secret } from '../../model/objects.ts';
import type { DownwardAPIVolumeFile, Pod, Volume, VolumeProjection } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import { podFieldValue } from '../environment/field-ref.ts';
import { containerOf, resourceFieldValue } from '../environment/resource-field-ref.ts';
import { effectiveContext } from '../security/effective-context.ts';
import { addConfigMap, addSecret, type Payload, PayloadBuilder } from './payload.ts';
import type { TrustBundles } from './trust-bundles.ts';
import { allContainers } from './volume-source.ts';

export interface PayloadSources {
  readonly objects: Pick<ObjectSource, 'get'>;
  readonly tokens: Pick<TokenSource, 'token'>;
  readonly allocatable: () => ResourceList;
  /** Certificates of the cluster; without (gate ClusterTrustBundleProjection) no pod can have them. */
  readonly trustBundles?: Pick<TrustBundles, 'byName' | 'bySigner'>;
}

const DEFAULT_MODE = 0o644;
const TOKEN_SECONDS = 3600;

/**
 * The files of a configMap, secret, downwardAPI or projected volume as they should be now, and when a token in it wants
 * renewal (milliseconds since the epoch). Throws what the sources throw, and InvalidObject for bad paths.
 */
export async function collectPayload(
  pod: Pod,
  volume: Volume,
  sources: PayloadSources,
): Promise<{ readonly payload: Payload; readonly againAtMs?: number }> {
  const builder = new PayloadBuilder();
  const { configMap, secret, downwardAPI, projected } = volume;
  let againAtMs: number | undefined;
  if (configMap !== undefined) {
    await addFromConfigMap(builder, pod, configMap, configMap.defaultMode ?? DEFAULT_MODE, sources);
  } else if (secret !== undefined) {
    const { secretName, ...rest } = secret;
    const named = { ...rest, ...(secretName === undefined ? {} : { name: secretName }) };
    await addFromSecret(builder, pod, named, secret.defaultMode ?? DEFAULT_MODE, sources);
  } else if (downwardAPI !== undefined) {
    addDownward(builder, pod, downwardAPI.items, downwardAPI.defaultMode ?? DEFAULT_MODE, sources);
  } else {
    const failures: unknown[] = [];
    for (const source of projected?.sources ?? []) {
      try {
        const renewAt = await addProjection(builder, pod, source, projected?.defaultMode ?? DEFAULT_MODE, sources);
        if (renewAt !== undefined) againAtMs = Math.min(againAtMs ?? renewAt, renewAt);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw allOf(failures);
  }
  const payload = builder.build();
  return againAtMs === undefined ? { payload } : { payload, againAtMs };
}

/** Everything that a projected volume lacks at once, as kubelet lists it. */
function allOf(failures: readonly unknown[]): unknown {
  const [first] = failures;
  const texts = [...new Set(failures.map(messageOf))];
  if (texts.length === 1) return first;
  const { code, metadata } = first instanceof CodedError ? first : new CodedError('Internal', '');
  return new CodedError(code, `[${texts.join(', ')}]`, metadata, first);
}

async function addProjection(
  builder: PayloadBuilder,
  pod: Pod,
  source: VolumeProjection,
  mode: number,
  sources: PayloadSources,
): Promise<number | undefined> {
  if (source.configMap !== undefined) await addFromConfigMap(builder, pod, source.configMap, mode, sources);
  else if (source.secret !== undefined) await addFromSecret(builder, pod, source.secret, mode, sources);
  else if (source.downwardAPI !== undefined) addDownward(builder, pod, source.downwardAPI.items, mode, sources);
  else if (source.serviceAccountToken !== undefined) {
    return addToken(builder, pod, source.serviceAccountToken, mode, sources);
  } else if (source.clusterTrustBundle !== undefined) {
    await addTrustBundle(builder, pod, source.clusterTrustBundle, mode, sources);
  } else {
    const kind = Object.keys(source)[0] ?? 'nothing';
    throw new CodedError(
      'Unimplemented',
      `projection of ${kind} is not supported; want configMap, secret, downwardAPI, serviceAccountToken or clusterTrustBundle`,
      { type: kind },
    );
  }
  return undefined;
}

type NamedSource = NonNullable<VolumeProjection['configMap']>;

async function addFromConfigMap(
  builder: PayloadBuilder,
  pod: Pod,
  source: NamedSource,
  mode: number,
  { objects }: PayloadSources,
): Promise<void> {
  const { name = '', optional } = source;
  const get = () => objects.get<ConfigMap>(resources.configmaps, pod.metadata.namespace ?? '', name);
  const found = await orMissing(`configmap "${name}" not found`, optional, get);
  if (found !== undefined) addConfigMap(builder, found, source, mode);
}

async function addFromSecret(
  builder: PayloadBuilder,
  pod: Pod,
  source: NamedSource,
  mode: number,
  { objects }: PayloadSources,
): Promise<void> {
  const { name = '', optional } = source;
  const get = () => objects.get<Secret>(resources.secrets, pod.metadata.namespace ?? '', name);
  const found = await orMissing(`secret "${name}" not found`, optional, get);
  if (found !== undefined) addSecret(builder, found, source, mode);
}

async function orMissing<T>(
  message: string,
  optional: boolean | undefined,
  get: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await get();
  } catch (error) {
    if (!hasCode(error, 'NotFound')) throw error;
    if (optional === true) return undefined;
    throw new CodedError('NotFound', message, {}, error);
  }
}

function addDownward(
  builder: PayloadBuilder,
  pod: Pod,
  items: readonly DownwardAPIVolumeFile[] | undefined,
  mode: number,
  sources: PayloadSources,
): void {
  for (const item of items ?? []) {
    const data = Buffer.from(downwardText(pod, item, sources), 'utf8');
    builder.add(item.path, { data, mode: item.mode ?? mode }, true);
  }
}

function downwardText(pod: Pod, item: DownwardAPIVolumeFile, sources: PayloadSources): string {
  const { fieldRef, resourceFieldRef } = item;
  if (fieldRef !== undefined) return podFieldValue(pod, fieldRef.fieldPath);
  if (resourceFieldRef !== undefined) {
    const container = containerOf(pod, resourceFieldRef.containerName, undefined);
    return resourceFieldValue(pod, container, resourceFieldRef, sources.allocatable());
  }
  throw new CodedError('InvalidObject', `downwardAPI item "${item.path}" must have a fieldRef or a resourceFieldRef`);
}

async function addToken(
  builder: PayloadBuilder,
  pod: Pod,
  source: NonNullable<VolumeProjection['serviceAccountToken']>,
  mode: number,
  { tokens }: PayloadSources,
): Promise<number> {
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  const { token, renewAt } = await tokens.token({
    namespace,
    serviceAccount: pod.spec.serviceAccountName || 'default',
    podName: name,
    podUid: uid,
    audience: source.audience || undefined,
    expirationSeconds: source.expirationSeconds ?? TOKEN_SECONDS,
  });
  addShielded(builder, pod, source.path, token, mode);
  return renewAt;
}

async function addTrustBundle(
  builder: PayloadBuilder,
  pod: Pod,
  { name, signerName, labelSelector, optional = false, path }: NonNullable<VolumeProjection['clusterTrustBundle']>,
  mode: number,
  { trustBundles }: PayloadSources,
): Promise<void> {
  if (trustBundles === undefined) {
    const gates = 'ClusterTrustBundle and ClusterTrustBundleProjection';
    throw new CodedError(
      'Unimplemented',
      `projection of clusterTrustBundle needs the feature gates ${gates}, which are off on this node`,
      { type: 'clusterTrustBundle' },
    );
  }
  if (name === undefined && signerName === undefined) {
    const why = 'ClusterTrustBundle projection requires either name or signerName to be set';
    throw new CodedError('InvalidObject', why);
  }
  const text =
    name === undefined
      ? await trustBundles.bySigner(signerName ?? '', labelSelector, optional)
      : await trustBundles.byName(name, optional);
  addShielded(builder, pod, path, text, mode);
}

/** For one user or one group where the pod has such (KEP-1205; pkg/volume/projected). */
function addShielded(builder: PayloadBuilder, pod: Pod, path: string, text: string, mode: number): void {
  const owner = commonUser(pod);
  const shielded = owner !== undefined || pod.spec.securityContext?.fsGroup !== undefined;
  const file = { data: Buffer.from(text, 'utf8'), mode: shielded ? 0o600 : mode };
  builder.add(path, owner === undefined ? file : { ...file, uid: owner }, true);
}

/** The user that all containers of a pod run as by its spec; undefined when they differ or one names none. */
function commonUser(pod: Pod): number | undefined {
  const users = new Set(allContainers(pod).map((container) => effectiveContext(pod, container).runAsUser));
  return users.size === 1 ? [...users][0] : undefined;
}
