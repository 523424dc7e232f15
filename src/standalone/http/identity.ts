/** Who makes a request, as in UserInfo of authentication.k8s.io. */
export interface Identity {
  readonly username: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const ADMIN_GROUP = 'system:masters';
export const NODES_GROUP = 'system:nodes';
/** Whoever has a bootstrap token. */
export const BOOTSTRAPPERS_GROUP = 'system:bootstrappers';
export const AUTHENTICATED_GROUP = 'system:authenticated';

export const anonymous: Identity = { username: 'system:anonymous', groups: ['system:unauthenticated'] };
