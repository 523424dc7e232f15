import { der } from '../../kit/der.ts';
import { CodedError } from '../../kit/errors.ts';
import { parseIp } from '../cidr.ts';

/** Whom a certificate names, and what it speaks for. */
export interface CertificateNames {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

export const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  extensionRequest: '1.2.840.113549.1.9.14',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
} as const;

/** Tags of GeneralName (RFC 5280, 4.2.1.6). */
export const GENERAL_NAME = { email: 1, dns: 2, uri: 6, ip: 7 } as const;

/** A Name in DER: organizations, then the common name, as Go's pkix.Name orders them. */
export function subjectName({
  commonName,
  organizations,
}: Pick<CertificateNames, 'commonName' | 'organizations'>): Buffer {
  const attribute = (oid: string, text: string): Buffer => der.sequence(der.oid(oid), der.utf8String(text));
  return der.sequence(
    ...organizations.map((organization) => der.set(attribute(OID.organization, organization))),
    der.set(attribute(OID.commonName, commonName)),
  );
}

/** GeneralNames in DER; undefined when there are none. Throws InvalidArgument for what is no IP address. */
export function alternativeNames({
  dnsNames,
  ipAddresses,
}: Pick<CertificateNames, 'dnsNames' | 'ipAddresses'>): Buffer | undefined {
  if (dnsNames.length + ipAddresses.length === 0) return undefined;
  return der.sequence(
    ...dnsNames.map((name) => der.tagged(GENERAL_NAME.dns, Buffer.from(name, 'latin1'))),
    ...ipAddresses.map((address) => der.tagged(GENERAL_NAME.ip, addressBytes(address))),
  );
}

/** An Extension in DER. `content` is what its octet string holds. */
export function extension(oid: string, content: Buffer, critical = false): Buffer {
  return der.sequence(der.oid(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(content));
}

/** PEM text (RFC 7468). */
export function pemText(label: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function addressBytes(address: string): Buffer {
  const ip = parseIp(address);
  if (ip === undefined) {
    throw new CodedError('InvalidArgument', `certificate names: ${JSON.stringify(address)} is no IP address`);
  }
  return ip.family === 'IPv4'
    ? Buffer.from(ip.words)
    : Buffer.from(ip.words.flatMap((word) => [word >> 8, word & 0xff]));
}
