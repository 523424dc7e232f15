import { HttpApiClient } from '../cluster/api-client.ts';
import { bootstrapClient } from '../cluster/certificates/bootstrap.ts';
import { CertificateManager } from '../cluster/certificates/certificate-manager.ts';
import { type CertificatePair, certificatePair, certificatesOf } from '../cluster/certificates/certificate-pair.ts';
import { CertificateStore } from '../cluster/certificates/certificate-store.ts';
import { CLIENT_USAGES, nodeNames, SERVING_USAGES, servingNames } from '../cluster/certificates/node-names.ts';
import { selfSignedFiles } from '../cluster/certificates/self-signed.ts';
import { WatchedFiles } from '../cluster/certificates/watched-files.ts';
import type { CertificateSource } from '../cluster/credentials.ts';
import { type ApiConnection, loadKubeconfig } from '../cluster/kubeconfig.ts';
import type { ApiClient } from '../cluster/port.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import { SIGNERS } from '../model/certificates.ts';
import type { Node } from '../model/node.ts';
import { type Foundation, runPart } from './foundation.ts';

/** Who the node is to the API server. */
export interface NodeIdentity {
  readonly connection: ApiConnection;
  /** Set where the client certificate is renewed. */
  readonly certificates: CertificateSource | undefined;
  /** Begins to renew it, with a client that uses `certificates`. */
  startRotation(api: ApiClient): void;
}

/** How often the addresses of the node's status are compared with those of its serving certificate. */
const ADDRESSES_MS = 10_000;
/** certificate_manager_server_rotation_seconds has these in kubelet: a minute to four years. */
const ROTATION_BUCKETS = [60, 3600, 14_400, 86_400, 604_800, 2_592_000, 7_776_000, 15_552_000, 31_104_000, 124_416_000];

/**
 * Reads the kubeconfig, after TLS bootstrap where one was asked for, which may take as long as somebody takes to approve
 * it.
 */
export async function nodeIdentity(foundation: Foundation, signal: AbortSignal): Promise<NodeIdentity> {
  const { config, clock } = foundation;
  const { kubeconfig = '', bootstrapKubeconfig, nodeName } = config;
  const { directory: certDir, rotateClient, requestedLifeSeconds: expirationSeconds } = config.certificates;
  const log = foundation.log.child({ part: 'client certificate' });
  const connect = (to: ApiConnection): ApiClient =>
    new HttpApiClient({ connection: to, userAgent: `deckhand/${foundation.version}` }, { clock, logger: log });
  if (bootstrapKubeconfig !== undefined) {
    const options = { nodeName, kubeconfig, bootstrapKubeconfig, certDir, expirationSeconds };
    await bootstrapClient(options, { connect, clock, log }, signal);
  }
  const connection = await loadKubeconfig(kubeconfig);
  const { cert, key } = connection;
  const initial = cert === undefined || key === undefined ? undefined : pairOf(kubeconfig, cert, key);
  if (!rotateClient || initial === undefined) {
    if (rotateClient) log.info({ kubeconfig }, 'this kubeconfig has no client certificate: there is none to renew');
    clientMetrics(foundation, () => secondsUntil(initial, clock.now()));
    return { connection, certificates: undefined, startRotation: () => {} };
  }
  let api: ApiClient | undefined;
  let fallback: ApiClient | undefined;
  foundation.closers.add('bootstrap client', () => fallback?.close());
  const bootstrap =
    bootstrapKubeconfig === undefined
      ? undefined
      : await loadKubeconfig(bootstrapKubeconfig).catch((error: unknown) => {
          // It is needed no more, unless the certificate expires one day.
          log.warn({ error: messageOf(error) }, 'the bootstrap kubeconfig cannot be used any more');
          return undefined;
        });
  const renewErrors = clientMetrics(foundation, () => manager.ttlSeconds());
  const manager = new CertificateManager(
    { signerName: SIGNERS.kubeletClient, usages: CLIENT_USAGES, expirationSeconds, initial },
    {
      store: new CertificateStore({ directory: certDir, prefix: 'kubelet-client' }, { log }),
      api: (valid) => {
        if (valid !== undefined) return api;
        if (bootstrap !== undefined) fallback ??= connect(bootstrap);
        return fallback;
      },
      names: () => nodeNames(nodeName),
      clock,
      log,
      onRenewError: renewErrors,
    },
  );
  await manager.load();
  return {
    connection,
    certificates: manager,
    startRotation: (client) => {
      api = client;
      runPart(foundation, 'rotation of the client certificate', (stop) => manager.run(stop));
    },
  };
}

/**
 * The certificate that the node's HTTPS API shows: by request (serverTLSBootstrap), from files, or self-signed.
 * `node` is asked for the addresses of its status.
 */
