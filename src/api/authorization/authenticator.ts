import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { ExpiringCache } from '../../kit/expiring-cache.ts';
import type { Logger } from '../../kit/log.ts';
import type { ClientCertificates } from '../client-certificates.ts';
import type { Caller, Reviews } from '../port.ts';

export interface AuthenticatorOptions {
  /** Who shows no credentials is system:anonymous instead of nobody. */
  readonly anonymous: boolean;
  /** How long the API server's word on a token holds, in milliseconds. */
  readonly tokenMs: number;
}

export interface AuthenticatorDeps {
  /** undefined: nobody is known by certificate. */
  readonly certificates: ClientCertificates | undefined;
  /** undefined: nobody is known by token (authentication.webhook.enabled false). */
  readonly reviews: Pick<Reviews, 'holderOf'> | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export const AUTHENTICATED_GROUP = 'system:authenticated';
const ANONYMOUS: Caller = { username: 'system:anonymous', groups: ['system:unauthenticated'] };
const MOST_TOKENS = 1024;
/** Longer ones are nobody's: a service account's has about 1 KiB. */
const LONGEST_TOKEN = 32_768;

/**
 * Says who makes a request: by certificate, else by bearer token. Whoever shows something that is no good is nobody, also
 * where strangers are welcome (apiserver NewFailOnError).
 */
export class Authenticator {
  private readonly options: AuthenticatorOptions;
  private readonly deps: AuthenticatorDeps;
  private readonly holders: ExpiringCache<Caller | undefined>;
  // The cache must not give away tokens to whoever reads memory, nor by the time of a look-up.
  private readonly secret = randomBytes(32);

  constructor(options: AuthenticatorOptions, deps: AuthenticatorDeps) {
    this.options = options;
    this.deps = deps;
    this.holders = new ExpiringCache({ most: MOST_TOKENS }, { clock: deps.clock });
  }

  /** undefined: nobody, which is 401. */
  async callerOf(request: IncomingMessage): Promise<Caller | undefined> {
    const { certificates, reviews } = this.deps;
    const { socket } = request;
    const shown = certificates !== undefined && socket instanceof TLSSocket ? certificates.callerOf(socket) : undefined;
    if (shown !== undefined && shown !== 'refused') return shown;
    const token = reviews === undefined ? undefined : bearerToken(request.headers.authorization);
    if (reviews !== undefined && token !== undefined) return await this.holderOf(reviews, token);
    return shown === undefined && this.options.anonymous ? ANONYMOUS : undefined;
  }

  private async holderOf(reviews: Pick<Reviews, 'holderOf'>, token: string): Promise<Caller | undefined> {
    if (token.length > LONGEST_TOKEN) return undefined;
    try {
      return await this.holders.get(createHmac('sha256', this.secret).update(token).digest('base64'), async () => {
        const holder = await reviews.holderOf(token);
        return { value: holder === undefined ? undefined : authenticated(holder), ttlMs: this.options.tokenMs };
      });
    } catch (error) {
      this.deps.log.error({ error: messageOf(error) }, 'the API server does not say who holds a token');
      return undefined;
    }
  }
}

/** undefined: the header names no bearer token (apiserver bearertoken.go). */
function bearerToken(header: string | undefined): string | undefined {
  const [scheme = '', token = ''] = (header ?? '').trim().split(' ');
  return scheme.toLowerCase() === 'bearer' && token !== '' ? token : undefined;
}

function authenticated(caller: Caller): Caller {
  if (caller.groups.includes(AUTHENTICATED_GROUP)) return caller;
  return { ...caller, groups: [...caller.groups, AUTHENTICATED_GROUP] };
}
