import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CodedError, messageOf } from '../kit/errors.ts';

/** How to reach an API server, and as whom. PEM texts. */
export interface ApiConnection {
  readonly server: URL;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name expected in the server's certificate, where it is not the URL's host. */
  readonly serverName?: string;
  readonly insecureSkipVerify?: boolean;
  readonly token?: string;
  /** Read again when it is a minute old, as bound tokens are replaced on disk. Goes before `token`. */
  readonly tokenFile?: string;
}

type Section = Record<string, unknown>;

/**
 * Reads a kubeconfig (client-go tools/clientcmd/api/v1) and follows its current context. Files that it names are
 * relative to it. Throws InvalidConfig, naming file, field and what is expected there.
 */
export async function loadKubeconfig(path: string): Promise<ApiConnection> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: cannot be read: ${messageOf(error)}`, { path }, error);
  }
  const { parse } = await import('yaml');
  let root: unknown;
  try {
    root = parse(text);
  } catch (error) {
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: is not YAML: ${messageOf(error)}`, { path }, error);
  }
  return await new KubeconfigReader(path, root).connection();
}

class KubeconfigReader {
  private readonly path: string;
  private readonly root: Section;

  constructor(path: string, root: unknown) {
    this.path = path;
    if (!isSection(root))
      throw this.wrong('', 'is not a mapping', 'apiVersion, kind: Config, clusters, users, contexts');
    this.root = root;
  }

  async connection(): Promise<ApiConnection> {
    const contextName = this.text(this.root, 'current-context', 'current-context');
    if (contextName === undefined) throw this.wrong('current-context', 'is missing', 'the name of one of contexts');
    const context = this.named('contexts', contextName, 'context');
    const clusterName = this.text(context, 'cluster', `contexts[${contextName}].context.cluster`);
    if (clusterName === undefined) {
      throw this.wrong(`contexts[${contextName}].context.cluster`, 'is missing', 'the name of one of clusters');
    }
    const cluster = this.named('clusters', clusterName, 'cluster');
    const clusterField = `clusters[${clusterName}].cluster`;
    const userName = this.text(context, 'user', `contexts[${contextName}].context.user`);
    const user = userName === undefined ? {} : this.named('users', userName, 'user');
    const userField = `users[${userName ?? ''}].user`;
    this.refuse(cluster, clusterField, ['proxy-url']);
    this.refuse(user, userField, ['exec', 'auth-provider', 'username', 'password', 'as', 'as-uid', 'as-groups']);

    const ca = await this.pem(cluster, clusterField, 'certificate-authority');
    const cert = await this.pem(user, userField, 'client-certificate');
    const key = await this.pem(user, userField, 'client-key');
    if ((cert === undefined) !== (key === undefined)) {
      const missing = cert === undefined ? 'client-certificate' : 'client-key';
      throw this.wrong(`${userField}.${missing}`, 'is missing', 'certificate and key together');
    }
    const serverName = this.text(cluster, 'tls-server-name', `${clusterField}.tls-server-name`);
    const token = this.text(user, 'token', `${userField}.token`);
    const tokenFile = this.text(user, 'tokenFile', `${userField}.tokenFile`);
    return {
      server: this.server(cluster, clusterField),
      insecureSkipVerify: cluster['insecure-skip-tls-verify'] === true,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(serverName === undefined ? {} : { serverName }),
      ...(token === undefined ? {} : { token }),
      ...(tokenFile === undefined ? {} : { tokenFile: resolve(dirname(this.path), tokenFile) }),
    };
  }

  private server(cluster: Section, field: string): URL {
    const server = this.text(cluster, 'server', `${field}.server`);
    const url = server !== undefined && URL.canParse(server) ? new URL(server) : undefined;
    if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      throw this.wrong(`${field}.server`, `is ${JSON.stringify(server)}`, 'a URL such as https://10.0.0.1:6443');
    }
    return url;
  }

  private named(list: string, name: string, inner: string): Section {
    const entries = this.root[list];
    const entry = Array.isArray(entries)
      ? entries.find((candidate) => isSection(candidate) && candidate['name'] === name)
      : undefined;
    if (entry === undefined) throw this.wrong(list, `has no entry named ${JSON.stringify(name)}`, 'one of that name');
    const section = entry[inner];
    if (!isSection(section)) throw this.wrong(`${list}[${name}].${inner}`, 'is missing', 'a mapping');
    return section;
  }

  private refuse(section: Section, field: string, keys: readonly string[]): void {
    for (const key of keys) {
      if (section[key] !== undefined) {
        throw this.wrong(
          `${field}.${key}`,
          'is set, which deckhand does not support yet',
          'a client certificate, token or tokenFile and a direct connection',
        );
      }
    }
  }

  private async pem(section: Section, field: string, key: string): Promise<string | undefined> {
    const data = this.text(section, `${key}-data`, `${field}.${key}-data`);
    if (data !== undefined) {
      const decoded = Buffer.from(data, 'base64').toString('utf8');
      if (!decoded.includes('-----BEGIN ')) {
        throw this.wrong(`${field}.${key}-data`, 'does not decode to PEM', 'base64 of a PEM text');
      }
      return decoded;
    }
    const file = this.text(section, key, `${field}.${key}`);
    if (file === undefined) return undefined;
    try {
      return await readFile(resolve(dirname(this.path), file), 'utf8');
    } catch (error) {
      throw this.wrong(`${field}.${key}`, `names a file that cannot be read: ${messageOf(error)}`, 'a PEM file');
    }
  }

  private text(section: Section, key: string, field: string): string | undefined {
    const value = section[key];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw this.wrong(field, `is a ${typeof value}`, 'text');
    return value;
  }

  private wrong(field: string, found: string, expected: string): CodedError {
    return new CodedError('InvalidConfig', `kubeconfig ${this.path}: ${field} ${found}; expected ${expected}`, {
      path: this.path,
      field,
    });
  }
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
