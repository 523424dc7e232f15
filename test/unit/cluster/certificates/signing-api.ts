import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpApiClient } from '../../../../src/cluster/api-client.ts';
import type { BootstrapOptions } from '../../../../src/cluster/certificates/bootstrap.ts';
import type { ApiConnection } from '../../../../src/cluster/kubeconfig.ts';
import { loadKubeconfig } from '../../../../src/cluster/kubeconfig.ts';
import type { ApiClient } from '../../../../src/cluster/port.ts';
import { type Clock, SystemClock } from '../../../../src/kit/clock.ts';
import type { Fields, Logger } from '../../../../src/kit/log.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { Faults } from '../../../../src/standalone/faults.ts';
import type { EmbeddedApi } from '../../../../src/standalone/server.ts';
import { NODE_NAME, startEmbeddedApi } from '../../standalone/embedded-api.ts';

export const TOKEN = 'abcdef.0123456789abcdef';

/** An embedded API with a bootstrap token, a folder for a node's files, and clients for whom they are. */
export interface SigningApi {
  readonly api: EmbeddedApi;
  readonly faults: Faults;
  readonly folder: string;
  readonly admin: ApiClient;
  readonly bootstrap: BootstrapOptions;
  readonly connect: (connection: ApiConnection) => ApiClient;
  /** "level message" of each log line, and its fields. */
  readonly lines: { readonly text: string; readonly fields: Fields }[];
  readonly log: Logger;
  close(): Promise<void>;
}

export async function startSigningApi(
  options: {
    readonly signingLifeMs?: number;
    readonly token?: Readonly<Record<string, string>>;
    readonly clock?: Clock;
  } = {},
): Promise<SigningApi> {
  const { signingLifeMs, token, clock = new SystemClock() } = options;
  const embedded = await startEmbeddedApi(signingLifeMs === undefined ? {} : { signingLifeMs }, { clock });
  const folder = await mkdtemp(join(tmpdir(), 'dh-certs-'));
  const clients: ApiClient[] = [];
  const connect = (connection: ApiConnection): ApiClient => {
    const client = new HttpApiClient({ connection, qps: -1 }, { clock });
    clients.push(client);
    return client;
  };
  const admin = connect(await loadKubeconfig(embedded.api.kubeconfigPath));
  await admin.create(resources.secrets, { namespace: 'kube-system' }, tokenSecret(token));
  const bootstrap = {
    nodeName: NODE_NAME,
    kubeconfig: join(folder, 'kubeconfig'),
    bootstrapKubeconfig: join(folder, 'bootstrap-kubeconfig'),
    certDir: join(folder, 'pki'),
  };
  await writeBootstrapKubeconfig(embedded.api, bootstrap.bootstrapKubeconfig);
  const lines: SigningApi['lines'] = [];
  return {
    api: embedded.api,
    faults: embedded.faults,
    folder,
    admin,
    bootstrap,
    connect,
    lines,
    log: recording(lines),
    close: async () => {
      for (const client of clients) client.close();
      await embedded.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function writeBootstrapKubeconfig(api: EmbeddedApi, path: string, token = TOKEN): Promise<void> {
  const config = JSON.parse(await readFile(api.kubeconfigPath, 'utf8'));
  config.users = [{ name: config.contexts[0].context.user, user: { token } }];
  await writeFile(path, JSON.stringify(config));
}

function tokenSecret(more: Readonly<Record<string, string>> = {}): object {
  const stringData = {
    'token-id': 'abcdef',
    'token-secret': '0123456789abcdef',
    'usage-bootstrap-authentication': 'true',
    ...more,
  };
  return { metadata: { name: 'bootstrap-token-abcdef' }, type: 'bootstrap.kubernetes.io/token', stringData };
}

function recording(lines: SigningApi['lines']): Logger {
  const at = (level: string) => (fields: Fields, message: string) => {
    lines.push({ text: `${level} ${message}`, fields });
  };
  const log: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    trace: at('trace'),
    child: () => log,
  };
  return log;
}
