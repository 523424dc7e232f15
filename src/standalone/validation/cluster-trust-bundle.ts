import { X509Certificate } from 'node:crypto';
import type { ClusterTrustBundle } from '../../model/certificates.ts';
import { dns1123SubdomainError } from '../../model/names.ts';
import type { FieldError } from '../port.ts';
import { invalid, tooLong } from './field-errors.ts';

const MOST_BYTES = 1 << 20;
const NAME = 'metadata.name';
const BUNDLE = 'spec.trustBundle';
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g;

/** pkg/apis/certificates/validation ValidateClusterTrustBundle and ValidateClusterTrustBundleUpdate. */
export function validateClusterTrustBundle(
  { metadata, spec }: ClusterTrustBundle,
  previous: ClusterTrustBundle | undefined,
): FieldError[] {
  const { signerName = '', trustBundle } = spec;
  const errors = nameErrors(metadata.name ?? '', signerName);
  if (signerName !== '' && !/^[a-z0-9.-]+\/.+$/.test(signerName)) {
    errors.push(
      invalid(
        'spec.signerName',
        signerName,
        'must be a fully qualified domain and path of the form "example.com/signer-name"',
      ),
    );
  }
  if (previous?.spec.trustBundle !== trustBundle) errors.push(...bundleErrors(trustBundle));
  if (previous !== undefined && (previous.spec.signerName ?? '') !== signerName) {
    errors.push(invalid('spec.signerName', signerName, 'field is immutable'));
  }
  return errors;
}

/** Bundles of a signer are named after it, so that who may write those of one may be told by their names. */
function nameErrors(name: string, signerName: string): FieldError[] {
  const wrong = (detail: string): FieldError[] => [invalid(NAME, name, detail)];
  if (signerName === '') {
    if (name.includes(':')) return wrong('ClusterTrustBundle without signer name must not have ":" in its name');
    const error = dns1123SubdomainError(name);
    return error === undefined ? [] : wrong(error);
  }
  const prefix = `${signerName.replaceAll('/', ':')}:`;
  if (!name.startsWith(prefix))
    return wrong(`ClusterTrustBundle for signerName ${signerName} must be named with prefix ${prefix}`);
  const error = dns1123SubdomainError(name.slice(prefix.length));
  return error === undefined ? [] : wrong(error);
}

/** CA certificates in PEM, each once, at least one. */
function bundleErrors(text: string): FieldError[] {
  if (Buffer.byteLength(text) > MOST_BYTES) return [tooLong(BUNDLE, MOST_BYTES)];
  const omitted = '<value omitted>';
  const errors: FieldError[] = [];
  const seen = new Map<string, number>();
  for (const [index, [block, type, body = '']] of [...text.matchAll(BLOCK)].entries()) {
    const wrong = (what: string): void => void errors.push(invalid(BUNDLE, omitted, `entry ${index} ${what}`));
    if (type !== 'CERTIFICATE') wrong(`has bad block type: ${type}`);
    else if (body.includes(':')) wrong('has PEM block headers');
    else {
      const certificate = parsed(block);
      const raw = certificate?.raw.toString('base64') ?? '';
      if (certificate === undefined) wrong('does not parse as X.509');
      else if (!certificate.ca) wrong('does not have the CA bit set');
      else if (seen.has(raw))
        errors.push(invalid(BUNDLE, omitted, `duplicate trust anchor (indices [${seen.get(raw)} ${index}])`));
      seen.set(raw, index);
    }
  }
  if (errors.length === 0 && seen.size === 0) {
    errors.push(invalid(BUNDLE, omitted, 'at least one trust anchor must be provided'));
  }
  return errors;
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
