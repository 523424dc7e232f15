import {
  type CertificateSigningRequest,
  NODE_USER_PREFIX,
  NODES_ORGANIZATION,
  SIGNERS,
} from '../../model/certificates.ts';
import { type ReadRequest, readRequest } from '../../model/x509/read-request.ts';
import { KEY_USAGE } from '../../model/x509/write-certificate.ts';
import type { Grant } from './authority.ts';

/** spec.usages that are bits of KeyUsage… */
const KEY_USAGES: ReadonlyMap<string, number> = new Map([
  ['signing', KEY_USAGE.digitalSignature],
  ['digital signature', KEY_USAGE.digitalSignature],
  ['content commitment', KEY_USAGE.contentCommitment],
  ['key encipherment', KEY_USAGE.keyEncipherment],
  ['key agreement', KEY_USAGE.keyAgreement],
  ['data encipherment', KEY_USAGE.dataEncipherment],
  ['cert sign', KEY_USAGE.keyCertSign],
  ['crl sign', KEY_USAGE.crlSign],
  ['encipher only', KEY_USAGE.encipherOnly],
  ['decipher only', KEY_USAGE.decipherOnly],
]);
/** …and those that are purposes of ExtendedKeyUsage. */
const PURPOSES: ReadonlyMap<string, string> = new Map([
  ['any', '2.5.29.37.0'],
  ['server auth', '1.3.6.1.5.5.7.3.1'],
  ['client auth', '1.3.6.1.5.5.7.3.2'],
  ['code signing', '1.3.6.1.5.5.7.3.3'],
  ['email protection', '1.3.6.1.5.5.7.3.4'],
  ['s/mime', '1.3.6.1.5.5.7.3.4'],
  ['ipsec end system', '1.3.6.1.5.5.7.3.5'],
  ['ipsec tunnel', '1.3.6.1.5.5.7.3.6'],
  ['ipsec user', '1.3.6.1.5.5.7.3.7'],
  ['timestamping', '1.3.6.1.5.5.7.3.8'],
  ['ocsp signing', '1.3.6.1.5.5.7.3.9'],
  ['microsoft sgc', '1.3.6.1.4.1.311.10.3.3'],
  ['netscape sgc', '2.16.840.1.113730.4.1'],
]);

export const KNOWN_USAGES: readonly string[] = [...KEY_USAGES.keys(), ...PURPOSES.keys()].sort();

const MINUTE_MS = 60_000;
const SHORTEST_MS = 10 * MINUTE_MS;
const SHORT_MS = 8 * 60 * MINUTE_MS;
const BACKDATE_MS = 5 * MINUTE_MS;

/** Reads spec.request. Throws InvalidObject. */
export function requestOf(base64: string): ReadRequest {
  return readRequest(Buffer.from(base64, 'base64').toString('latin1'));
}

/**
 * What one of the built-in signers finds wrong with a request, in its words (pkg/apis/certificates/helpers.go); undefined:
 * it will sign. `null`: no signer of ours.
 */
export function signerObjection(csr: CertificateSigningRequest, request: ReadRequest): string | undefined | null {
  const usages = csr.spec.usages ?? [];
  switch (csr.spec.signerName) {
    case SIGNERS.kubeletClient:
      return kubeletClientObjection(request, usages);
    case SIGNERS.kubeletServing:
      return kubeletServingObjection(request, usages);
    case SIGNERS.apiClient:
      return apiClientObjection(usages);
    default:
      return null;
  }
}

/** Whether a request asks for a node's client certificate as it should. */
export function isKubeletClientRequest(csr: CertificateSigningRequest, request: ReadRequest): boolean {
  return (
    csr.spec.signerName === SIGNERS.kubeletClient &&
    kubeletClientObjection(request, csr.spec.usages ?? []) === undefined
  );
}

/**
 * What a certificate is signed with. `lifeMs` is the longest life (--cluster-signing-duration); a life below ten minutes
 * is not backdated: more of it would be over than is left.
 */
export function grantOf(
  csr: CertificateSigningRequest,
  limits: { readonly lifeMs: number; readonly authorityNotAfter: number },
  now: number,
): Grant {
  const usages = csr.spec.usages ?? [];
  const wanted = csr.spec.expirationSeconds;
  const life = wanted === undefined ? limits.lifeMs : Math.min(Math.max(wanted * 1000, SHORTEST_MS), limits.lifeMs);
  const backdate = life < SHORTEST_MS ? 0 : BACKDATE_MS;
  const end = life < SHORT_MS ? now + life : now + life - backdate;
  return {
    keyUsages: [...new Set(usages.flatMap((usage) => KEY_USAGES.get(usage) ?? []))],
    extendedKeyUsages: [...new Set(usages.flatMap((usage) => PURPOSES.get(usage) ?? []))].sort(),
    notBefore: now - backdate,
    notAfter: Math.min(end, limits.authorityNotAfter),
  };
}

function kubeletClientObjection(request: ReadRequest, usages: readonly string[]): string | undefined {
  if (!isOfNodes(request)) return 'subject organization is not system:nodes';
  if (request.dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
  if (request.emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
  if (request.ipAddresses.length > 0) return 'IP subjectAltNames are not allowed';
  if (request.uris.length > 0) return 'URI subjectAltNames are not allowed';
  if (!request.commonName.startsWith(NODE_USER_PREFIX)) {
    return 'subject common name does not begin with system:node:';
  }
  return usagesObjection(usages, 'client auth');
}

function kubeletServingObjection(request: ReadRequest, usages: readonly string[]): string | undefined {
  if (!isOfNodes(request)) return 'subject organization is not system:nodes';
  if (request.dnsNames.length + request.ipAddresses.length === 0) return 'DNS or IP subjectAltName is required';
  if (request.emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
  if (request.uris.length > 0) return 'URI subjectAltNames are not allowed';
  const wrong = usagesObjection(usages, 'server auth');
  if (wrong !== undefined) return wrong;
  return request.commonName.startsWith(NODE_USER_PREFIX)
    ? undefined
    : 'subject common name does not begin with system:node:';
}

function apiClientObjection(usages: readonly string[]): string | undefined {
  const allowed = ['digital signature', 'key encipherment', 'client auth'];
  const wrong = usages.find((usage) => !allowed.includes(usage));
  if (wrong !== undefined) return `invalid usage for client certificate: ${wrong}`;
  return usages.includes('client auth') ? undefined : 'missing required usage for client certificate: client auth';
}

function isOfNodes({ organizations }: ReadRequest): boolean {
  return organizations.length === 1 && organizations[0] === NODES_ORGANIZATION;
}

/** Exactly these two, with or without "key encipherment", which RSA keys have. */
function usagesObjection(usages: readonly string[], purpose: string): string | undefined {
  const full = ['digital signature', 'key encipherment', purpose].sort();
  const given = new Set(usages);
  const others = [...given].filter((usage) => !full.includes(usage));
  const lacks = ['digital signature', purpose].filter((usage) => !given.has(usage));
  if (others.length === 0 && lacks.length === 0) return undefined;
  return `usages did not match [${full.join(' ')}]`;
}
