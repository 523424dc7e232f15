import { afterFailure, type BackoffEntry } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { KubeObject } from '../model/meta.ts';
import type { TokenRequest } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import type { ApiClient, TokenSource } from './port.ts';

/** pkg/kubelet/token/token_manager.go: renewed at 80 % of life or after a day, up to 10 s apart; swept each minute. */
const LONGEST_USE_MS = 24 * 3600 * 1000;
const USED_PART = 0.8;
const JITTER_MS = 10_000;
const SWEEP_MS = 60_000;
/** However wrong a clock is: nobody is told to come back sooner, so that no server is asked without end. */
const SOONEST_MS = 30_000;
const RETRY = { baseMs: 5000, maxMs: 60_000 };

type Request = Parameters<TokenSource['token']>[0];
type Answer = Awaited<ReturnType<TokenSource['token']>>;

interface Cached {
  readonly podUid: string;
  readonly token: string;
  /** By the wall clock, and by the monotonic one in case that the wall clock is set back. */
  readonly renewAt: number;
  readonly renewAtMonotonic: number;
  readonly expiresAt: number;
  readonly expiresAtMonotonic: number;
  /** The renewals that failed since. */
  readonly failure: BackoffEntry | undefined;
}

/** Tokens through the TokenRequest API, bound to their pod. A token that still lives outlasts an API that is away. */
export class TokenRequestSource implements TokenSource {
  private readonly deps: {
    readonly api: ApiClient;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly random?: () => number;
  };
  private readonly cached = new Map<string, Cached>();
  private readonly pending = new Map<string, Promise<Cached>>();
  private sweptAt: number;

  constructor(deps: TokenRequestSource['deps']) {
    this.deps = deps;
    this.sweptAt = deps.clock.monotonic();
  }

  async token(request: Request): Promise<Answer> {
    const { clock } = this.deps;
    if (clock.monotonic() - this.sweptAt >= SWEEP_MS) this.sweep();
    const key = JSON.stringify([
      request.namespace,
      request.serviceAccount,
      request.serviceAccountUid ?? null,
      request.podUid,
      request.podName,
      request.audience ?? null,
      request.expirationSeconds,
    ]);
    const known = this.cached.get(key);
    if (known !== undefined && !isDue(known, clock)) return this.answer(known);
    try {
      return this.answer(await this.shared(key, request));
    } catch (error) {
      const why = wordsOf(error);
      if (known === undefined) throw refused(`failed to fetch token: ${why}`, error);
      if (hasExpired(known, clock)) {
        const { namespace, serviceAccount } = request;
        const whose = `of ServiceAccount ${namespace}/${serviceAccount}`;
        throw refused(`token ${whose} expired and refresh failed: ${why}`, error);
      }
      return this.answer(this.postponed(key, request, known, error));
    }
  }

  forget(podUid: string): void {
    for (const [key, entry] of this.cached) {
      if (entry.podUid === podUid) this.cached.delete(key);
    }
  }

  /** The present token once more, until the renewal is tried again. */
  private postponed(key: string, request: Request, known: Cached, error: unknown): Cached {
    const { clock, logger } = this.deps;
    const { namespace, serviceAccount, podName } = request;
    const now = clock.monotonic();
    // The pod or its account is gone, and no asking brings a token for it.
    const isOver = hasCode(error, 'NotFound', 'Conflict', 'Gone');
    const failure = afterFailure(known.failure, now, RETRY);
    const delayMs = isOver ? Number.POSITIVE_INFINITY : failure.delayMs + this.jitter() / 2;
    const waitMs = Math.min(delayMs, Math.max(0, known.expiresAtMonotonic - now));
    logger.warn(
      { namespace, serviceAccount, pod: podName, error: messageOf(error), againInMs: Math.round(waitMs) },
      'could not renew a service account token; the present one still lives',
    );
    const entry = { ...known, failure, renewAt: clock.now() + waitMs, renewAtMonotonic: now + waitMs };
    this.cached.set(key, entry);
    return entry;
  }

  private answer({ token, renewAt, expiresAt }: Cached): Answer {
    return { token, renewAt: Math.max(renewAt, this.deps.clock.now() + SOONEST_MS), expiresAt };
  }

  /** Everybody who waits for the same token waits for one request. */
  private shared(key: string, request: Request): Promise<Cached> {
    let pending = this.pending.get(key);
    if (pending === undefined) {
      pending = this.fetch(request)
        .then((cached) => {
          this.cached.set(key, cached);
          return cached;
        })
        .finally(() => this.pending.delete(key));
      this.pending.set(key, pending);
    }
    return pending;
  }

  private async fetch(request: Request): Promise<Cached> {
    const { api, clock } = this.deps;
    const { serviceAccountUid } = request;
    const body: TokenRequest = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      ...(serviceAccountUid === undefined ? {} : { metadata: { uid: serviceAccountUid } }),
      spec: {
        audiences: request.audience === undefined || request.audience === '' ? [] : [request.audience],
        expirationSeconds: request.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: request.podName, uid: request.podUid },
      },
    };
    const target = { namespace: request.namespace, name: request.serviceAccount, subresource: 'token' };
    const answer = await api.create<TokenRequest & KubeObject>(resources.serviceaccounts, target, body);
    const expiresAt = Date.parse(answer.status?.expirationTimestamp ?? '');
    const token = answer.status?.token;
    if (token === undefined || token === '' || Number.isNaN(expiresAt)) {
      throw new CodedError(
        'Unavailable',
        `requesting a token of ServiceAccount ${request.namespace}/${request.serviceAccount}: the answer has no token or no expirationTimestamp`,
      );
    }
    const now = clock.now();
    const monotonic = clock.monotonic();
    // The server may have given more or less than was asked for; what it says in spec is what it gave.
    const lifeMs = (answer.spec?.expirationSeconds ?? request.expirationSeconds) * 1000;
    // It was given just now: a server whose clock is ahead must not make this node renew too late.
    const issuedAt = Math.min(expiresAt - lifeMs, now);
    const useMs = Math.min(lifeMs * USED_PART, LONGEST_USE_MS);
    const renewAt = issuedAt + useMs - this.jitter();
    return {
      podUid: request.podUid,
      token,
      renewAt,
      renewAtMonotonic: monotonic + Math.max(0, renewAt - now),
      expiresAt,
      expiresAtMonotonic: monotonic + lifeMs,
      failure: undefined,
    };
  }

  private jitter(): number {
    return JITTER_MS * (this.deps.random ?? Math.random)();
  }

  private sweep(): void {
    const { clock } = this.deps;
    this.sweptAt = clock.monotonic();
    for (const [key, entry] of this.cached) if (hasExpired(entry, clock)) this.cached.delete(key);
  }
}

function isDue({ renewAt, renewAtMonotonic }: Cached, clock: Clock): boolean {
  return clock.now() >= renewAt || clock.monotonic() >= renewAtMonotonic;
}

/** The monotonic clock decides: a wall clock that was set says nothing of how long a token has lived. */
function hasExpired({ expiresAtMonotonic }: Cached, clock: Clock): boolean {
  return clock.monotonic() >= expiresAtMonotonic;
}

/** What the API said, without the request around it. */
function wordsOf(error: unknown): string {
  const said = error instanceof CodedError ? error.metadata['said'] : undefined;
  return typeof said === 'string' && said !== '' ? said : messageOf(error);
}

function refused(message: string, error: unknown): CodedError {
  const { code, metadata } = error instanceof CodedError ? error : new CodedError('Unavailable', '');
  return new CodedError(code, message, metadata, error);
}
