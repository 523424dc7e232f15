import { CodedError } from '../../kit/errors.ts';

/** What is known of one registry, or of a path in it. */
export interface DockerConfigEntry {
  readonly username: string;
  readonly password: string;
  readonly email: string;
}

/** Entries by registry as they were written: "https://index.docker.io/v1/", "registry.example.com:5000/team". */
export type DockerConfig = ReadonlyMap<string, DockerConfigEntry>;

/** Reads `{"auths": {…}}`: Secrets of type kubernetes.io/dockerconfigjson and docker's config.json. Throws InvalidObject. */
export function parseDockerConfigJson(text: string): DockerConfig {
  const { auths } = objectOf(parseJson(text), 'it') as { auths?: unknown };
  return auths === undefined || auths === null ? new Map() : readEntries(auths, 'auths');
}

/** Reads the older format, which is the entries alone: kubernetes.io/dockercfg and .dockercfg. Throws InvalidObject. */
export function parseDockercfg(text: string): DockerConfig {
  return readEntries(parseJson(text), 'it');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote from a secret.
    throw new CodedError('InvalidObject', 'it is not JSON');
  }
}

function readEntries(value: unknown, what: string): DockerConfig {
  const entries = Object.entries(objectOf(value, what));
  return new Map(entries.map(([registry, entry]) => [registry, readEntry(entry, registry)]));
}

function readEntry(value: unknown, registry: string): DockerConfigEntry {
  const entry = objectOf(value, `the entry of ${JSON.stringify(registry)}`);
  const text = (field: string): string => {
    const found = entry[field];
    if (found === undefined || found === null) return '';
    if (typeof found === 'string') return found;
    throw new CodedError('InvalidObject', `${field} of ${JSON.stringify(registry)} is not text`, { registry });
  };
  const auth = text('auth');
  if (auth === '') return { username: text('username'), password: text('password'), email: text('email') };
  const decoded = decodeBase64(auth);
  const colon = decoded?.indexOf(':') ?? -1;
  if (decoded === undefined || colon === -1) {
    throw new CodedError(
      'InvalidObject',
      `auth of ${JSON.stringify(registry)} must be formatted as base64(username:password)`,
      { registry },
    );
  }
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1), email: text('email') };
}

/** With or without padding, as kubelet takes it. */
function decodeBase64(text: string): string | undefined {
  const plain = text.replace(/[\r\n]/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(plain)) return undefined;
  return Buffer.from(plain, 'base64').toString('utf8');
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new CodedError('InvalidObject', `${what} is not a JSON object`);
}
