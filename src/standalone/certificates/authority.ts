import { createPrivateKey, createPublicKey, randomBytes, webcrypto } from 'node:crypto';
import type { Clock } from '../../kit/clock.ts';
import { loadX509 } from '../../kit/load-x509.ts';
import { type KeyPair, newPrivateKey } from './key-pair.ts';

export interface CertificateRequest {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usage: 'server' | 'client';
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

const DAY_MS = 24 * 60 * 60 * 1000;
export const CA_LIFE_MS = 3650 * DAY_MS;
export const CERTIFICATE_LIFE_MS = 365 * DAY_MS;
// Clocks of clients may be a little behind.
const BACKDATE_MS = 5 * 60 * 1000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A certificate authority with an ECDSA P-256 key. */
export class Authority {
  readonly pair: KeyPair;
  private readonly clock: Clock;

  constructor(pair: KeyPair, deps: { readonly clock: Clock }) {
    this.pair = pair;
    this.clock = deps.clock;
  }

  /** Makes a new self-signed authority. */
  static async create(commonName: string, clock: Clock): Promise<KeyPair> {
    const x509 = await loadX509();
    const key = await newPrivateKey();
    const now = clock.now();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: serial(),
        name: [{ CN: [commonName] }],
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(now + CA_LIFE_MS),
        keys: await cryptoKeys(key),
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(
            x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyCertSign,
            true,
          ),
          await x509.SubjectKeyIdentifierExtension.create((await cryptoKeys(key)).publicKey, false, webcrypto as never),
        ],
      },
      webcrypto as never,
    );
    return { certificate: pem(certificate.toString('pem')), key };
  }

  /** A new key and a certificate for it, signed by this authority. */
  async issue(request: CertificateRequest): Promise<KeyPair> {
    const x509 = await loadX509();
    const key = await newPrivateKey();
    const { publicKey } = await cryptoKeys(key);
    const authority = new x509.X509Certificate(this.pair.certificate);
    const now = this.clock.now();
    const names = [
      ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
      ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ];
    const usage = request.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serial(),
        subject: [
          ...(request.organizations ?? []).map((organization) => ({ O: [organization] })),
          { CN: [request.commonName] },
        ],
        issuer: authority.subject,
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(now + CERTIFICATE_LIFE_MS),
        publicKey,
        signingKey: (await cryptoKeys(this.pair.key)).privateKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
          new x509.ExtendedKeyUsageExtension([usage]),
          await x509.AuthorityKeyIdentifierExtension.create(authority, false, webcrypto as never),
          ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
        ],
      },
      webcrypto as never,
    );
    return { certificate: pem(certificate.toString('pem')), key };
  }
}

async function cryptoKeys(privateKey: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(privateKey);
  const { subtle } = webcrypto;
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']),
    publicKey: await subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  };
}

/** Positive and never zero (RFC 5280, 4.1.2.2). */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function pem(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
