import { generateKeyPair, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';

/** A certificate with its key, both in PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** A new ECDSA P-256 key as PKCS #8 PEM. */
export async function newPrivateKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** When the certificate should be replaced: after four fifths of its life. Milliseconds since the epoch. */
export function renewalTime(certificate: string): number {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const from = Date.parse(validFrom);
  return from + (Date.parse(validTo) - from) * 0.8;
}
