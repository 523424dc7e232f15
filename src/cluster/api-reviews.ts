import type { Clock } from '../kit/clock.ts';
import { hasCode } from '../kit/errors.ts';
import type { KubeObject } from '../model/meta.ts';
import type { ResourceType } from '../model/resource.ts';
import type { ApiClient } from './port.ts';

interface User {
  readonly username: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
}

interface TokenReview extends KubeObject {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
    readonly error?: string;
  };
}

interface SubjectAccessReview extends KubeObject {
  readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
}

const tokenReviews: ResourceType = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
};
const subjectAccessReviews: ResourceType = {
  group: 'authorization.k8s.io',
  version: 'v1',
  plural: 'subjectaccessreviews',
  kind: 'SubjectAccessReview',
  namespaced: false,
};

/** apiserver options DefaultAuthWebhookRetryBackoff. */
const PAUSES_MS = [500, 750, 1125, 1688];

/** Asks the API server who holds a token, and whether somebody may do something with a node. */
export class ApiReviews {
  private readonly api: Pick<ApiClient, 'create'>;
  private readonly clock: Pick<Clock, 'sleep'>;

  constructor(deps: { readonly api: Pick<ApiClient, 'create'>; readonly clock: Pick<Clock, 'sleep'> }) {
    this.api = deps.api;
    this.clock = deps.clock;
  }

  /** undefined: the token is no good. */
  async holderOf(token: string): Promise<User | undefined> {
    const { status } = await this.ask<TokenReview>(tokenReviews, { token });
    if (status?.authenticated !== true) return undefined;
    const { username = '', uid, groups = [], extra } = status.user ?? {};
    return { username, uid, groups, extra };
  }

  async mayAccess(
    { username, uid, groups, extra }: User,
    access: { readonly verb: string; readonly subresource: string; readonly name: string },
  ): Promise<boolean> {
    const spec = {
      user: username,
      groups,
      ...(uid === undefined ? {} : { uid }),
      ...(extra === undefined ? {} : { extra }),
      resourceAttributes: { version: 'v1', resource: 'nodes', ...access },
    };
    const { status } = await this.ask<SubjectAccessReview>(subjectAccessReviews, spec);
    return status?.allowed === true && status.denied !== true;
  }

  private async ask<T extends KubeObject>(type: ResourceType, spec: object): Promise<T> {
    const review = { apiVersion: `${type.group}/${type.version}`, kind: type.kind, metadata: {}, spec };
    for (const pauseMs of PAUSES_MS) {
      try {
        return await this.api.create<T>(type, {}, review);
      } catch (error) {
        if (!hasCode(error, 'Unavailable', 'TooManyRequests')) throw error;
      }
      await this.clock.sleep(pauseMs);
    }
    return await this.api.create<T>(type, {}, review);
  }
}
