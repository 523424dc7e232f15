import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CodedError, messageOf } from '../kit/errors.ts';

/** How to reach an API server, and as whom. PEM texts; paths are absolute. */
export interface ApiConnection {
  readonly server: URL;
  readonly ca?: string;
  /** Where `ca` comes from, to be read again when the file changes. */
  readonly caFile?: string;
  readonly cert?: string;
  readonly certFile?: string;
  readonly key?: string;
  readonly keyFile?: string;
  /** The name expected in the server's certificate, where it is not the URL's host. */
  readonly serverName?: string;
  readonly insecureSkipVerify?: boolean;
  readonly token?: string;
  /** Read again when it is a minute old, as bound tokens are replaced on disk. Goes before `token`. */
  readonly tokenFile?: string;
  readonly basic?: { readonly username: string; readonly password: string };
  readonly exec?: ExecCredentialConfig;
  readonly impersonate?: Impersonation;
  /** http, https or socks5. undefined: as the environment says (HTTPS_PROXY, NO_PROXY). */
  readonly proxy?: URL;
  readonly disableCompression?: boolean;
  /** For messages: "user u of kubeconfig /path". */
  readonly describedAs?: string;
}

/** Headers Impersonate-* (client-go rest.ImpersonationConfig). */
export interface Impersonation {
  readonly user: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** A credential plugin (KEP-541; client.authentication.k8s.io). */
export interface ExecCredentialConfig {
  readonly apiVersion: string;
  /** A name that is looked up in PATH, or an absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly installHint?: string;
  readonly provideClusterInfo: boolean;
  /** The cluster's extension of the name client.authentication.k8s.io/exec, for spec.cluster.config. */
  readonly clusterConfig?: unknown;
}

type Section = Record<string, unknown>;

const EXEC_VERSIONS = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];
const INTERACTIVE_MODES = ['Never', 'IfAvailable', 'Always'];
const PROXY_SCHEMES = ['http:', 'https:', 'socks5:'];
const EXEC_EXTENSION = 'client.authentication.k8s.io/exec';

/**
 * Reads a kubeconfig (client-go tools/clientcmd/api/v1) and follows its current context. Files that it names are
 * relative to it. Refuses what client-go refuses (tools/clientcmd/validation.go). Throws InvalidConfig, naming file,
 * field and what is expected there, never a secret.
 */
