import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { CertificateSigningRequest } from '../../model/certificates.ts';
import { resources } from '../../model/resource.ts';
import type { CertificateNames } from '../../model/x509/names.ts';
import { certificateRequest } from '../../model/x509/write-request.ts';
import type { ApiClient } from '../port.ts';
import { type CertificatePair, certificatePair, certificatesOf, keyText } from './certificate-pair.ts';

export interface SigningRequest {
  readonly names: CertificateNames;
  readonly signerName: string;
  readonly usages: readonly string[];
  readonly key: KeyObject;
  /** A request of this name is used again if it is there already; without it each one is new. */
  readonly name?: string | undefined;
  readonly expirationSeconds?: number | undefined;
}

export interface SigningRequestDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
}

const TYPE = resources.certificatesigningrequests;

/**
 * Asks the control plane for a certificate and waits until it is there (client-go util/certificate/csr). Throws what the
 * API throws for the request itself; Forbidden when it is denied, InvalidObject when the signer fails it, Conflict when it
 * or what was signed is not ours or disappears, Aborted by the signal. While it waits
 * every error of the API is retried.
 */
export async function obtainCertificate(
  request: SigningRequest,
  deps: SigningRequestDeps,
  signal: AbortSignal,
): Promise<CertificatePair> {
  const { metadata } = await submit(request, deps, signal);
  const name = metadata.name ?? '';
  deps.log.info({ csr: name, signer: request.signerName }, 'waiting for a certificate to be approved and issued');
  const certificate = await waitUntilIssued({ name, uid: metadata.uid ?? '' }, deps, signal);
  try {
    return certificatePair(certificate, keyText(request.key));
  } catch (error) {
    throw new CodedError(
      'Conflict',
      `certificate signing request ${name}: what was issued cannot be used: ${messageOf(error)}`,
      { csr: name },
      error,
    );
  }
}

/**
 * The name of a bootstrap request: the same key and the same wishes make the same name, so that a restarted bootstrap
 * finds the request that waits already (bootstrap.go, digestedName).
 */
export function digestedName({ names, key, usages }: Pick<SigningRequest, 'names' | 'key' | 'usages'>): string {
  const hash = createHash('sha512-256');
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  // "|" is not in the alphabet of base64url: no two lists of texts make the same stream.
  for (const part of [publicKey, names.commonName, ...names.organizations, ...usages]) {
    hash.update(`${Buffer.from(part).toString('base64url')}|`);
  }
  return `node-csr-${hash.digest('base64url')}`;
}

async function submit(
  request: SigningRequest,
  { api, clock, log }: SigningRequestDeps,
  signal: AbortSignal,
): Promise<CertificateSigningRequest> {
  const { names, key, signerName, usages, name, expirationSeconds } = request;
  const object: CertificateSigningRequest = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: name === undefined ? { generateName: 'csr-' } : { name },
    spec: {
      request: Buffer.from(certificateRequest(names, key)).toString('base64'),
      signerName,
      usages: [...usages],
      ...(expirationSeconds === undefined ? {} : { expirationSeconds }),
    },
  };
  try {
    return await api.create<CertificateSigningRequest>(TYPE, {}, object, signal);
  } catch (error) {
    if (name === undefined || !hasCode(error, 'AlreadyExists')) throw error;
  }
  const known = await api.get<CertificateSigningRequest>(TYPE, { name }, signal);
  const wrong = incompatibility(known, request, clock.now());
  if (wrong !== undefined) {
    throw new CodedError('Conflict', `retrieved csr is not compatible: ${name}: ${wrong}`, { csr: name });
  }
  log.info({ csr: name }, 'csr for this node already exists, reusing');
  return known;
}

/** Why a request of the right name cannot be ours. The name stands for key, subject and usages already. */
function incompatibility(known: CertificateSigningRequest, wanted: SigningRequest, now: number): string | undefined {
  const { signerName } = known.spec;
  if (signerName !== wanted.signerName) return `its signer is ${signerName}, expected ${wanted.signerName}`;
  const issued = known.status?.certificate;
  if (issued === undefined || issued === '') return undefined;
  const publicKey = createPublicKey(wanted.key);
  for (const [index, certificate] of certificatesOf(Buffer.from(issued, 'base64').toString('utf8')).entries()) {
    if (Date.parse(certificate.validTo) <= now) {
      return `one of the certificates for the CSR has expired: ${certificate.validTo}`;
    }
    if (index === 0 && !certificate.publicKey.equals(publicKey)) return 'its certificate is for another key';
  }
  return undefined;
}

/** PEM text. */
async function waitUntilIssued(
  request: { readonly name: string; readonly uid: string },
  { api, clock, log }: SigningRequestDeps,
  signal: AbortSignal,
): Promise<string> {
  const delays = new RetryDelays({ baseMs: 500, maxMs: 10_000, jitter: 0.2 });
  const fieldSelector = `metadata.name=${request.name}`;
  for (;;) {
    signal.throwIfAborted();
    try {
      const list = await api.list<CertificateSigningRequest>(TYPE, { fieldSelector }, signal);
      const found = list.items.find(({ metadata }) => metadata.name === request.name);
      if (found === undefined) throw gone(request.name, 'was deleted');
      const issued = outcome(found, request);
      if (issued !== undefined) return issued;
      delays.reset();
      const resourceVersion = list.metadata.resourceVersion ?? '';
      for await (const event of api.watch<CertificateSigningRequest>(
        TYPE,
        { fieldSelector, resourceVersion },
        signal,
      )) {
        if (event.type === 'BOOKMARK') continue;
        if (event.type === 'DELETED') throw gone(request.name, 'was deleted');
        const certificate = outcome(event.object, request);
        if (certificate !== undefined) return certificate;
      }
    } catch (error) {
      if (error instanceof Verdict) throw error;
      signal.throwIfAborted();
      log.warn({ csr: request.name, error: messageOf(error) }, 'could not look at the certificate signing request');
    }
    await clock.sleep(delays.next(), signal);
  }
}

/** An answer of the control plane, as opposed to an error on the way to it. */
class Verdict extends CodedError {}

function gone(name: string, what: string): Verdict {
  return new Verdict('Conflict', `csr "${name}" ${what}`, { csr: name });
}

/** The certificate, or undefined while it is not there. Throws the verdicts against it. */
function outcome(
  csr: CertificateSigningRequest,
  request: { readonly name: string; readonly uid: string },
): string | undefined {
  if (csr.metadata.uid !== request.uid) throw gone(request.name, 'changed UIDs');
  const conditions = csr.status?.conditions ?? [];
  for (const { type, reason = '', message = '' } of conditions) {
    const details = `reason: ${reason}, message: ${message}`;
    if (type === 'Denied') {
      const text = `certificate signing request is denied, ${details}`;
      throw new Verdict('Forbidden', `${text} (${request.name})`, { csr: request.name, reason });
    }
    if (type === 'Failed') {
      const text = `certificate signing request failed, ${details}`;
      throw new Verdict('InvalidObject', `${text} (${request.name})`, { csr: request.name, reason });
    }
  }
  const certificate = csr.status?.certificate ?? '';
  const approved = conditions.some(({ type }) => type === 'Approved');
  return approved && certificate !== '' ? Buffer.from(certificate, 'base64').toString('utf8') : undefined;
}
