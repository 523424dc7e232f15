import { CodedError } from '../../kit/errors.ts';
import type { DockerConfig } from './docker-config.ts';

/** What a plugin answered (credentialprovider.kubelet.k8s.io CredentialProviderResponse). */
export interface CredentialResponse {
  readonly auth: DockerConfig;
  /** What the answer holds for: this image, its registry, or every image. */
  readonly cacheKeyType: 'Image' | 'Registry' | 'Global';
  /** undefined: the provider's default. 0: not to be kept. */
  readonly cacheMs: number | undefined;
}

const FIELDS = ['kind', 'apiVersion', 'cacheKeyType', 'cacheDuration', 'auth'];
const KEY_TYPES = ['Image', 'Registry', 'Global'] as const;
const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a plugin's answer. Throws InvalidObject; its messages quote nothing of the answer, for it has credentials. */
export function readCredentialResponse(text: string, apiVersion: string): CredentialResponse {
  const wrong = (why: string): CodedError => new CodedError('InvalidObject', why);
  const broken = wrong('error decoding credential provider plugin response from stdout');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw broken;
  }
  if (!isObject(value)) throw broken;
  const { kind, apiVersion: its = '', cacheKeyType, cacheDuration, auth } = value;
  if (its !== apiVersion) {
    throw wrong(
      `apiVersion from credential plugin response did not match expected apiVersion:${apiVersion}, actual apiVersion:${its}`,
    );
  }
  if (kind !== 'CredentialProviderResponse') throw broken;
  if (Object.keys(value).some((field) => !FIELDS.includes(field))) throw broken;
  const keyType = KEY_TYPES.find((known) => known === cacheKeyType);
  if (keyType === undefined) throw wrong(`credential provider plugin did not return a valid cacheKeyType`);
  if (auth !== undefined && auth !== null && !isObject(auth)) throw broken;
  const entries = Object.entries(auth ?? {}).map(([registry, entry]) => {
    if (!isObject(entry)) throw broken;
    const { username = '', password = '' } = entry;
    if (typeof username !== 'string' || typeof password !== 'string') throw broken;
    return [registry, { username, password, email: '' }] as const;
  });
  const cacheMs = cacheDuration === undefined || cacheDuration === null ? undefined : durationMs(cacheDuration);
  if (Number.isNaN(cacheMs)) throw broken;
  return { auth: new Map(entries), cacheKeyType: keyType, cacheMs };
}

/** A Go duration such as "1h30m" in milliseconds; NaN when it is none. */
function durationMs(value: unknown): number {
  if (typeof value !== 'string') return Number.NaN;
  if (value === '0') return 0;
  if (!/^-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(value)) return Number.NaN;
  let total = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNITS_MS[unit ?? ''] ?? 0);
  }
  return value.startsWith('-') ? -total : total;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
