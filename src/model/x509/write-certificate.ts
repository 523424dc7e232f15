import { createHash, type KeyObject, randomBytes, sign, type X509Certificate } from 'node:crypto';
import { der, readDer, readOid } from '../../kit/der.ts';
import { CodedError } from '../../kit/errors.ts';
import { extension, OID, pemText } from './names.ts';

/** What a key may be used for, by the numbers of RFC 5280, 4.2.1.3. */
export const KEY_USAGE = {
  digitalSignature: 0,
  contentCommitment: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  crlSign: 6,
  encipherOnly: 7,
  decipherOnly: 8,
} as const;

export const EXTENDED_KEY_USAGE = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2' } as const;

export interface CertificateTemplate {
  /** A Name in DER. */
  readonly subject: Buffer;
  /** A SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer;
  /** GeneralNames in DER. */
  readonly alternativeNames: Buffer | undefined;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Of KEY_USAGE. */
  readonly keyUsages: readonly number[];
  /** Object identifiers. */
  readonly extendedKeyUsages: readonly string[];
  readonly isAuthority: boolean;
}

/** Who signs: a Name in DER, an EC P-256 key, and the identifier of it; see `issuerOf`. */
export interface Issuer {
  readonly name: Buffer;
  readonly key: KeyObject;
  readonly keyIdentifier: Buffer | undefined;
}

/** An X.509 v3 certificate (RFC 5280) in PEM. */
export function certificate(template: CertificateTemplate, issuer: Issuer): string {
  const algorithm = der.sequence(der.oid(OID.ecdsaWithSha256));
  const content = der.sequence(
    der.taggedParts(0, der.integer(Buffer.of(2))),
    der.integer(serialNumber()),
    algorithm,
    issuer.name,
    der.sequence(der.time(template.notBefore), der.time(template.notAfter)),
    template.subject,
    template.publicKey,
    der.taggedParts(3, der.sequence(...extensions(template, issuer))),
  );
  return pemText('CERTIFICATE', der.sequence(content, algorithm, der.bitString(sign('sha256', content, issuer.key))));
}

/** RFC 5280, 4.2.1.2, method 1. Of a SubjectPublicKeyInfo in DER. */
export function keyIdentifierOf(publicKey: Buffer): Buffer {
  const [info] = readDer(publicKey);
  const bits = readDer(info?.content ?? Buffer.alloc(0))[1];
  return createHash('sha1')
    .update(bits?.content.subarray(1) ?? Buffer.alloc(0))
    .digest();
}

/** The authority that a certificate and its key make. Throws InvalidObject when the certificate cannot be read. */
export function issuerOf(authority: X509Certificate, key: KeyObject): Issuer {
  const [whole] = readDer(authority.raw);
  const [content] = readDer(whole?.content ?? Buffer.alloc(0));
  // version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, extensions
  const fields = readDer(content?.content ?? Buffer.alloc(0));
  const subject = fields[5];
  if (subject === undefined) throw new CodedError('InvalidObject', 'an authority has no subject to sign as');
  const extensionList = fields.find(({ tag }) => tag === 0xa3);
  const [list] = extensionList === undefined ? [] : readDer(extensionList.content);
  for (const one of list === undefined ? [] : readDer(list.content)) {
    const parts = readDer(one.content);
    if (readOid(parts[0]?.content ?? Buffer.alloc(0)) !== OID.subjectKeyIdentifier) continue;
    const [identifier] = readDer(parts.at(-1)?.content ?? Buffer.alloc(0));
    return { name: subject.whole, key, keyIdentifier: identifier?.content };
  }
  return { name: subject.whole, key, keyIdentifier: undefined };
}

function extensions(template: CertificateTemplate, issuer: Issuer): Buffer[] {
  const { isAuthority, keyUsages, extendedKeyUsages, alternativeNames, publicKey } = template;
  return [
    ...(keyUsages.length === 0 ? [] : [extension(OID.keyUsage, der.namedBits(keyUsages), true)]),
    ...(extendedKeyUsages.length === 0
      ? []
      : [extension(OID.extendedKeyUsage, der.sequence(...extendedKeyUsages.map(der.oid)))]),
    extension(OID.basicConstraints, der.sequence(...(isAuthority ? [der.boolean(true)] : [])), true),
    ...(isAuthority ? [extension(OID.subjectKeyIdentifier, der.octetString(keyIdentifierOf(publicKey)))] : []),
    ...(issuer.keyIdentifier === undefined
      ? []
      : [extension(OID.authorityKeyIdentifier, der.sequence(der.tagged(0, issuer.keyIdentifier)))]),
    ...(alternativeNames === undefined ? [] : [extension(OID.subjectAltName, alternativeNames)]),
  ];
}

/** Positive, never zero, at most 20 bytes (RFC 5280, 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}
