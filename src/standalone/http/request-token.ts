import { resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import type { TokenSigner } from '../certificates/token-signer.ts';
import { isObject, type JsonObject } from '../patch/json-value.ts';
import type { Store } from '../port.ts';
import { conflict, invalid, notFound } from './status-error.ts';

const HOUR_SECONDS = 3600;
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;

/**
 * Answers a TokenRequest (registry/core/serviceaccount/storage/token.go): a token for the service account, good for
 * the audiences and the time asked for, bound to a pod or secret when one is named. Throws NotFound, Conflict (the
 * bound object has another UID), InvalidObject.
 */
export function requestToken(
  deps: { readonly store: Pick<Store, 'get'>; readonly tokens: TokenSigner; readonly audience: string },
  request: { readonly namespace: string; readonly name: string; readonly body: JsonObject },
): JsonObject {
  const { store, tokens } = deps;
  const { namespace, name, body } = request;
  const account = store.get(resources.serviceaccounts, namespace, name);
  if (account === undefined) throw notFound(resources.serviceaccounts, name);
  const wantedUid = isObject(body['metadata']) ? body['metadata']['uid'] : undefined;
  if (typeof wantedUid === 'string' && wantedUid !== '' && wantedUid !== account.metadata.uid) {
    const why = `the UID in the token request (${wantedUid}) does not match the UID of the service account (${account.metadata.uid})`;
    throw conflict(resources.serviceaccounts, name, why);
  }
  const spec = isObject(body['spec']) ? body['spec'] : {};
  const expirationSeconds = spec['expirationSeconds'] ?? HOUR_SECONDS;
  const type = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' };
  if (typeof expirationSeconds !== 'number' || expirationSeconds < MIN_SECONDS || expirationSeconds > MAX_SECONDS) {
    const bound = typeof expirationSeconds === 'number' && expirationSeconds > MAX_SECONDS;
    const message = `Invalid value: ${JSON.stringify(expirationSeconds)}: may not specify a duration ${bound ? 'larger than 2^32 seconds' : 'less than 10 minutes'}`;
    throw invalid(type, '', [{ field: 'spec.expirationSeconds', reason: 'FieldValueInvalid', message }]);
  }
  const wanted = Array.isArray(spec['audiences']) ? spec['audiences'].map(String) : [];
  const audiences = wanted.length === 0 ? [deps.audience] : wanted;
  const reference = isObject(spec['boundObjectRef']) ? spec['boundObjectRef'] : undefined;
  const bound = reference === undefined ? undefined : boundObject(store, namespace, reference);
  const nodeName = bound?.kind === 'Pod' ? bound.nodeName : undefined;
  const node = nodeName === undefined ? undefined : store.get(resources.nodes, undefined, nodeName);
  const issued = tokens.issue({
    namespace,
    serviceAccount: { name, uid: account.metadata.uid ?? '' },
    audiences,
    expirationSeconds: Math.floor(expirationSeconds),
    pod: bound?.kind === 'Pod' ? { name: bound.name, uid: bound.uid } : undefined,
    secret: bound?.kind === 'Secret' ? { name: bound.name, uid: bound.uid } : undefined,
    node: node === undefined ? undefined : { name: node.metadata.name ?? '', uid: node.metadata.uid ?? '' },
  });
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace },
    spec: { audiences, expirationSeconds, boundObjectRef: reference ?? null },
    status: { token: issued.token, expirationTimestamp: rfc3339(issued.expiresAt) },
  };
}

interface Bound {
  readonly kind: 'Pod' | 'Secret';
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string | undefined;
}

function boundObject(store: Pick<Store, 'get'>, namespace: string, reference: JsonObject): Bound {
  const kind = String(reference['kind'] ?? '');
  const name = String(reference['name'] ?? '');
  if (kind !== 'Pod' && kind !== 'Secret') {
    const message = `Invalid value: ${JSON.stringify(kind)}: cannot bind token for service account to this kind`;
    const type = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' };
    throw invalid(type, '', [{ field: 'spec.boundObjectRef', reason: 'FieldValueInvalid', message }]);
  }
  const type = kind === 'Pod' ? resources.pods : resources.secrets;
  const object = store.get(type, namespace, name);
  if (object === undefined) throw notFound(type, name);
  const uid = object.metadata.uid ?? '';
  const wanted = reference['uid'];
  if (typeof wanted === 'string' && wanted !== '' && wanted !== uid) {
    throw conflict(
      type,
      name,
      `the UID in the bound object reference (${wanted}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  const { spec } = object as { spec?: { nodeName?: string } };
  return { kind, name, uid, nodeName: spec?.nodeName };
}
