import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import type { Clock } from '../../kit/clock.ts';

/** What a service account token is issued for (TokenRequest, KEP-1205). */
export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
  readonly expirationSeconds: number;
  readonly pod?: { readonly name: string; readonly uid: string } | undefined;
  readonly node?: { readonly name: string; readonly uid: string } | undefined;
  readonly secret?: { readonly name: string; readonly uid: string } | undefined;
}

export interface TokenClaims {
  /** system:serviceaccount:NAMESPACE:NAME */
  readonly sub: string;
  readonly jti: string;
  readonly aud: readonly string[];
  /** Seconds since the epoch. */
  readonly exp: number;
  readonly namespace: string;
  /** Of the service account. */
  readonly uid: string;
}

interface Payload {
  iss: string;
  sub: string;
  aud: string[];
  exp: number;
  iat: number;
  nbf: number;
  jti: string;
  'kubernetes.io': { namespace: string; serviceaccount: { name: string; uid: string } };
}

export interface TokenSignerOptions {
  readonly issuer: string;
  /** An ECDSA P-256 key in PEM. */
  readonly privateKey: string;
}

/** Signs and checks service account tokens: JWTs with ES256. */
export class TokenSigner {
  readonly issuer: string;
  private readonly clock: Clock;
  private readonly privateKey: KeyObject;
  private readonly publicKey: KeyObject;
  private readonly header: string;

  constructor(options: TokenSignerOptions, deps: { readonly clock: Clock }) {
    this.issuer = options.issuer;
    this.clock = deps.clock;
    this.privateKey = createPrivateKey(options.privateKey);
    this.publicKey = createPublicKey(this.privateKey);
    const der = this.publicKey.export({ type: 'spki', format: 'der' });
    const kid = createHash('sha256').update(der).digest('base64url');
    this.header = encode({ alg: 'ES256', kid });
  }

  issue(subject: TokenSubject): { readonly token: string; readonly expiresAt: number } {
    const now = Math.floor(this.clock.now() / 1000);
    const exp = now + subject.expirationSeconds;
    const { namespace, serviceAccount, pod, node, secret } = subject;
    const payload = {
      iss: this.issuer,
      sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
      aud: [...subject.audiences],
      exp,
      iat: now,
      nbf: now,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace,
        serviceaccount: serviceAccount,
        ...(pod === undefined ? {} : { pod }),
        ...(node === undefined ? {} : { node }),
        ...(secret === undefined ? {} : { secret }),
      },
    };
    const signed = `${this.header}.${encode(payload)}`;
    // JWS wants the two numbers side by side, not in DER (RFC 7518, 3.4).
    const signature = sign('sha256', Buffer.from(signed), { key: this.privateKey, dsaEncoding: 'ieee-p1363' });
    return { token: `${signed}.${signature.toString('base64url')}`, expiresAt: exp * 1000 };
  }

  /** The claims of a token that this signer issued and that is valid now; undefined otherwise. */
  verify(token: string): TokenClaims | undefined {
    const parts = token.split('.');
    const [header, payload, signature] = parts;
    if (parts.length !== 3 || header !== this.header || payload === undefined || signature === undefined)
      return undefined;
    const key = { key: this.publicKey, dsaEncoding: 'ieee-p1363' as const };
    if (!verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')))
      return undefined;
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Payload;
    const now = this.clock.now() / 1000;
    if (claims.iss !== this.issuer || claims.exp <= now || claims.nbf > now + 60) return undefined;
    const { namespace, serviceaccount } = claims['kubernetes.io'];
    return { sub: claims.sub, jti: claims.jti, aud: claims.aud, exp: claims.exp, namespace, uid: serviceaccount.uid };
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
