import { createPrivateKey, generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import type { CertificateNames } from '../../model/x509/names.ts';
import type { ClientCertificate } from '../credentials.ts';

/** A certificate (with its chain) and its key, PEM texts, and what is decided by. */
export interface CertificatePair extends ClientCertificate {
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly names: CertificateNames;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** Each certificate of a PEM text. Throws InvalidObject for one that cannot be read. */
export function certificatesOf(pem: string): X509Certificate[] {
  return (pem.match(CERTIFICATE) ?? []).map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new CodedError('InvalidObject', `a PEM block is no certificate: ${messageOf(error)}`, {}, error);
    }
  });
}

/**
 * Reads certificate and key, which may stand in one text. The first certificate is the leaf. Throws InvalidObject when
 * either is missing or unreadable, or when they do not belong together.
 */
export function certificatePair(certificatePem: string, keyPem: string): CertificatePair {
  const [leaf] = certificatesOf(certificatePem);
  if (leaf === undefined) throw new CodedError('InvalidObject', 'it holds no PEM block CERTIFICATE');
  const key = privateKeyOf(keyPem);
  if (!leaf.checkPrivateKey(key)) throw new CodedError('InvalidObject', "the private key is not the certificate's");
  const cert = `${(certificatePem.match(CERTIFICATE) ?? []).join('\n')}\n`;
  const notBefore = Date.parse(leaf.validFrom);
  return { cert, key: keyText(key), notBefore, notAfter: Date.parse(leaf.validTo), names: namesOf(leaf) };
}

/** The private key of a PEM text that may hold more. Throws InvalidObject. */
export function privateKeyOf(pem: string): KeyObject {
  const block = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----[\s\S]*?-----END \1PRIVATE KEY-----/.exec(pem)?.[0];
  if (block === undefined) throw new CodedError('InvalidObject', 'it holds no PEM block PRIVATE KEY');
  try {
    return createPrivateKey(block);
  } catch (error) {
    throw new CodedError('InvalidObject', `the private key cannot be read: ${messageOf(error)}`, {}, error);
  }
}

/** A new ECDSA P-256 key. */
export async function newKey(): Promise<KeyObject> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return privateKey;
}

/** "EC PRIVATE KEY", as kubelet writes and reads it; PKCS #8 for other kinds. */
export function keyText(key: KeyObject): string {
  const type = key.asymmetricKeyType === 'ec' ? 'sec1' : 'pkcs8';
  return key.export({ type, format: 'pem' }).toString();
}

function namesOf(leaf: X509Certificate): CertificateNames {
  const subject = leaf.toLegacyObject().subject as unknown as Readonly<Record<string, string | string[] | undefined>>;
  // "DNS:a, IP Address:1.2.3.4"; a name with a comma in it would be quoted, and is none of ours.
  const alternatives = (leaf.subjectAltName ?? '').split(', ');
  const after = (prefix: string): string[] =>
    alternatives.filter((one) => one.startsWith(prefix)).map((one) => one.slice(prefix.length));
  return {
    commonName: listOf(subject['CN'])[0] ?? '',
    organizations: listOf(subject['O']),
    dnsNames: after('DNS:'),
    ipAddresses: after('IP Address:').map(canonicalAddress),
  };
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}

function canonicalAddress(text: string): string {
  const ip = parseIp(text);
  return ip === undefined ? text : formatIp(ip);
}
