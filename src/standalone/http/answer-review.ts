import type { Review } from '../discovery/served-resources.ts';
import { isObject, type JsonObject } from '../patch/json-value.ts';
import type { Authenticator } from './authenticator.ts';
import { type Attributes, deniedMessage, isAllowed } from './authorize.ts';
import { AUTHENTICATED_GROUP, type Identity } from './identity.ts';
import { badRequest } from './status-error.ts';

/** Answers the kinds that only ask: who is this (TokenReview, SelfSubjectReview), and may they (access reviews). */
export function answerReview(
  review: Review,
  body: unknown,
  caller: Identity,
  deps: { readonly authenticator: Authenticator; readonly audience: string },
): JsonObject {
  if (!isObject(body)) throw badRequest(`the body must be a ${review.type.kind}`);
  const spec = isObject(body['spec']) ? body['spec'] : {};
  const head = { kind: review.type.kind, apiVersion: `${review.type.group}/v1`, metadata: body['metadata'] ?? {} };
  switch (review.type.kind) {
    case 'TokenReview':
      return { ...head, spec, status: reviewToken(spec, deps) };
    case 'SelfSubjectReview':
      return { ...head, status: { userInfo: userInfo(caller) } };
    case 'SelfSubjectRulesReview':
      return { ...head, spec, status: rulesOf(caller) };
    case 'SelfSubjectAccessReview':
      return { ...head, spec, status: access(caller, spec) };
    default:
      return { ...head, spec, status: access(subjectOf(spec), spec) };
  }
}

function reviewToken(
  spec: JsonObject,
  deps: { readonly authenticator: Authenticator; readonly audience: string },
): JsonObject {
  const token = spec['token'];
  const identity = typeof token === 'string' ? deps.authenticator.ofToken(token) : undefined;
  if (identity === undefined) return { authenticated: false, user: {}, error: 'invalid bearer token' };
  return { authenticated: true, user: userInfo(identity), audiences: [deps.audience] };
}

function subjectOf(spec: JsonObject): Identity {
  const groups = Array.isArray(spec['groups']) ? spec['groups'].map(String) : [];
  const username = typeof spec['user'] === 'string' ? spec['user'] : '';
  if (username === '' && groups.length === 0) throw badRequest('at least one of user or group must be specified');
  return { username, groups };
}

function access(identity: Identity, spec: JsonObject): JsonObject {
  const attributes = attributesOf(spec);
  const allowed = isAllowed(identity, attributes);
  return allowed ? { allowed } : { allowed, reason: deniedMessage(identity, attributes) };
}

function attributesOf(spec: JsonObject): Attributes {
  const resource = isObject(spec['resourceAttributes']) ? spec['resourceAttributes'] : undefined;
  const other = isObject(spec['nonResourceAttributes']) ? spec['nonResourceAttributes'] : undefined;
  if ((resource === undefined) === (other === undefined)) {
    throw badRequest('exactly one of nonResourceAttributes or resourceAttributes must be specified');
  }
  const text = (key: string): string => String((resource ?? other)?.[key] ?? '');
  const attributes = {
    verb: text('verb'),
    group: text('group'),
    resource: text('resource'),
    subresource: text('subresource'),
    namespace: text('namespace'),
    name: text('name'),
  };
  return other === undefined ? attributes : { ...attributes, path: text('path') };
}

function rulesOf({ groups }: Identity): JsonObject {
  const all = groups.includes('system:masters');
  return {
    resourceRules: all ? [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }] : [],
    nonResourceRules: all ? [{ verbs: ['*'], nonResourceURLs: ['*'] }] : [],
    incomplete: !all && groups.includes(AUTHENTICATED_GROUP),
  };
}

function userInfo({ username, uid, groups, extra }: Identity): JsonObject {
  return { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) };
}
