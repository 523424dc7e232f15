import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock, Timer } from '../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../kit/emitter.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { CertificateSource, ClientCertificate } from './credentials.ts';
import { type ExecCredential, runExecPlugin } from './exec-plugin.ts';
import type { ApiConnection } from './kubeconfig.ts';
import type { RestClientMetrics } from './rest-client-metrics.ts';
import { systemTrust } from './system-trust.ts';

export interface ConnectionCredentialsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: RestClientMetrics | undefined;
  /** Goes before the certificate of the connection. */
  readonly certificates?: CertificateSource | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** What a new connection shows and trusts. */
export interface TlsIdentity {
  /** Another one means: new connections, please. */
  readonly generation: number;
  readonly context: SecureContext;
}

/** An Authorization header and what it was made from, for `refused`. */
export interface Authorization {
  readonly header: string | undefined;
  readonly token: unknown;
}

interface Files {
  readonly ca: string | undefined;
  readonly certificate: ClientCertificate | undefined;
}

/** client-go re-reads a token file when what it has is a minute old (transport/token_source.go). */
const TOKEN_FILE_AGE_MS = 60_000;
/** client-go looks each 5 minutes, which is long for a certificate that may be replaced because it leaked. */
const FILES_CHECK_MS = 30_000;
/** A plugin that fails is asked again after so long, doubled up to the latter. */
const PLUGIN_RETRY_MS = [1000, 30_000] as const;

/**
 * Who a connection is, now: certificate and CA files are read again when they change, a rotated certificate is taken
 * from its source, a token from its file or a plugin. One for all clients of one connection.
 */
export class ConnectionCredentials {
  readonly connection: ApiConnection;
  private readonly deps: ConnectionCredentialsDeps;
  private readonly changes: Emitter<void>;
  private readonly unsubscribe: Unsubscribe | undefined;
  private files: Files;
  private identity: TlsIdentity | undefined;
  private generation = 0;
  private fileToken: { readonly text: string; readonly at: number } | undefined;
  private plugin: ExecCredential | undefined;
  private asking: Promise<ExecCredential> | undefined;
  private pluginFailure: { readonly error: unknown; readonly until: number; readonly delayMs: number } | undefined;
  private check: Timer | undefined;
  private complaint = '';
  private closed = false;

  constructor(connection: ApiConnection, deps: ConnectionCredentialsDeps) {
    this.connection = connection;
    this.deps = deps;
    this.changes = new Emitter((error) =>
      deps.logger.error({ error: messageOf(error) }, 'a listener of the credentials threw'),
    );
    const { ca, cert, key } = connection;
    this.files = { ca, certificate: cert === undefined || key === undefined ? undefined : { cert, key } };
    this.unsubscribe = deps.certificates?.subscribe(() => this.changed('the certificate was rotated'));
    if (connection.caFile !== undefined || connection.certFile !== undefined || connection.keyFile !== undefined) {
      this.scheduleCheck();
    }
  }

  /** Told when new connections would be made with another certificate or CA than those that stand. */
  subscribe(listener: () => void): Unsubscribe {
    return this.changes.subscribe(listener);
  }

  /** For a new connection. Throws Unauthorized when a plugin gives nothing, InvalidConfig for PEM that makes no sense. */
  async tls(): Promise<TlsIdentity> {
    const plugin = this.connection.exec === undefined ? undefined : await this.pluginCredential();
    if (this.identity !== undefined) return this.identity;
    const { insecureSkipVerify } = this.connection;
    const ca = this.files.ca ?? (insecureSkipVerify === true ? undefined : await systemTrust());
    const certificate = this.deps.certificates?.current() ?? plugin?.certificate ?? this.files.certificate;
    try {
      const context = createSecureContext({
        ...(ca === undefined ? {} : { ca }),
        ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
        minVersion: 'TLSv1.2',
      });
      this.identity = { generation: this.generation, context };
      return this.identity;
    } catch (error) {
      const who = this.connection.describedAs ?? 'connection';
      // OpenSSL's words name no key material.
      throw new CodedError('InvalidConfig', `${who}: CA, certificate and key do not go together: ${messageOf(error)}`);
    }
  }

  /** For one request. */
  async authorization(): Promise<Authorization> {
    const { connection } = this;
    if (connection.basic !== undefined) {
      const { username, password } = connection.basic;
      const text = Buffer.from(`${username}:${password}`).toString('base64');
      return { header: `Basic ${text}`, token: undefined };
    }
    if (connection.exec !== undefined) {
      const plugin = await this.pluginCredential();
      return { header: plugin.token === undefined ? undefined : `Bearer ${plugin.token}`, token: plugin };
    }
    const token = connection.tokenFile === undefined ? connection.token : await this.tokenOfFile(connection.tokenFile);
    return { header: token === undefined ? undefined : `Bearer ${token}`, token };
  }

  /** The server answered 401 to a request with `used`. True: there are other credentials now, asking again may help. */
  async refused(used: Authorization): Promise<boolean> {
    const { exec, tokenFile } = this.connection;
    if (exec !== undefined) {
      if (this.plugin !== used.token) return true;
      this.forgetPlugin();
      try {
        await this.pluginCredential();
        return true;
      } catch {
        return false;
      }
    }
    const before = this.generation;
    await this.readFiles();
    if (tokenFile !== undefined) {
      this.fileToken = undefined;
      return (await this.tokenOfFile(tokenFile)) !== used.token;
    }
    return this.generation !== before;
  }

  /** The connection could not be made: perhaps the files are newer than what was read. */
  async reread(): Promise<void> {
    await this.readFiles();
  }

