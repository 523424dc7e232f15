import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import type { Clock } from '../../kit/clock.ts';
import { alternativeNames, subjectName } from '../../model/x509/names.ts';
import type { ReadRequest } from '../../model/x509/read-request.ts';
import {
  certificate,
  EXTENDED_KEY_USAGE,
  type Issuer,
  issuerOf,
  KEY_USAGE,
  keyIdentifierOf,
} from '../../model/x509/write-certificate.ts';
import { type KeyPair, newPrivateKey } from './key-pair.ts';

export interface CertificateRequest {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usage: 'server' | 'client';
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** What a signer grants to a request of somebody else's. */
export interface Grant {
  /** Numbers of KEY_USAGE. */
  readonly keyUsages: readonly number[];
  /** Object identifiers. */
  readonly extendedKeyUsages: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
export const CA_LIFE_MS = 3650 * DAY_MS;
export const CERTIFICATE_LIFE_MS = 365 * DAY_MS;
// Clocks of clients may be a little behind.
const BACKDATE_MS = 5 * 60 * 1000;
const USAGES = [KEY_USAGE.digitalSignature, KEY_USAGE.keyEncipherment];

/** A certificate authority with an ECDSA P-256 key. */
export class Authority {
  readonly pair: KeyPair;
  private readonly clock: Clock;
  private readonly issuer: Issuer;

  constructor(pair: KeyPair, deps: { readonly clock: Clock }) {
    this.pair = pair;
    this.clock = deps.clock;
    this.issuer = issuerOf(new X509Certificate(pair.certificate), createPrivateKey(pair.key));
  }

  /** Makes a new self-signed authority. */
  static async create(commonName: string, clock: Clock): Promise<KeyPair> {
    const key = await newPrivateKey();
    const name = subjectName({ commonName, organizations: [] });
    const publicKey = publicKeyOf(key);
    const now = clock.now();
    const text = certificate(
      {
        subject: name,
        publicKey,
        alternativeNames: undefined,
        notBefore: now - BACKDATE_MS,
        notAfter: now + CA_LIFE_MS,
        keyUsages: [...USAGES, KEY_USAGE.keyCertSign],
        extendedKeyUsages: [],
        isAuthority: true,
      },
      { name, key: createPrivateKey(key), keyIdentifier: keyIdentifierOf(publicKey) },
    );
    return { certificate: text, key };
  }

  /** When the authority itself expires; milliseconds since the epoch. */
  get notAfter(): number {
    return Date.parse(new X509Certificate(this.pair.certificate).validTo);
  }

  /** A new key and a certificate for it, signed by this authority. */
  async issue(request: CertificateRequest): Promise<KeyPair> {
    const { commonName, organizations = [], dnsNames = [], ipAddresses = [] } = request;
    const key = await newPrivateKey();
    const now = this.clock.now();
    const text = certificate(
      {
        subject: subjectName({ commonName, organizations }),
        publicKey: publicKeyOf(key),
        alternativeNames: alternativeNames({ dnsNames, ipAddresses }),
        notBefore: now - BACKDATE_MS,
        notAfter: now + CERTIFICATE_LIFE_MS,
        keyUsages: USAGES,
        extendedKeyUsages: [request.usage === 'server' ? EXTENDED_KEY_USAGE.serverAuth : EXTENDED_KEY_USAGE.clientAuth],
        isAuthority: false,
      },
      this.issuer,
    );
    return { certificate: text, key };
  }

  /** A certificate in PEM for a request that was found good. */
  sign(request: ReadRequest, grant: Grant): string {
    const { subject, publicKey, alternativeNames: names } = request;
    return certificate({ subject, publicKey, alternativeNames: names, ...grant, isAuthority: false }, this.issuer);
  }
}

function publicKeyOf(key: string): Buffer {
  return createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
}
