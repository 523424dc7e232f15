import { createHash } from 'node:crypto';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { ExpiringCache } from '../../kit/expiring-cache.ts';
import type { Logger } from '../../kit/log.ts';
import type { Caller, Reviews } from '../port.ts';
import { subresourcesOf, verbOf } from './request-attributes.ts';

export interface AuthorizerOptions {
  readonly nodeName: string;
  /** How long an answer of the API server holds, in milliseconds. */
  readonly allowedMs: number;
  readonly deniedMs: number;
}

export interface AuthorizerDeps {
  /** undefined: whoever is known may do everything (authorization mode AlwaysAllow). */
  readonly reviews: Pick<Reviews, 'mayAccess'> | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Why somebody may not, as HTTP says it. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
}

const MOST_ANSWERS = 4096;

/** Asks the API server whether a caller may do what a request wants, in kubelet's terms (nodes/SUBRESOURCE). */
export class Authorizer {
  private readonly options: AuthorizerOptions;
  private readonly deps: AuthorizerDeps;
  private readonly answers: ExpiringCache<boolean>;

  constructor(options: AuthorizerOptions, deps: AuthorizerDeps) {
    this.options = options;
    this.deps = deps;
    this.answers = new ExpiringCache({ most: MOST_ANSWERS }, { clock: deps.clock });
  }

  /** undefined: go ahead. */
  async refuse(caller: Caller, method: string, path: string): Promise<Refusal | undefined> {
    const { reviews, log } = this.deps;
    if (reviews === undefined) return undefined;
    const verb = verbOf(method);
    const user = caller.username;
    const subresources = subresourcesOf(path);
    for (const subresource of subresources) {
      try {
        if (await this.ask(reviews, caller, verb, subresource)) return undefined;
      } catch (error) {
        const about = `user=${user}, verb=${verb}, resource=nodes, subresource=${subresource}`;
        log.error({ user, verb, subresource, error: messageOf(error) }, 'the API server does not say who may call');
        return { status: 500, message: `Authorization error (${about})` };
      }
    }
    log.debug({ user, verb, subresources: subresources.join(' ') }, 'refused a call of the node API');
    const list = subresources.join(' ');
    return {
      status: 403,
      message: `Forbidden (user=${user}, verb=${verb}, resource=nodes, subresource(s)=[${list}])\n`,
    };
  }

  private ask(
    reviews: Pick<Reviews, 'mayAccess'>,
    caller: Caller,
    verb: string,
    subresource: string,
  ): Promise<boolean> {
    const { nodeName: name, allowedMs, deniedMs } = this.options;
    const { username, uid, groups, extra } = caller;
    const key = JSON.stringify([username, uid, groups, extra, verb, subresource]);
    // The caller decides how long its groups are; the cache need not hold them.
    return this.answers.get(createHash('sha256').update(key).digest('base64'), async () => {
      const value = await reviews.mayAccess(caller, { verb, subresource, name });
      return { value, ttlMs: value ? allowedMs : deniedMs };
    });
  }
}
