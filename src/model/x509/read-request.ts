import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { type DerValue, readDer, readOid } from '../../kit/der.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { GENERAL_NAME, OID } from './names.ts';

/** A PKCS #10 request as it was read; its signature is checked. */
export interface ReadRequest {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly emailAddresses: readonly string[];
  readonly uris: readonly string[];
  /** Four or sixteen bytes each. */
  readonly ipAddresses: readonly Buffer[];
  /** In DER, to be put into the certificate as they are. */
  readonly subject: Buffer;
  readonly publicKey: Buffer;
  readonly alternativeNames: Buffer | undefined;
}

const PEM = /^\s*-----BEGIN CERTIFICATE REQUEST-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*$/;
const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
const BIT_STRING = 0x03;
/** Signature algorithms by object identifier (RFC 5758, RFC 4055, RFC 8410); null: the key says it. */
const DIGESTS: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.3.101.112', null],
]);

/** Reads and checks a request in PEM. Throws InvalidObject, in kube-apiserver's words where it has its own. */
export function readRequest(pem: string): ReadRequest {
  const base64 = PEM.exec(pem)?.[1];
  if (base64 === undefined) throw invalid('PEM block type must be CERTIFICATE REQUEST');
  const whole = only(Buffer.from(base64.replace(/\s/g, ''), 'base64'));
  const [info, algorithm, signature, ...more] = readDer(content(whole, SEQUENCE));
  if (more.length > 0) throw invalid('malformed request');
  const [version, subject, publicKey, attributes] = readDer(content(info, SEQUENCE));
  if (version === undefined || subject === undefined || publicKey === undefined) throw invalid('malformed request');
  const key = publicKeyOf(publicKey.whole);
  const oid = readOid(content(readDer(content(algorithm, SEQUENCE))[0], OBJECT_IDENTIFIER));
  const digest = DIGESTS.get(oid);
  if (digest === undefined) throw invalid(`x509: signature algorithm ${oid} is not supported`);
  const bits = content(signature, BIT_STRING);
  // The first byte counts unused bits.
  if (bits[0] !== 0 || !verify(digest, info?.whole ?? Buffer.alloc(0), key, bits.subarray(1))) {
    throw invalid('x509: signature of the request is wrong');
  }
  const alternatives = alternativeNamesOf(attributes);
  const names = alternatives === undefined ? [] : readDer(only(alternatives).content);
  const texts = (number: number): string[] =>
    names.filter(({ tag }) => tag === (0x80 | number)).map((name) => name.content.toString('latin1'));
  return {
    commonName: subjectValues(subject, OID.commonName).at(-1) ?? '',
    organizations: subjectValues(subject, OID.organization),
    dnsNames: texts(GENERAL_NAME.dns),
    emailAddresses: texts(GENERAL_NAME.email),
    uris: texts(GENERAL_NAME.uri),
    ipAddresses: names.filter(({ tag }) => tag === (0x80 | GENERAL_NAME.ip)).map((name) => name.content),
    subject: subject.whole,
    publicKey: publicKey.whole,
    alternativeNames: alternatives,
  };
}

/** GeneralNames in DER out of [0] SET OF Attribute; Extension is SEQUENCE { oid, critical?, OCTET STRING }. */
function alternativeNamesOf(attributes: DerValue | undefined): Buffer | undefined {
  for (const attribute of attributes === undefined ? [] : readDer(attributes.content)) {
    const [oid, values] = readDer(attribute.content);
    if (readOid(content(oid)) !== OID.extensionRequest) continue;
    for (const one of readDer(only(content(values)).content)) {
      const parts = readDer(one.content);
      if (readOid(content(parts[0])) === OID.subjectAltName) return content(parts.at(-1));
    }
  }
  return undefined;
}

/** Name is SEQUENCE OF SET OF SEQUENCE { oid, text }. */
function subjectValues(name: DerValue, wanted: string): string[] {
  const values: string[] = [];
  for (const set of readDer(name.content)) {
    for (const attribute of readDer(set.content)) {
      const [oid, text] = readDer(attribute.content);
      if (readOid(content(oid)) === wanted) values.push(content(text).toString('utf8'));
    }
  }
  return values;
}

function publicKeyOf(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, type: 'spki', format: 'der' });
  } catch (error) {
    throw invalid(`the public key cannot be read: ${messageOf(error)}`);
  }
}

function only(bytes: Buffer): DerValue {
  const [first, ...more] = readDer(bytes);
  if (first === undefined || more.length > 0) throw invalid('malformed request');
  return first;
}

function content(value: DerValue | undefined, tag?: number): Buffer {
  if (value === undefined || (tag !== undefined && value.tag !== tag)) throw invalid('malformed request');
  return value.content;
}

function invalid(message: string): CodedError {
  return new CodedError('InvalidObject', message);
}
