import type { ApiClient, TokenSource } from '../../../cluster/port.ts';
import { CodedError, messageOf } from '../../../kit/errors.ts';
import type { Secret } from '../../../model/objects.ts';
import type { Pod } from '../../../model/pod.ts';
import { resources } from '../../../model/resource.ts';
import type { CSIDriver, SecretReference } from '../../../model/storage.ts';
import { rfc3339 } from '../../../model/time.ts';
import { type CsiSource, podAttributes } from './csi-source.ts';

export interface CsiContextDeps {
  readonly api: Pick<ApiClient, 'get'>;
  readonly tokens: Pick<TokenSource, 'token'>;
}

const TOKENS = 'csi.storage.k8s.io/serviceAccount.tokens';
const TOKEN_SECONDS = 3600;

/** The keys and values of a Secret as a driver gets them; none: no Secret is named. */
export async function secretValues(
  { api }: Pick<CsiContextDeps, 'api'>,
  reference: SecretReference | undefined,
  field: string,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  if (reference === undefined) return {};
  const { namespace = '', name = '' } = reference;
  try {
    const { data = {} } = await api.get<Secret>(resources.secrets, { namespace, name }, signal);
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  } catch (error) {
    const code = error instanceof CodedError ? error.code : 'Unavailable';
    const why = `failed to find the secret ${name} in the namespace ${namespace} with error: ${messageOf(error)}`;
    throw new CodedError(code, `fetching ${field} ${namespace}/${name} failed: ${why}`, { secret: name }, error);
  }
}

/** What NodePublishVolume is told beside the volume: attributes, pod and tokens as the driver wants them, secrets. */
export async function publishContextOf(
  deps: CsiContextDeps,
  pod: Pod,
  source: CsiSource,
  driver: CSIDriver | undefined,
  signal?: AbortSignal,
): Promise<{
  readonly volumeContext: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
}> {
  const secrets = await secretValues(deps, source.publishSecret, 'NodePublishSecretRef', signal);
  const podInfo = driver?.spec.podInfoOnMount === true ? podAttributes(pod, source.ephemeral) : {};
  const tokens = await tokensOf(deps, pod, driver);
  const inSecrets = driver?.spec.serviceAccountTokenInSecrets === true;
  return {
    volumeContext: { ...source.attributes, ...podInfo, ...(inSecrets ? {} : tokens) },
    secrets: { ...secrets, ...(inSecrets ? tokens : {}) },
  };
}

async function tokensOf(
  { tokens }: CsiContextDeps,
  pod: Pod,
  driver: CSIDriver | undefined,
): Promise<Readonly<Record<string, string>>> {
  const wanted = driver?.spec.tokenRequests ?? [];
  if (wanted.length === 0) return {};
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  const found = await Promise.all(
    wanted.map(async ({ audience, expirationSeconds = TOKEN_SECONDS }) => {
      const { token, renewAt, expiresAt } = await tokens.token({
        namespace,
        serviceAccount: pod.spec.serviceAccountName || 'default',
        podName: name,
        podUid: uid,
        audience: audience === '' ? undefined : audience,
        expirationSeconds,
      });
      return [audience, { token, expirationTimestamp: rfc3339(expiresAt ?? renewAt) }] as const;
    }),
  );
  return { [TOKENS]: JSON.stringify(Object.fromEntries(found)) };
}
