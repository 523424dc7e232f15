import { createHash } from 'node:crypto';
import type { DockerConfig, DockerConfigEntry } from './docker-config.ts';
import { matchesImage } from './match-image.ts';

/** An object of the cluster that credentials came from. */
export interface ObjectCoordinates {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** Whose credentials they are. Absent: the node's own, which every pod on it may use. */
export type CredentialSource =
  | { readonly kind: 'secret'; readonly secret: ObjectCoordinates }
  | { readonly kind: 'serviceAccount'; readonly serviceAccount: ObjectCoordinates };

/** One way to log in to a registry. */
export interface Credential {
  readonly username: string;
  readonly password: string;
  /** Tells credentials apart in pull records without giving them away. */
  readonly hash: string;
  readonly source: CredentialSource | undefined;
}

const DOCKER_HUB_KEY = 'index.docker.io';

/** Credentials by registry and path (pkg/credentialprovider BasicDockerKeyring). */
export class Keyring {
  private readonly credentials = new Map<string, Credential[]>();

  add(source: CredentialSource | undefined, config: DockerConfig): void {
    for (const [registry, entry] of config) {
      const key = keyOf(registry);
      const all = this.credentials.get(key) ?? [];
      all.push({ username: entry.username, password: entry.password, hash: hashOf(entry), source });
      this.credentials.set(key, all);
    }
  }

  /**
   * All credentials that may open the repository ("docker.io/library/web"), most specific path first. Those of Docker Hub
   * are looked for under its old name where nothing else fits.
   */
  lookup(repository: string): readonly Credential[] {
    const keys = [...this.credentials.keys()].sort().reverse();
    const found = keys.filter((key) => matchesImage(key, repository)).flatMap((key) => this.credentials.get(key) ?? []);
    if (found.length > 0 || !isOnDockerHub(repository)) return found;
    return this.credentials.get(DOCKER_HUB_KEY) ?? [];
  }
}

/** Host and path of an entry, without scheme and the /v1/ or /v2/ that docker login writes. */
function keyOf(registry: string): string {
  const withoutScheme = registry.replace(/^https?:\/\//, '').replace(/[?#].*$/, '');
  const slash = withoutScheme.indexOf('/');
  if (slash === -1) return withoutScheme;
  const path = withoutScheme.slice(slash).replace(/^\/v[12](?=\/)/, '');
  return withoutScheme.slice(0, slash) + (path === '/' ? '' : path);
}

function isOnDockerHub(repository: string): boolean {
  const slash = repository.indexOf('/');
  const first = slash === -1 ? '' : repository.slice(0, slash);
  if (slash === -1 || first === 'docker.io' || first === DOCKER_HUB_KEY) return true;
  return first !== '' && !/[.:]/.test(first);
}

/** As kubelet's records have it: over the JSON that Go writes of an AuthConfig. */
function hashOf({ username, password, email }: DockerConfigEntry): string {
  const fields = {
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(email === '' ? {} : { email }),
  };
  const escaped = JSON.stringify(fields).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return createHash('sha256').update(escaped).digest('hex');
}
