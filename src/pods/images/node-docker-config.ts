import type { Files } from '../../host/files/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { type DockerConfig, parseDockerConfigJson, parseDockercfg } from './docker-config.ts';
import { type Credential, Keyring } from './keyring.ts';

export interface NodeDockerConfigOptions {
  /** Looked into in this order: kubelet's root directory, the working directory, then home and the root directory. */
  readonly rootDirectory: string;
  readonly workingDirectory: string;
  readonly homeDirectory: string;
}

export interface NodeDockerConfigDeps {
  readonly files: Pick<Files, 'read'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** kubelet reads the files again after so long (CachingDockerConfigProvider). */
const LIFETIME_MS = 5 * 60_000;
const LARGEST_BYTES = 10 << 20;

/** The credentials that a node's administrator has put into a docker config file; all pods of the node may use them. */
export class NodeDockerConfig {
  private readonly options: NodeDockerConfigOptions;
  private readonly deps: NodeDockerConfigDeps;
  private known: { readonly keyring: Keyring; readonly until: number } | undefined;

  constructor(options: NodeDockerConfigOptions, deps: NodeDockerConfigDeps) {
    this.options = options;
    this.deps = deps;
  }

  async lookup(repository: string): Promise<readonly Credential[]> {
    const now = this.deps.clock.monotonic();
    if (this.known === undefined || now >= this.known.until) {
      const keyring = new Keyring();
      keyring.add(undefined, await this.readFirst());
      this.known = { keyring, until: now + LIFETIME_MS };
    }
    return this.known.keyring.lookup(repository);
  }

  /** The first file that can be read: config.json anywhere before .dockercfg anywhere. */
  private async readFirst(): Promise<DockerConfig> {
    const { rootDirectory, workingDirectory, homeDirectory } = this.options;
    const shared = [rootDirectory, workingDirectory];
    const candidates: readonly (readonly [string, (text: string) => DockerConfig])[] = [
      ...[...shared, below(homeDirectory, '.docker'), '/.docker'].map(
        (directory) => [below(directory, 'config.json'), parseDockerConfigJson] as const,
      ),
      ...[...shared, homeDirectory, '/'].map((directory) => [below(directory, '.dockercfg'), parseDockercfg] as const),
    ];
    for (const [path, parse] of candidates) {
      try {
        return parse((await this.deps.files.read(path, { maxBytes: LARGEST_BYTES })).toString('utf8'));
      } catch (error) {
        if (hasCode(error, 'NotFound')) continue;
        this.deps.log.warn({ path, error: messageOf(error) }, 'a docker config file cannot be used');
      }
    }
    return new Map();
  }
}

function below(directory: string, name: string): string {
  return `${directory.replace(/\/+$/, '')}/${name}`;
}
