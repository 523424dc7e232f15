import type { Clock } from '../kit/clock.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { KubeObject } from '../model/meta.ts';
import type { TokenRequest } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import type { ApiClient, TokenSource } from './port.ts';

/** pkg/kubelet/token/token_manager.go: renewed at 80 % of life or after a day, up to 10 s apart; swept each minute. */
const LONGEST_USE_MS = 24 * 3600 * 1000;
const JITTER_MS = 10_000;
const SWEEP_MS = 60_000;

type Request = Parameters<TokenSource['token']>[0];

interface Cached {
  readonly podUid: string;
  readonly token: string;
  readonly renewAt: number;
  readonly expiresAt: number;
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
    this.sweptAt = deps.clock.now();
  }

  async token(request: Request): Promise<{ readonly token: string; readonly renewAt: number }> {
    const now = this.deps.clock.now();
    if (now - this.sweptAt >= SWEEP_MS) this.sweep(now);
    const key = JSON.stringify([
      request.namespace,
      request.serviceAccount,
      request.podUid,
      request.podName,
      request.audience ?? null,
      request.expirationSeconds,
    ]);
    const known = this.cached.get(key);
    if (known !== undefined && now < known.renewAt) return known;
    try {
      return await this.shared(key, request);
    } catch (error) {
      if (known === undefined || this.deps.clock.now() >= known.expiresAt) throw error;
      const { namespace, serviceAccount } = request;
      this.deps.logger.warn(
        { namespace, serviceAccount, pod: request.podName, error: messageOf(error) },
        'could not renew a service account token; the present one still lives',
      );
      return { token: known.token, renewAt: Math.min(this.deps.clock.now() + this.jitter() + 1000, known.expiresAt) };
    }
  }

  /** Drops the tokens of a pod that is gone. */
  forget(podUid: string): void {
    for (const [key, entry] of this.cached) {
      if (entry.podUid === podUid) this.cached.delete(key);
    }
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
    const body: TokenRequest = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: request.audience === undefined || request.audience === '' ? [] : [request.audience],
        expirationSeconds: request.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: request.podName, uid: request.podUid },
      },
    };
    const target = { namespace: request.namespace, name: request.serviceAccount, subresource: 'token' };
    const answer = await this.deps.api.create<TokenRequest & KubeObject>(resources.serviceaccounts, target, body);
    const expiresAt = Date.parse(answer.status?.expirationTimestamp ?? '');
    const token = answer.status?.token;
    if (token === undefined || token === '' || Number.isNaN(expiresAt)) {
      throw new CodedError(
        'Unavailable',
        `requesting a token of ServiceAccount ${request.namespace}/${request.serviceAccount}: the answer has no token or no expirationTimestamp`,
      );
    }
    // The server may have given more or less than was asked for; what it says in spec is what it gave.
    const lifeMs = (answer.spec?.expirationSeconds ?? request.expirationSeconds) * 1000;
    const issuedAt = expiresAt - lifeMs;
    const renewAt = Math.min(expiresAt - lifeMs * 0.2, issuedAt + LONGEST_USE_MS) - this.jitter();
    return { podUid: request.podUid, token, renewAt, expiresAt };
  }

  private jitter(): number {
    return JITTER_MS * (this.deps.random ?? Math.random)();
  }

  private sweep(now: number): void {
    this.sweptAt = now;
    for (const [key, entry] of this.cached) {
      if (now >= entry.expiresAt) this.cached.delete(key);
    }
  }
}
