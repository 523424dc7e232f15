import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../kit/clock.ts';
import type { TokenSigner } from '../certificates/token-signer.ts';
import { ADMIN_GROUP, AUTHENTICATED_GROUP, anonymous, type Identity } from './identity.ts';
import { StatusError, unauthorized } from './status-error.ts';

export interface AuthenticatorDeps {
  /** Checks service account tokens. */
  readonly tokens: TokenSigner;
  readonly clock: Pick<Clock, 'now'>;
  /** Knows bootstrap tokens. */
  readonly bootstrapIdentity?: (token: string) => Identity | undefined;
}

/** Says who makes a request: by client certificate (CN, O), by a fixed bearer token, or by a service account token. */
export class Authenticator {
  private readonly deps: AuthenticatorDeps;
  // Keyed by digest, so that the time of a look-up says nothing about a token.
  private readonly byToken = new Map<string, Identity>();
  private readonly bySocket = new WeakMap<TLSSocket, { readonly identity: Identity; readonly notAfter: number }>();

  constructor(deps: AuthenticatorDeps) {
    this.deps = deps;
  }

  addToken(token: string, identity: Identity): void {
    this.byToken.set(digest(token), identity);
  }

  /** Anonymous without credentials; throws 401 for bad ones. Administrators may act as others (kubectl --as). */
  authenticate(request: IncomingMessage): Identity {
    const identity = this.ofCredentials(request);
    const username = request.headers['impersonate-user'];
    if (username === undefined) return identity;
    if (!identity.groups.includes(ADMIN_GROUP)) {
      const message = `User "${identity.username}" cannot impersonate resource "users" in API group "" at the cluster scope`;
      throw new StatusError('Forbidden', 403, 'Forbidden', message, {});
    }
    const groups = request.headersDistinct['impersonate-group'] ?? [];
    return withAuthenticated({ username: String(username), groups });
  }

  private ofCredentials(request: IncomingMessage): Identity {
    const authorization = request.headers.authorization;
    if (authorization !== undefined) {
      const token = /^Bearer (\S+)$/i.exec(authorization)?.[1];
      const identity = token === undefined ? undefined : this.ofToken(token);
      if (identity === undefined) throw unauthorized();
      return identity;
    }
    return this.ofCertificate(request.socket as unknown) ?? anonymous;
  }

  /** The holder of a token, as TokenReview asks. */
  ofToken(token: string): Identity | undefined {
    const known = this.byToken.get(digest(token)) ?? this.deps.bootstrapIdentity?.(token);
    if (known !== undefined) return withAuthenticated(known);
    const claims = this.deps.tokens.verify(token);
    if (claims === undefined) return undefined;
    return {
      username: claims.sub,
      uid: claims.uid,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${claims.namespace}`, AUTHENTICATED_GROUP],
      extra: { 'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`] },
    };
  }

  private ofCertificate(socket: unknown): Identity | undefined {
    if (!(socket instanceof TLSSocket)) return undefined;
    const known = this.bySocket.get(socket);
    if (known !== undefined) {
      // A connection may outlive the certificate that it was opened with.
      if (known.notAfter <= this.deps.clock.now()) throw unauthorized();
      return known.identity;
    }
    const certificate = socket.getPeerCertificate();
    if (certificate?.subject === undefined) return undefined;
    if (!socket.authorized) throw unauthorized();
    const { CN, O } = certificate.subject as { CN?: string; O?: string | string[] };
    if (CN === undefined) throw unauthorized();
    const groups = O === undefined ? [] : Array.isArray(O) ? O : [O];
    const identity = withAuthenticated({ username: CN, groups });
    this.bySocket.set(socket, { identity, notAfter: Date.parse(certificate.valid_to) });
    return identity;
  }
}

function withAuthenticated(identity: Identity): Identity {
  return { ...identity, groups: [...identity.groups, AUTHENTICATED_GROUP] };
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
