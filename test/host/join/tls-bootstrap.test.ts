import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import type { ApiClient } from '../../../src/cluster/port.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import type { CertificateSigningRequest } from '../../../src/model/certificates.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Lease } from '../../../src/model/objects.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { Containerd } from '../../harness/containerd.ts';
import { deckhandBundle } from '../../harness/deckhand.ts';
import { openNetwork } from '../../harness/harness-node.ts';
import { HarnessRun, type StartedProcess } from '../../harness/harness-run.ts';
import { inNetns } from '../../harness/netns.ts';
import { parseMetrics } from '../../harness/prometheus-text.ts';
import { runCommand } from '../../harness/run-command.ts';
import { SocketBridge } from '../../harness/socket-bridge.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { NODE_NAME, startEmbeddedApi } from '../../unit/standalone/embedded-api.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';

const LIFE_MS = 20_000;
const API_PORT = 16_443;
const NODE_API_PORT = 20_250;
const CSR = resources.certificatesigningrequests;

/** The real binary joins an API server of another process, with nothing but a bootstrap token. */
describe('a node that has only a bootstrap token', () => {
  let run: HarnessRun;
  let netns: string;
  let embedded: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let bridge: SocketBridge;
  let admin: ApiClient;
  let argv: string[];
  let pki: string;
  let kubeconfig: string;
  let deckhand: StartedProcess;

  beforeAll(async () => {
    run = await HarnessRun.open('deckhand-test-tls-bootstrap');
    ({ netns } = await openNetwork(run));
    const containerd = await Containerd.start(run, netns);
    embedded = await startEmbeddedApi({ signingLifeMs: LIFE_MS });
    const apiPort = Number(new URL(embedded.api.url).port);
    bridge = await SocketBridge.open(run, netns, apiPort, API_PORT);
    admin = new HttpApiClient(
      { connection: await loadKubeconfig(embedded.api.kubeconfigPath), qps: -1 },
      { clock: new SystemClock() },
    );
    const stringData = {
      'token-id': 'abcdef',
      'token-secret': '0123456789abcdef',
      'usage-bootstrap-authentication': 'true',
    };
    const secret = { metadata: { name: 'bootstrap-token-abcdef' }, type: 'bootstrap.kubernetes.io/token', stringData };
    await admin.create(resources.secrets, { namespace: 'kube-system' }, secret);

    const { libDir, cgroupRoot } = run.paths;
    const folder = `${libDir}/node`;
    mkdirSync(folder);
    [pki, kubeconfig] = [`${folder}/pki`, `${folder}/kubeconfig`];
    const bootstrap = JSON.parse(readFileSync(embedded.api.kubeconfigPath, 'utf8'));
    bootstrap.clusters[0].cluster.server = `https://127.0.0.1:${API_PORT}`;
    bootstrap.users[0].user = { token: 'abcdef.0123456789abcdef' };
    writeFileSync(`${folder}/bootstrap-kubeconfig`, JSON.stringify(bootstrap));
    writeFileSync(`${folder}/ca.crt`, embedded.api.authority);
    const config = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      podLogsDir: `${libDir}/logs`,
      containerRuntimeEndpoint: containerd.endpoint,
      cgroupRoot,
      rotateCertificates: true,
      serverTLSBootstrap: true,
      port: NODE_API_PORT,
      authentication: { x509: { clientCAFile: `${folder}/ca.crt` } },
    };
    writeFileSync(`${folder}/config.yaml`, JSON.stringify(config));
    argv = [
      process.execPath,
      ...[deckhandBundle(), 'run', '--config', `${folder}/config.yaml`, '--root-dir', `${libDir}/kubelet`],
      ...['--bootstrap-kubeconfig', `${folder}/bootstrap-kubeconfig`, '--kubeconfig', kubeconfig, '--cert-dir', pki],
      ...['--hostname-override', NODE_NAME, '--node-ip', '192.0.2.1', '--cluster-cidr', '10.244.0.0/16'],
    ];
  }, 120_000);

  afterAll(async () => {
    await bridge?.close();
    admin?.close();
    await embedded?.close();
    await run?.close();
  });

  const start = (): void => {
    deckhand = run.spawn('deckhand', argv, { netns });
  };
  const giveUp = (): Error | undefined =>
    deckhand.exitCode === undefined
      ? undefined
      : new Error(`deckhand ended with ${deckhand.exitCode}: ${readFileSync(deckhand.logFile, 'utf8').slice(-2000)}`);
  const ready = async (): Promise<boolean> => {
    const { items } = await admin.list<Node>(resources.nodes, {});
    const node = items.find(({ metadata }) => metadata.name === NODE_NAME);
    return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  };
  const requests = async (): Promise<CertificateSigningRequest[]> =>
    (await admin.list<CertificateSigningRequest>(CSR, {})).items;
  const current = (): string => readlinkSync(`${pki}/kubelet-client-current.pem`);

  it('becomes Ready although it is killed again and again on the way', async () => {
    for (const afterMs of [200, 260, 320, 380, 440, 600]) {
      start();
      await pause(afterMs);
      await run.stop(deckhand, 0);
    }
    start();
    await waitFor('the node to be Ready', ready, { giveUp });
    expect(existsSync(kubeconfig)).toBe(true);
    const bootstrapped = (await requests()).filter(({ spec }) => spec.username === 'system:bootstrap:abcdef');
    // One key, one request, however often it began anew.
    expect(bootstrapped).toHaveLength(1);
    expect(readdirSync(pki).filter((name) => /\.(new|tmp)$/.test(name))).toEqual([]);
  }, 60_000);

  it('serves its API with a certificate that was approved by hand', async () => {
    const pending = async (): Promise<CertificateSigningRequest | undefined> =>
      (await requests()).find(
        ({ spec, status }) => spec.signerName.endsWith('/kubelet-serving') && !status?.conditions,
      );
    const csr = await waitFor('a request for a serving certificate', pending, { giveUp });
    const name = csr.metadata.name ?? '';
    const conditions = [{ type: 'Approved', status: 'True' as const, reason: 'Test', message: '' }];
    await admin.update(CSR, { name, subresource: 'approval' }, { ...csr, status: { conditions } });
    const own = `${embedded.dataDir}/pki/apiserver-kubelet-client`;
    const ca = `${run.paths.libDir}/node/ca.crt`;
    const url = `https://192.0.2.1:${NODE_API_PORT}/healthz`;
    const curl = (...more: readonly string[]): Promise<string> =>
      runCommand(inNetns(netns, ['curl', '-sS', '--cacert', ca, '-w', ' %{http_code}', ...more, url]));
    const answer = await waitFor('the node API', () =>
      curl('--cert', `${own}.crt`, '--key', `${own}.key`).catch(() => undefined),
    );
    expect(answer).toBe('ok 200');
    expect(await curl()).toBe('Unauthorized 401');
    const text = await runCommand(inNetns(netns, ['curl', '-sS', 'http://127.0.0.1:10248/metrics']));
    const { types, samples } = parseMetrics(text);
    for (const name of ['client_ttl_seconds', 'server_ttl_seconds']) {
      const left = samples.find((one) => one.name === `kubelet_certificate_manager_${name}`)?.value;
      expect([name, left !== undefined && left > 0 && left < 400 * 86_400]).toEqual([name, true]);
    }
    expect(types.get('kubelet_certificate_manager_client_expiration_renew_errors')).toBe('counter');
    expect(types.get('kubelet_certificate_manager_server_rotation_seconds')).toBe('histogram');
    expect(types.get('kubelet_server_expiration_renew_errors')).toBe('counter');
  }, 60_000);

  it('renews its client certificate again and again, and works on when the first one has long expired', async () => {
    const seen = new Set([current()]);
    const began = Date.now();
    let gaps = 0;
    await waitFor(
      'three client certificates and the end of the first',
      async () => {
        seen.add(current());
        if (!(await ready())) gaps++;
        return seen.size >= 3 && Date.now() - began > LIFE_MS + 5000;
      },
      { giveUp, timeoutMs: 90_000, intervalMs: 500 },
    );
    expect(gaps).toBe(0);
    const own = (await requests()).filter(
      ({ spec }) => spec.username === `system:node:${NODE_NAME}` && spec.signerName.endsWith('-kubelet'),
    );
    expect(own.length).toBeGreaterThanOrEqual(2);
    // It still writes (its lease) and its watches still bring news (a new pod).
    const renewed = async (): Promise<string | undefined> => {
      const where = { namespace: 'kube-node-lease', name: NODE_NAME };
      return (await admin.get<Lease>(resources.leases, where)).spec?.renewTime;
    };
    const before = await renewed();
    const pod = podOf('after-rotation', sh(STAY), { automountServiceAccountToken: false });
    await admin.create<Pod>(resources.pods, { namespace: 'default' }, pod);
    await waitFor('a pod to run', async () => {
      const { status } = await admin.get<Pod>(resources.pods, { namespace: 'default', name: 'after-rotation' });
      return status?.phase === 'Running';
    });
    await waitFor('the lease to be renewed', async () => (await renewed()) !== before, { timeoutMs: 30_000 });
    const log = readFileSync(deckhand.logFile, 'utf8');
    expect(log).not.toContain('the certificate has expired');
  }, 180_000);
});