export async function startServingCertificate(
  foundation: Foundation,
  deps: { readonly api: ApiClient; readonly node: () => Node | undefined },
): Promise<CertificateSource> {
  const { config, clock } = foundation;
  const log = foundation.log.child({ part: 'serving certificate' });
  const { certificates, nodeName } = config;
  const { directory: certDir, tlsCertFile, tlsPrivateKeyFile } = certificates;
  if (certificates.serverBootstrap && tlsCertFile === undefined) return await requested(foundation, deps);
  const files =
    tlsCertFile !== undefined && tlsPrivateKeyFile !== undefined
      ? { certFile: tlsCertFile, keyFile: tlsPrivateKeyFile }
      : await selfSignedFiles({ certDir, nodeName }, { clock, log });
  const pair = new WatchedFiles<CertificatePair>(
    { paths: [files.certFile, files.keyFile], parse: ([cert = '', key = '']) => certificatePair(cert, key) },
    { clock, log },
  );
  await pair.load();
  runPart(foundation, 'watch of the serving certificate', (stop) => pair.run(stop));
  return pair;
}

/** Whose client certificates the node's HTTPS API believes. `own`: the embedded API's authority, PEM. */
export async function startClientAuthorities(
  foundation: Foundation,
  own: string | undefined,
): Promise<{ current(): string | undefined; subscribe(listener: () => void): () => void } | undefined> {
  const { clock, config } = foundation;
  const { clientCAFile } = config.certificates;
  if (clientCAFile === undefined) {
    return own === undefined ? undefined : { current: () => own, subscribe: () => () => {} };
  }
  const log = foundation.log.child({ part: 'client authorities' });
  const parse = ([text = '']: readonly string[]): string => {
    if (certificatesOf(text).length === 0) throw new CodedError('InvalidConfig', 'it holds no PEM block CERTIFICATE');
    return text;
  };
  const file = new WatchedFiles<string>({ paths: [clientCAFile], parse }, { clock, log });
  await file.load();
  runPart(foundation, 'watch of the client authorities', (stop) => file.run(stop));
  return file;
}

async function requested(
  foundation: Foundation,
  { api, node }: { readonly api: ApiClient; readonly node: () => Node | undefined },
): Promise<CertificateSource> {
  const { config, clock, metrics } = foundation;
  const log = foundation.log.child({ part: 'serving certificate' });
  const { directory, requestedLifeSeconds: expirationSeconds } = config.certificates;
  const errors = metrics.counter('kubelet_server_expiration_renew_errors', 'Counter of certificate renewal errors.');
  const rotation = metrics.histogram(
    'kubelet_certificate_manager_server_rotation_seconds',
    'Histogram of the number of seconds the previous certificate lived before being rotated.',
    ROTATION_BUCKETS,
  );
  const manager = new CertificateManager(
    { signerName: SIGNERS.kubeletServing, usages: SERVING_USAGES, expirationSeconds },
    {
      store: new CertificateStore({ directory, prefix: 'kubelet-server' }, { log }),
      api: () => api,
      names: () => servingNames(config.nodeName, node()?.status?.addresses ?? []),
      clock,
      log,
      onRenewError: () => errors.inc(),
      onRotated: (ageSeconds) => rotation.observe(ageSeconds),
    },
  );
  metrics.gauge(
    'kubelet_certificate_manager_server_ttl_seconds',
    'Seconds until the serving certificate expires (negative: since); +Inf when there is none.',
    [],
    (gauge) => gauge.set(manager.ttlSeconds()),
  );
  await manager.load();
  runPart(foundation, 'rotation of the serving certificate', (stop) => manager.run(stop));
  // Cheaper than following the node: its status is made anew in the same rhythm.
  runPart(foundation, 'addresses of the serving certificate', async (stop) => {
    while (!stop.aborted) {
      await clock.sleep(manager.current() === undefined ? 500 : ADDRESSES_MS, stop).catch(() => {});
      manager.poke();
    }
  });
  return manager;
}

/** Answers what counts a failure. */
function clientMetrics({ metrics }: Foundation, ttlSeconds: () => number): () => void {
  const errors = metrics.counter(
    'kubelet_certificate_manager_client_expiration_renew_errors',
    'Counter of certificate renewal errors.',
  );
  metrics.gauge(
    'kubelet_certificate_manager_client_ttl_seconds',
    'Seconds until the client certificate expires (negative: since); +Inf when there is none.',
    [],
    (gauge) => gauge.set(ttlSeconds()),
  );
  return () => errors.inc();
}

function pairOf(kubeconfig: string, cert: string, key: string): CertificatePair {
  try {
    return certificatePair(cert, key);
  } catch (error) {
    const message = `kubeconfig ${kubeconfig}: its client certificate cannot be used: ${messageOf(error)}`;
    throw new CodedError('InvalidConfig', message, { kubeconfig }, error);
  }
}

function secondsUntil(pair: CertificatePair | undefined, now: number): number {
  return pair === undefined ? Number.POSITIVE_INFINITY : Math.trunc((pair.notAfter - now) / 1000);
}
