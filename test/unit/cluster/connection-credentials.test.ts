import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HttpApiClient } from '../../../src/cluster/api-client.ts';
import { ConnectionCredentials } from '../../../src/cluster/connection-credentials.ts';
import { type ApiConnection, loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { RestClientMetrics } from '../../../src/cluster/rest-client-metrics.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import { resources } from '../../../src/model/resource.ts';
import { MemoryApi } from './memory-api.ts';
import { type RunningServer, serveMemoryApi } from './memory-api-server.ts';
import { TestPki } from './test-pki.ts';

const dir = mkdtempSync(join(tmpdir(), 'dhcred-'));
const V1 = 'client.authentication.k8s.io/v1';
const server = new URL('https://kube.test:6443');

/** A plugin that appends what it was given to calls.log and prints `answer.json`. */
const script = join(dir, 'plugin.sh');
const answer = (status: object, apiVersion = V1): void => {
  writeFileSync(join(dir, 'answer.json'), JSON.stringify({ kind: 'ExecCredential', apiVersion, status }));
};
const calls = (): { info: { spec: Record<string, unknown>; apiVersion: string }; env: string; args: string }[] =>
  readFileSync(join(dir, 'calls.log'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [info = '', env = '', args = ''] = line.split('\t');
      return { info: JSON.parse(info), env, args };
    });

beforeAll(() => {
  writeFileSync(
    script,
    `#!/bin/sh\nprintf '%s\\t%s\\t%s\\n' "$KUBERNETES_EXEC_INFO" "$EXTRA" "$*" >> '${dir}/calls.log'\nexec cat '${dir}/answer.json'\n`,
  );
  chmodSync(script, 0o755);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const exec = (more: Partial<ApiConnection['exec'] & object> = {}): ApiConnection['exec'] & object => ({
  apiVersion: V1,
  command: script,
  args: ['get', 'token'],
  env: [{ name: 'EXTRA', value: 'yes' }],
  provideClusterInfo: false,
  ...more,
});
const reset = (): void => writeFileSync(join(dir, 'calls.log'), '');
const failureOf = async (promise: Promise<unknown>): Promise<CodedError> => {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof CodedError)) throw new Error(`expected a coded error, not ${String(error)}`);
  return error;
};

describe('credential plugins', () => {
  test('are asked once for all, again after the expiry and after a 401', async () => {
    reset();
    const clock = new ManualClock();
    answer({ token: 'one', expirationTimestamp: new Date(clock.now() + 60_000).toISOString() });
    const credentials = new ConnectionCredentials({ server, exec: exec() }, { clock, logger: silent });
    const many = await Promise.all([1, 2, 3].map(() => credentials.authorization()));
    expect(many.map(({ header }) => header)).toEqual(['Bearer one', 'Bearer one', 'Bearer one']);
    expect(calls()).toHaveLength(1);
    expect(calls()[0]).toEqual({
      info: { kind: 'ExecCredential', apiVersion: V1, spec: { interactive: false } },
      env: 'yes',
      args: 'get token',
    });
    await clock.advance(59_000);
    await credentials.authorization();
    expect(calls()).toHaveLength(1);
    await clock.advance(2000);
    answer({ token: 'two' });
    const second = await credentials.authorization();
    expect(second.header).toBe('Bearer two');
    answer({ token: 'three' });
    expect(await credentials.refused(second)).toBe(true);
    // Somebody else's refusal of the same token asks no further time.
    expect(await credentials.refused(second)).toBe(true);
    expect((await credentials.authorization()).header).toBe('Bearer three');
    expect(calls()).toHaveLength(3);
  });

  test('hear of the cluster when they want to', async () => {
    reset();
    answer({ token: 'x' }, 'client.authentication.k8s.io/v1beta1');
    const connection: ApiConnection = {
      server,
      ca: 'PEM',
      serverName: 'name',
      proxy: new URL('http://proxy:3128'),
      exec: exec({
        apiVersion: 'client.authentication.k8s.io/v1beta1',
        provideClusterInfo: true,
        clusterConfig: { audience: 'a' },
      }),
    };
    const deps = { clock: new ManualClock(), logger: silent };
    await new ConnectionCredentials(connection, deps).authorization();
    expect(calls()[0]?.info).toEqual({
      kind: 'ExecCredential',
      apiVersion: 'client.authentication.k8s.io/v1beta1',
      spec: {
        interactive: false,
        cluster: {
          server: 'https://kube.test:6443',
          'tls-server-name': 'name',
          'certificate-authority-data': Buffer.from('PEM').toString('base64'),
          'proxy-url': 'http://proxy:3128',
          config: { audience: 'a' },
        },
      },
    });
  });

  test.each([
    ['no status', { kind: 'ExecCredential', apiVersion: V1 }, 'without status'],
    ['nothing in it', { kind: 'ExecCredential', apiVersion: V1, status: {} }, 'neither status.token'],
    [
      'half a pair',
      { kind: 'ExecCredential', apiVersion: V1, status: { clientKeyData: 'hunter2' } },
      'only one of status.clientCertificateData',
    ],
    ['another version', { kind: 'ExecCredential', apiVersion: 'client.authentication.k8s.io/v1beta1' }, `of ${V1}`],
    [
      'a bad time',
      { kind: 'ExecCredential', apiVersion: V1, status: { token: 'hunter2', expirationTimestamp: 'x' } },
      'RFC 3339',
    ],
    ['no JSON', 'hunter2', 'not JSON'],
  ])('that answer with %s are named, their answer is not', async (_, written, expected) => {
    writeFileSync(join(dir, 'answer.json'), typeof written === 'string' ? written : JSON.stringify(written));
    const deps = { clock: new ManualClock(), logger: silent };
    const error = await failureOf(new ConnectionCredentials({ server, exec: exec() }, deps).authorization());
    expect(error.code).toBe('Unauthorized');
    expect(error.message).toContain(script);
    expect(error.message).toContain(expected);
    expect(error.message).not.toContain('hunter2');
  });

  test('that are missing come with their hint, those that fail with what they said; both are counted and spared', async () => {
    const metrics = new Metrics();
    const rest = new RestClientMetrics(metrics);
    const clock = new ManualClock();
    const at = (connection: ApiConnection) =>
      new ConnectionCredentials(connection, { clock, logger: silent, metrics: rest });
    const missing = at({ server, exec: exec({ command: join(dir, 'absent'), installHint: 'apt install it' }) });
    expect((await failureOf(missing.authorization())).message).toContain('not found; apt install it');
    const failing = join(dir, 'failing.sh');
    const secret = 'eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAxMjM0NTY3ODkwIn0';
    writeFileSync(
      failing,
      `#!/bin/sh\necho call >> '${dir}/failing.log'\necho "no session for ${secret}" >&2\nexit 3\n`,
    );
    chmodSync(failing, 0o755);
    const credentials = at({ server, exec: exec({ command: failing }) });
    const { message } = await failureOf(credentials.authorization());
    expect(message).toContain('exited with code 3: no session for');
    expect(message).not.toContain(secret);
    // Asked again a hundred times at once, it is left alone for a while.
    for (let i = 0; i < 100; i++) await failureOf(credentials.authorization());
    expect(readFileSync(join(dir, 'failing.log'), 'utf8')).toBe('call\n');
    await clock.advance(1500);
    await failureOf(credentials.authorization());
    expect(readFileSync(join(dir, 'failing.log'), 'utf8')).toBe('call\ncall\n');
    const text = await metrics.text();
    expect(text).toContain('rest_client_exec_plugin_call_total{code="1",call_status="plugin_not_found_error"} 1');
    expect(text).toContain('rest_client_exec_plugin_call_total{code="3",call_status="plugin_execution_error"} 2');
  });
});

describe('credentials at work', () => {
  let pki: TestPki;
  let running: RunningServer;
  const target = { namespace: 'default', name: 'default' };

  beforeAll(async () => {
    pki = new TestPki();
    const memory = new MemoryApi();
    memory.put(resources.serviceaccounts, { metadata: target });
    running = await serveMemoryApi(memory, { ...pki.server(), ca: pki.ca }, {});
  });
  afterAll(async () => {
    await running.close();
    pki.close();
  });

  test('a plugin that gives another certificate moves the connections to it', async () => {
    const [one, two] = [pki.client('plugin-one'), pki.client('plugin-two')];
    const clock = new SystemClock();
    const until = Date.now() + 400;
    const status = (pair: { cert: string; key: string }, expirationTimestamp?: string) => ({
      clientCertificateData: pair.cert,
      clientKeyData: pair.key,
      ...(expirationTimestamp === undefined ? {} : { expirationTimestamp }),
    });
    answer(status(one, new Date(until).toISOString()));
    const users: string[] = [];
    running.intercept = (request) => {
      const peer = (
        request.socket as unknown as { getPeerCertificate(): { subject?: { CN?: string } } }
      ).getPeerCertificate();
      users.push(peer.subject?.CN ?? 'nobody');
      return false;
    };
    const metrics = new Metrics();
    const api = new HttpApiClient(
      { connection: { server: new URL(running.url), ca: pki.ca, exec: exec() } },
      { clock, metrics: new RestClientMetrics(metrics) },
    );
    await api.get(resources.serviceaccounts, target);
    answer(status(two));
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, until - Date.now()) + 20));
    await api.get(resources.serviceaccounts, target);
    api.close();
    running.intercept = undefined;
    expect(users).toEqual(['plugin-one', 'plugin-two']);
    const text = await metrics.text();
    expect(text).toContain('rest_client_exec_plugin_certificate_rotation_age_count 1');
    const ttl = Number(/^rest_client_exec_plugin_ttl_seconds (.*)$/m.exec(text)?.[1]);
    expect(ttl).toBeGreaterThan(86_400);
    expect(ttl).toBeLessThan(2 * 86_400 + 60);
  });

  test('a refusal says who was refused, and holds no secret', async () => {
    running.intercept = (_, response) => {
      response.writeHead(401, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({ kind: 'Status', status: 'Failure', message: 'Unauthorized', reason: 'Unauthorized' }),
      );
      return true;
    };
    const kubeconfig = join(dir, 'kubeconfig');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'k', user: 'node-7' } }],
        clusters: [{ name: 'k', cluster: { server: running.url, 'certificate-authority': pki.path('ca.crt') } }],
        users: [{ name: 'node-7', user: { token: 'hunter2' } }],
      }),
    );
    const connection = await loadKubeconfig(kubeconfig);
    const api = new HttpApiClient({ connection }, { clock: new SystemClock() });
    const error = await failureOf(api.get(resources.serviceaccounts, target));
    api.close();
    running.intercept = undefined;
    expect(error.code).toBe('Unauthorized');
    expect(error.message).toContain(`asked as user node-7 of kubeconfig ${kubeconfig} (a token)`);
    expect(JSON.stringify([error.message, error.metadata, error.stack])).not.toContain('hunter2');
  });

  test('a kubeconfig that is no YAML is not quoted', async () => {
    const kubeconfig = join(dir, 'broken');
    writeFileSync(kubeconfig, 'users:\n- name: u\n  user: {token: "hunter2\n');
    const error = await failureOf(loadKubeconfig(kubeconfig));
    expect(error.message).toContain('is not YAML at line');
    expect(error.message).not.toContain('hunter2');
  });

  test('nothing secret goes over plain HTTP', async () => {
    const kubeconfig = join(dir, 'plain');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
        clusters: [{ name: 'k', cluster: { server: 'http://127.0.0.1:1' } }],
        users: [{ name: 'u', user: { token: 'hunter2' } }],
      }),
    );
    expect((await loadKubeconfig(kubeconfig)).token).toBeUndefined();
  });
});

describe('a token file', () => {
  test('is read again when a minute has passed, and the last token outlives the file', async () => {
    const clock = new ManualClock();
    const tokenFile = join(dir, 'token');
    writeFileSync(tokenFile, 'first\n');
    const credentials = new ConnectionCredentials({ server, tokenFile, token: 'stale' }, { clock, logger: silent });
    expect((await credentials.authorization()).header).toBe('Bearer first');
    writeFileSync(tokenFile, 'second\n');
    await clock.advance(59_000);
    expect((await credentials.authorization()).header).toBe('Bearer first');
    await clock.advance(2000);
    const second = await credentials.authorization();
    expect(second.header).toBe('Bearer second');
    expect(await credentials.refused(second)).toBe(false);
    rmSync(tokenFile);
    await clock.advance(61_000);
    expect((await credentials.authorization()).header).toMatch(/^Bearer (second|stale)$/);
  });
});
