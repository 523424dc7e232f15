import { execFile } from 'node:child_process';
import type { Clock } from '../kit/clock.ts';
import { CodedError } from '../kit/errors.ts';
import type { ClientCertificate } from './credentials.ts';
import type { ApiConnection, ExecCredentialConfig } from './kubeconfig.ts';

export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  /** Milliseconds since the epoch; undefined: until the server refuses it. */
  readonly expiresAt: number | undefined;
}

export interface ExecPluginDeps {
  readonly clock: Clock;
  /** The plugin inherits it. Default: the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Label values of rest_client_exec_plugin_call_total. */
  readonly called?: ((code: string, status: string) => void) | undefined;
}

/** client-go waits for ever; a daemon that no one watches must not. */
const PLUGIN_LIMIT_MS = 60_000;
const OUTPUT_LIMIT = 1024 * 1024;
const STDERR_SHOWN = 300;

/**
 * Asks a credential plugin for credentials (KEP-541): KUBERNETES_EXEC_INFO goes in by the environment, an
 * ExecCredential comes out on standard output. It never gets standard input. Throws Unauthorized; what the plugin wrote
 * to standard output is in no message.
 */
export async function runExecPlugin(connection: ApiConnection, deps: ExecPluginDeps): Promise<ExecCredential> {
  const { exec } = connection;
  if (exec === undefined) throw new CodedError('Internal', 'no credential plugin is configured');
  const info = {
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion,
    spec: { ...(exec.provideClusterInfo ? { cluster: clusterInfo(connection, exec) } : {}), interactive: false },
  };
  const env: Record<string, string | undefined> = { ...(deps.env ?? process.env) };
  for (const { name, value } of exec.env) env[name] = value;
  env['KUBERNETES_EXEC_INFO'] = JSON.stringify(info);
  return credentialOf(exec, await output(exec, env, deps));
}

function clusterInfo(connection: ApiConnection, exec: ExecCredentialConfig): Record<string, unknown> {
  const { server, serverName, insecureSkipVerify, ca, proxy, disableCompression } = connection;
  return {
    server: server.href.replace(/\/$/, ''),
    ...(serverName === undefined ? {} : { 'tls-server-name': serverName }),
    ...(insecureSkipVerify === true ? { 'insecure-skip-tls-verify': true } : {}),
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    ...(proxy === undefined ? {} : { 'proxy-url': proxy.href.replace(/\/$/, '') }),
    ...(disableCompression === true ? { 'disable-compression': true } : {}),
    config: exec.clusterConfig ?? null,
  };
}

function output(
  exec: ExecCredentialConfig,
  env: Record<string, string | undefined>,
  { clock, called }: ExecPluginDeps,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = clock.after(PLUGIN_LIMIT_MS, () => {
      late = true;
      child.kill('SIGKILL');
    });
    const child = execFile(exec.command, exec.args, { env, maxBuffer: OUTPUT_LIMIT }, (error, stdout, stderr) => {
      timer.cancel();
      if (error === null) {
        called?.('0', 'no_error');
        resolve(stdout);
        return;
      }
      const { code } = error;
      if (late) {
        called?.('1', 'client_internal_error');
        reject(refused(exec, `gave no answer within ${PLUGIN_LIMIT_MS / 1000} s`));
      } else if (code === 'ENOENT' || code === 'EACCES') {
        called?.('1', 'plugin_not_found_error');
        const hint = exec.installHint === undefined ? '' : `; ${printable(exec.installHint)}`;
        reject(refused(exec, `cannot be run: ${code === 'ENOENT' ? 'not found' : 'not executable'}${hint}`));
      } else if (typeof code === 'number') {
        called?.(String(code), 'plugin_execution_error');
        const said = withoutSecrets(stderr.trim().slice(-STDERR_SHOWN));
        reject(refused(exec, `exited with code ${code}${said === '' ? '' : `: ${said}`}`));
      } else {
        called?.('1', 'client_internal_error');
        reject(refused(exec, `failed: ${error.signal ?? String(code)}`));
      }
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end();
  });
}

function credentialOf(exec: ExecCredentialConfig, stdout: string): ExecCredential {
  let answer: { kind?: unknown; apiVersion?: unknown; status?: Record<string, unknown> | null };
  try {
    answer = JSON.parse(stdout) as typeof answer;
  } catch {
    throw refused(exec, 'wrote something that is not JSON; expected an ExecCredential');
  }
  if (answer?.kind !== 'ExecCredential' || answer.apiVersion !== exec.apiVersion) {
    const found = `${String(answer?.kind)} of ${String(answer?.apiVersion)}`.slice(0, 100);
    throw refused(exec, `wrote a ${printable(found)}; expected an ExecCredential of ${exec.apiVersion}`);
  }
  const { status } = answer;
  if (typeof status !== 'object' || status === null) throw refused(exec, 'wrote an ExecCredential without status');
  const text = (field: string): string | undefined => {
    const value = status[field];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw refused(exec, `wrote status.${field} as a ${typeof value}; expected text`);
    return value;
  };
  const [token, cert, key] = [text('token'), text('clientCertificateData'), text('clientKeyData')];
  if (token === undefined && cert === undefined && key === undefined) {
    throw refused(exec, 'wrote neither status.token nor status.clientCertificateData and clientKeyData');
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw refused(exec, 'wrote only one of status.clientCertificateData and clientKeyData; expected both');
  }
  const expiry = text('expirationTimestamp');
  const expiresAt = expiry === undefined ? undefined : Date.parse(expiry);
  if (Number.isNaN(expiresAt)) {
    throw refused(exec, 'wrote a status.expirationTimestamp that is no time; expected RFC 3339');
  }
  return { token, certificate: cert === undefined || key === undefined ? undefined : { cert, key }, expiresAt };
}

function refused(exec: ExecCredentialConfig, why: string): CodedError {
  return new CodedError('Unauthorized', `credential plugin ${exec.command} ${why}`, { command: exec.command });
}

/** What a plugin says must not steer a terminal. */
function printable(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, ' ');
}

/** Long words without spaces are what tokens look like. */
function withoutSecrets(text: string): string {
  return printable(text).replace(/[A-Za-z0-9_\-.+/=]{40,}/g, '[left out]');
}
