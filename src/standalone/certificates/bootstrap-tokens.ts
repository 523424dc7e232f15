import { timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../model/objects.ts';
import { resources } from '../../model/resource.ts';
import { parseTime } from '../../model/time.ts';
import { BOOTSTRAPPERS_GROUP, type Identity } from '../http/identity.ts';
import type { Store } from '../port.ts';

const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const EXTRA_GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;
const NAMESPACE = 'kube-system';
const TYPE = 'bootstrap.kubernetes.io/token';

/**
 * Whom a bootstrap token stands for: its Secret bootstrap-token-ID in kube-system says so (pkg auth/authenticator/token/
 * bootstrap). Undefined for what is no such token, is unknown, has expired or is not for authentication.
 */
export function bootstrapIdentity(store: Pick<Store, 'get'>, token: string, now: number): Identity | undefined {
  const [, id = '', given = ''] = TOKEN.exec(token) ?? [];
  if (id === '') return undefined;
  const secret = store.get(resources.secrets, NAMESPACE, `bootstrap-token-${id}`) as Secret | undefined;
  if (secret === undefined || secret.type !== TYPE || secret.metadata.deletionTimestamp !== undefined) return undefined;
  const value = (key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  if (!isSame(value('token-secret'), given) || value('token-id') !== id) return undefined;
  const expiration = value('expiration');
  // A time that cannot be read counts as over.
  if (expiration !== '' && (parseTime(expiration) ?? 0) <= now) return undefined;
  if (value('usage-bootstrap-authentication') !== 'true') return undefined;
  const extra = value('auth-extra-groups');
  const groups = extra === '' ? [] : extra.split(',').map((group) => group.trim());
  if (!groups.every((group) => EXTRA_GROUP.test(group))) return undefined;
  return { username: `system:bootstrap:${id}`, groups: [...new Set([BOOTSTRAPPERS_GROUP, ...groups])] };
}

function isSame(expected: string, given: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)];
  return one.length === other.length && timingSafeEqual(one, other);
}
