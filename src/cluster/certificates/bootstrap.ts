import type { KeyObject } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { SIGNERS } from '../../model/certificates.ts';
import { rfc3339 } from '../../model/time.ts';
import { type ApiConnection, loadKubeconfig } from '../kubeconfig.ts';
import type { ApiClient } from '../port.ts';
import { type CertificatePair, certificatesOf, keyText, newKey, privateKeyOf } from './certificate-pair.ts';
import { CertificateStore, writeDurably } from './certificate-store.ts';
import { writeClientKubeconfig } from './client-kubeconfig.ts';
import { CLIENT_USAGES, nodeNames } from './node-names.ts';
import { digestedName, obtainCertificate } from './signing-request.ts';

export interface BootstrapOptions {
  readonly nodeName: string;
  /** To be made. */
  readonly kubeconfig: string;
  /** With a token or a client certificate of its own. */
  readonly bootstrapKubeconfig: string;
  readonly certDir: string;
  readonly expirationSeconds?: number | undefined;
}

export interface BootstrapDeps {
  readonly connect: (connection: ApiConnection) => ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The key of a request that waits, so that a restart finds its request again. */
const PENDING_KEY = 'kubelet-client.key.tmp';
const WAIT_MS = 3600_000;
/** kubelet would exit, and be started again every 10 s. */
const RETRY = { baseMs: 1000, maxMs: 30_000, jitter: 0.2 } as const;

/**
 * TLS bootstrap (kubelet's --bootstrap-kubeconfig): unless the kubeconfig is there and its certificate valid, asks for
 * a client certificate, waits for it, writes it to CERT-DIR/kubelet-client-current.pem and the kubeconfig that names it.
 * Whatever the API answers is retried until the signal aborts; a crash at any moment goes on where it was. Throws
 * InvalidConfig when the bootstrap kubeconfig cannot be used and Aborted by the signal. True: it was needed.
 */
export async function bootstrapClient(
  options: BootstrapOptions,
  deps: BootstrapDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const { kubeconfig, bootstrapKubeconfig } = options;
  const { log, clock } = deps;
  const unusable = await whyUnusable(kubeconfig, clock.now());
  if (unusable === undefined) return false;
  log.info({ kubeconfig, why: unusable }, 'asking for a client certificate with the bootstrap kubeconfig');
  const delays = new RetryDelays(RETRY);
  for (;;) {
    // Read each time: a token that has run out is replaced in this file.
    const connection = await loadKubeconfig(bootstrapKubeconfig);
    const api = deps.connect(connection);
    try {
      await attempt(options, { ...deps, api }, signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      const retryMs = Math.round(delays.next());
      log.error({ error: messageOf(error), retryMs, bootstrapKubeconfig }, 'no client certificate yet; trying again');
      await clock.sleep(retryMs, signal);
    } finally {
      api.close();
    }
  }
}

async function attempt(
  options: BootstrapOptions,
  deps: BootstrapDeps & { readonly api: ApiClient },
  signal: AbortSignal,
): Promise<void> {
  const { nodeName, kubeconfig, bootstrapKubeconfig, certDir, expirationSeconds } = options;
  const { log, clock } = deps;
  const store = new CertificateStore({ directory: certDir, prefix: 'kubelet-client' }, { log });
  const pendingKey = join(certDir, PENDING_KEY);
  const kept = await store.load();
  const key = kept === undefined ? await keptKey(pendingKey, log) : privateKeyOf(kept.key);
  const wanted = {
    names: nodeNames(nodeName),
    signerName: SIGNERS.kubeletClient,
    usages: CLIENT_USAGES,
    expirationSeconds,
  };
  const late = new AbortController();
  const limit = clock.after(WAIT_MS, () => {
    late.abort(new CodedError('DeadlineExceeded', `no certificate came within ${WAIT_MS / 1000} s`));
  });
  const stop = AbortSignal.any([signal, late.signal]);
  const ask = (by: KeyObject): Promise<CertificatePair> =>
    obtainCertificate({ ...wanted, key: by, name: digestedName({ ...wanted, key: by }) }, deps, stop);
  let pair: CertificatePair;
  try {
    pair = await ask(key);
  } catch (error) {
    if (!hasCode(error, 'Conflict')) throw late.signal.aborted && !signal.aborted ? late.signal.reason : error;
    // What stands there under our name is not for us or has expired: a new key makes a new name.
    log.warn({ error: messageOf(error) }, 'the earlier request is of no use; asking again with a new key');
    const fresh = await newKey();
    await writeDurably(pendingKey, keyText(fresh));
    pair = await ask(fresh);
  } finally {
    limit.cancel();
  }
  await store.save(pair, clock.now());
  await rm(pendingKey, { force: true });
  await writeClientKubeconfig(kubeconfig, bootstrapKubeconfig, store.currentPath);
  log.info(
    { kubeconfig, certificate: store.currentPath, notAfter: rfc3339(pair.notAfter) },
    'the node has its client certificate',
  );
}

async function keptKey(path: string, log: Logger): Promise<KeyObject> {
  try {
    return privateKeyOf(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      log.warn(
        { file: path, error: messageOf(error) },
        'the key of an earlier request cannot be used; making a new one',
      );
    }
  }
  const key = await newKey();
  await writeDurably(path, keyText(key));
  return key;
}

/** Undefined: the kubeconfig will do. */
async function whyUnusable(path: string, now: number): Promise<string | undefined> {
  try {
    await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'there is no such kubeconfig yet';
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: cannot be read: ${messageOf(error)}`, { path }, error);
  }
  try {
    const { cert, token, tokenFile } = await loadKubeconfig(path);
    // kubelet would write over it; but nobody who put a token there wants to lose it.
    if (token !== undefined || tokenFile !== undefined) return undefined;
    const certificates = certificatesOf(cert ?? '');
    if (certificates.length === 0) return 'it names no client certificate';
    const expired = certificates.find(({ validTo }) => Date.parse(validTo) <= now);
    return expired === undefined ? undefined : `part of its client certificate is expired: ${expired.validTo}`;
  } catch (error) {
    return messageOf(error);
  }
}