  /** "user x of kubeconfig /y (client certificate CN=z)", for messages. */
  describe(): string {
    const { connection } = this;
    const certificate = this.deps.certificates?.current() ?? this.plugin?.certificate ?? this.files.certificate;
    const how =
      connection.basic !== undefined
        ? `user name ${connection.basic.username}`
        : connection.exec !== undefined
          ? `credential plugin ${connection.exec.command}`
          : connection.tokenFile !== undefined
            ? `token of ${connection.tokenFile}`
            : connection.token !== undefined
              ? 'a token'
              : certificate !== undefined
                ? `client certificate ${subjectOf(certificate.cert)}`
                : 'no credentials';
    return connection.describedAs === undefined ? how : `${connection.describedAs} (${how})`;
  }

  close(): void {
    this.closed = true;
    this.check?.cancel();
    this.unsubscribe?.();
  }

  private changed(why: string): void {
    this.generation++;
    this.identity = undefined;
    this.deps.logger.info({ why }, 'the credentials for the API changed; connections move to them');
    this.changes.emit();
  }

  private async tokenOfFile(file: string): Promise<string | undefined> {
    const now = this.deps.clock.monotonic();
    if (this.fileToken === undefined || now - this.fileToken.at >= TOKEN_FILE_AGE_MS) {
      try {
        const text = (await readFile(file, 'utf8')).trim();
        if (text === '') throw new Error('it is empty');
        this.fileToken = { text, at: now };
      } catch (error) {
        if (this.fileToken === undefined && this.connection.token === undefined) {
          throw new CodedError('Unauthorized', `reading the token file ${file}: ${messageOf(error)}`, {}, error);
        }
      }
    }
    return this.fileToken?.text ?? this.connection.token;
  }

  private async pluginCredential(): Promise<ExecCredential> {
    const { clock } = this.deps;
    const known = this.plugin;
    if (known !== undefined && (known.expiresAt === undefined || clock.now() <= known.expiresAt)) return known;
    if (this.asking !== undefined) return await this.asking;
    if (this.pluginFailure !== undefined && clock.monotonic() < this.pluginFailure.until)
      throw this.pluginFailure.error;
    this.asking = this.askPlugin().finally(() => {
      this.asking = undefined;
    });
    return await this.asking;
  }

  private async askPlugin(): Promise<ExecCredential> {
    const { clock, metrics, env } = this.deps;
    try {
      const answer = await runExecPlugin(this.connection, {
        clock,
        called: (code, status) => metrics?.pluginCalled(code, status),
        ...(env === undefined ? {} : { env }),
      });
      const before = this.plugin;
      this.plugin = answer;
      this.pluginFailure = undefined;
      if (answer.certificate !== undefined) metrics?.pluginCertificate(answer.certificate.cert);
      const moved = answer.certificate?.cert !== before?.certificate?.cert;
      if (before !== undefined && moved) {
        if (before.certificate !== undefined) metrics?.pluginCertificateRotated(before.certificate.cert, clock.now());
        this.changed('the credential plugin gave another certificate');
      } else if (moved) this.identity = undefined;
      return answer;
    } catch (error) {
      const [first, most] = PLUGIN_RETRY_MS;
      const delayMs = Math.min((this.pluginFailure?.delayMs ?? first / 2) * 2, most);
      this.pluginFailure = { error, until: clock.monotonic() + delayMs, delayMs };
      throw error;
    }
  }

  private forgetPlugin(): void {
    const { plugin } = this;
    // Its certificate stays known, so that the next one can be told to be another.
    if (plugin !== undefined) this.plugin = { ...plugin, expiresAt: Number.NEGATIVE_INFINITY };
  }

  private scheduleCheck(): void {
    this.check = this.deps.clock.after(FILES_CHECK_MS, () => {
      void this.readFiles().finally(() => {
        if (!this.closed) this.scheduleCheck();
      });
    });
  }

  private async readFiles(): Promise<void> {
    const { caFile } = this.connection;
    // The rotation of certificates writes the file as well: one move to the new certificate is enough.
    const rotated = this.deps.certificates?.current() !== undefined;
    const { certFile, keyFile } = rotated ? {} : this.connection;
    const { ca, certificate } = this.files;
    try {
      const next = {
        ca: caFile === undefined ? ca : await readFile(caFile, 'utf8'),
        cert: certFile === undefined ? certificate?.cert : await readFile(certFile, 'utf8'),
        key: keyFile === undefined ? certificate?.key : await readFile(keyFile, 'utf8'),
      };
      if (next.ca === ca && next.cert === certificate?.cert && next.key === certificate?.key) return;
      // Certificate and key are two files: between their two renames they do not fit, and the old ones stay in use.
      createSecureContext({
        ...(next.ca === undefined ? {} : { ca: next.ca }),
        ...(next.cert === undefined || next.key === undefined ? {} : { cert: next.cert, key: next.key }),
      });
      const { cert, key } = next;
      this.files = { ca: next.ca, certificate: cert === undefined || key === undefined ? undefined : { cert, key } };
      this.complaint = '';
      this.changed('files changed');
    } catch (error) {
      const complaint = messageOf(error);
      if (complaint !== this.complaint) {
        this.deps.logger.warn(
          { error: complaint, credentials: this.connection.describedAs },
          'CA or certificate files cannot be used; the ones read before stay in use',
        );
      }
      this.complaint = complaint;
    }
  }
}

function subjectOf(pem: string): string {
  try {
    return new X509Certificate(pem).subject.replace(/\n/g, ', ');
  } catch {
    return 'of unknown subject';
  }
}