export async function loadKubeconfig(path: string): Promise<ApiConnection> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: cannot be read: ${messageOf(error)}`, { path }, error);
  }
  const { parse, YAMLParseError } = await import('yaml');
  let root: unknown;
  try {
    root = parse(text, { prettyErrors: false });
  } catch (error) {
    // The parser's own message may quote the line, and with it a token: the place is enough.
    const offset = error instanceof YAMLParseError ? error.pos[0] : undefined;
    const line = offset === undefined ? '' : ` at line ${text.slice(0, offset).split('\n').length}`;
    const what = error instanceof YAMLParseError ? ` (${error.code})` : '';
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: is not YAML${line}${what}`, { path });
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
    const server = this.server(cluster, clusterField);
    return {
      server,
      ...(await this.trust(cluster, clusterField)),
      ...this.reach(cluster, clusterField),
      // Nothing secret goes over a connection that anybody can read (client_config.go asks for TLS, too).
      ...(server.protocol === 'https:' ? await this.identity(user, userField, cluster, clusterField) : {}),
      ...this.impersonation(user, userField),
      describedAs: userName === undefined ? `kubeconfig ${this.path}` : `user ${userName} of kubeconfig ${this.path}`,
    };
  }

  private async trust(cluster: Section, field: string): Promise<Partial<ApiConnection>> {
    const insecureSkipVerify = this.flag(cluster, 'insecure-skip-tls-verify', field);
    const ca = await this.pem(cluster, field, 'certificate-authority');
    if (insecureSkipVerify && ca.text !== undefined) {
      throw this.wrong(
        `${field}.insecure-skip-tls-verify`,
        'is true while a certificate authority is given',
        'one of the two',
      );
    }
    const serverName = this.text(cluster, 'tls-server-name', `${field}.tls-server-name`);
    return {
      insecureSkipVerify,
      ...(ca.text === undefined ? {} : { ca: ca.text }),
      ...(ca.file === undefined ? {} : { caFile: ca.file }),
      ...(serverName === undefined ? {} : { serverName }),
    };
  }

  private reach(cluster: Section, field: string): Partial<ApiConnection> {
    const text = this.text(cluster, 'proxy-url', `${field}.proxy-url`);
    const disableCompression = this.flag(cluster, 'disable-compression', field);
    if (text === undefined) return { disableCompression };
    const proxy = URL.canParse(text) ? new URL(text) : undefined;
    if (proxy === undefined || !PROXY_SCHEMES.includes(proxy.protocol) || proxy.hostname === '') {
      // The URL itself may hold a password.
      throw this.wrong(`${field}.proxy-url`, 'is no URL of a proxy', 'a URL of scheme http, https or socks5');
    }
    return { disableCompression, proxy };
  }

  private async identity(
    user: Section,
    field: string,
    cluster: Section,
    clusterField: string,
  ): Promise<Partial<ApiConnection>> {
    if (user['auth-provider'] !== undefined && user['auth-provider'] !== null) {
      const provider = user['auth-provider'];
      const name = isSection(provider) && typeof provider['name'] === 'string' ? ` (${provider['name']})` : '';
      throw this.wrong(
        `${field}.auth-provider`,
        `is set${name}; Kubernetes has removed the built-in providers`,
        'exec with a credential plugin, a client certificate, token or tokenFile',
      );
    }
    const cert = await this.pem(user, field, 'client-certificate');
    const key = await this.pem(user, field, 'client-key');
    if ((cert.text === undefined) !== (key.text === undefined)) {
      const missing = cert.text === undefined ? 'client-certificate' : 'client-key';
      throw this.wrong(`${field}.${missing}`, 'is missing', 'certificate and key together');
    }
    const token = this.text(user, 'token', `${field}.token`);
    const tokenFile = this.text(user, 'tokenFile', `${field}.tokenFile`);
    const username = this.text(user, 'username', `${field}.username`);
    const password = this.text(user, 'password', `${field}.password`);
    const hasBasic = username !== undefined || password !== undefined;
    if (hasBasic && (token !== undefined || tokenFile !== undefined)) {
      throw this.wrong(`${field}.username`, 'is set beside a token', 'one way to say who this is');
    }
    // As in client-go: who has said who he is otherwise needs no plugin.
    const said = hasBasic || token !== undefined || tokenFile !== undefined || cert.text !== undefined;
    const exec = this.exec(user, field, cluster, clusterField);
    return {
      ...(cert.text === undefined ? {} : { cert: cert.text }),
      ...(cert.file === undefined ? {} : { certFile: cert.file }),
      ...(key.text === undefined ? {} : { key: key.text }),
      ...(key.file === undefined ? {} : { keyFile: key.file }),
      ...(token === undefined ? {} : { token }),
      ...(tokenFile === undefined ? {} : { tokenFile: this.resolved(tokenFile) }),
      ...(hasBasic ? { basic: { username: username ?? '', password: password ?? '' } } : {}),
      ...(exec === undefined || said ? {} : { exec }),
    };
  }

  private exec(
    user: Section,
    userField: string,
    cluster: Section,
    clusterField: string,
  ): ExecCredentialConfig | undefined {
    const section = user['exec'];
    if (section === undefined || section === null) return undefined;
    const field = `${userField}.exec`;
    if (!isSection(section)) throw this.wrong(field, `is a ${typeof section}`, 'a mapping');
    const command = this.text(section, 'command', `${field}.command`);
    if (command === undefined) throw this.wrong(`${field}.command`, 'is missing', 'a program');
    const apiVersion = this.text(section, 'apiVersion', `${field}.apiVersion`);
    if (apiVersion === undefined || !EXEC_VERSIONS.includes(apiVersion)) {
      const found = apiVersion === undefined ? 'is missing' : `is ${JSON.stringify(apiVersion)}`;
      throw this.wrong(`${field}.apiVersion`, found, EXEC_VERSIONS.join(' or '));
    }
    this.checkInteractive(section, field, apiVersion);
    const installHint = this.text(section, 'installHint', `${field}.installHint`);
    const provideClusterInfo = this.flag(section, 'provideClusterInfo', field);
    const clusterConfig = provideClusterInfo ? this.extension(cluster, clusterField) : undefined;
    return {
      apiVersion,
      command: command.includes('/') ? this.resolved(command) : command,
      args: this.texts(section, 'args', field),
      env: this.environment(section, field),
      provideClusterInfo,
      ...(installHint === undefined ? {} : { installHint }),
      ...(clusterConfig === undefined ? {} : { clusterConfig }),
    };
  }

  private checkInteractive(section: Section, field: string, apiVersion: string): void {
    const mode = this.text(section, 'interactiveMode', `${field}.interactiveMode`);
    const where = `${field}.interactiveMode`;
    const modes = INTERACTIVE_MODES.join(', ');
    if (mode === undefined) {
      if (apiVersion.endsWith('/v1')) throw this.wrong(where, 'is missing', `one of ${modes}`);
    } else if (!INTERACTIVE_MODES.includes(mode)) {
      throw this.wrong(where, `is ${JSON.stringify(mode)}`, `one of ${modes}`);
    } else if (mode === 'Always') {
      throw this.wrong(where, 'is "Always", but a daemon has no terminal', 'Never or IfAvailable');
    }
  }

  private environment(section: Section, field: string): { name: string; value: string }[] {
    const list = section['env'] ?? [];
    if (!Array.isArray(list)) throw this.wrong(`${field}.env`, `is a ${typeof list}`, 'a list of name and value');
    return list.map((entry: unknown, index) => {
      const where = `${field}.env[${index}]`;
      if (!isSection(entry)) throw this.wrong(where, `is a ${typeof entry}`, 'name and value');
      const name = this.text(entry, 'name', `${where}.name`);
      if (name === undefined) throw this.wrong(`${where}.name`, 'is missing', 'the name of a variable');
      return { name, value: this.text(entry, 'value', `${where}.value`) ?? '' };
    });
  }

  private extension(cluster: Section, field: string): unknown {
    const list = cluster['extensions'] ?? [];
    if (!Array.isArray(list)) throw this.wrong(`${field}.extensions`, `is a ${typeof list}`, 'a list');
    const entry: unknown = list.find((candidate) => isSection(candidate) && candidate['name'] === EXEC_EXTENSION);
    return isSection(entry) ? entry['extension'] : undefined;
  }

  private impersonation(user: Section, field: string): Partial<ApiConnection> {
    const name = this.text(user, 'as', `${field}.as`);
    const uid = this.text(user, 'as-uid', `${field}.as-uid`);
    const groups = this.texts(user, 'as-groups', field);
    const extra: Record<string, string[]> = {};
    const given = user['as-user-extra'] ?? {};
    if (!isSection(given)) throw this.wrong(`${field}.as-user-extra`, `is a ${typeof given}`, 'lists of text by key');
    for (const key of Object.keys(given)) extra[key] = this.texts(given, key, `${field}.as-user-extra`);
    if (name === undefined) {
      if (uid === undefined && groups.length === 0 && Object.keys(extra).length === 0) return {};
      throw this.wrong(`${field}.as`, 'is missing although other as-… fields are set', 'the user to act as');
    }
    return { impersonate: { user: name, groups, extra, ...(uid === undefined ? {} : { uid }) } };
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

  private async pem(section: Section, field: string, key: string): Promise<{ text?: string; file?: string }> {
    const data = this.text(section, `${key}-data`, `${field}.${key}-data`);
    const named = this.text(section, key, `${field}.${key}`);
    if (data !== undefined) {
      if (named !== undefined) {
        throw this.wrong(`${field}.${key}`, `is set, and ${key}-data as well`, 'one of the two');
      }
      const decoded = Buffer.from(data, 'base64').toString('utf8');
      if (!decoded.includes('-----BEGIN ')) {
        throw this.wrong(`${field}.${key}-data`, 'does not decode to PEM', 'base64 of a PEM text');
      }
      return { text: decoded };
    }
    if (named === undefined) return {};
    const file = this.resolved(named);
    try {
      return { text: await readFile(file, 'utf8'), file };
    } catch (error) {
      throw this.wrong(`${field}.${key}`, `names a file that cannot be read: ${messageOf(error)}`, 'a PEM file');
    }
  }

  private resolved(path: string): string {
    return resolve(dirname(this.path), path);
  }

  private flag(section: Section, key: string, field: string): boolean {
    const value = section[key];
    if (value === undefined || value === null) return false;
    if (typeof value !== 'boolean') throw this.wrong(`${field}.${key}`, `is a ${typeof value}`, 'true or false');
    return value;
  }

  private texts(section: Section, key: string, field: string): string[] {
    const value = section[key];
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value) || value.some((entry) => typeof entry !== 'string')) {
      throw this.wrong(`${field}.${key}`, 'is something else', 'a list of text');
    }
    return value as string[];
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
