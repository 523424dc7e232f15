import { CodedError } from '../../kit/errors.ts';
import type { Pod, Toleration } from '../../model/pod.ts';
import { podOrigin } from '../../model/static-pod.ts';
import { apiReferenceOf } from './api-reference.ts';
import type { DecodedPod } from './port.ts';
import { type StaticOrigin, staticPodUid } from './static-pod-uid.ts';

const UID = /^[A-Za-z0-9._-]{1,253}$/;

/**
 * A manifest's Pod as this node runs it (pkg/kubelet/config/common.go, config.go): with UID, "-<node>" after its name,
 * namespace, node, hash and source written on it. Throws InvalidObject, a line for each mistake.
 */
export function staticPod(
  decoded: DecodedPod,
  origin: StaticOrigin,
  facts: { readonly nodeName: string; readonly seenAt: number },
): Pod {
  const { pod: given } = decoded;
  const place = origin.kind === 'file' ? origin.path : origin.url;
  const { name, uid: ownUid } = given.metadata;
  if (name === undefined || name === '') {
    throw new CodedError('InvalidObject', `${place}: metadata.name: invalid pod: name is needed for the pod`);
  }
  const uid = ownUid !== undefined && ownUid !== '' ? ownUid : staticPodUid(decoded.written, origin).uid;
  // An API server makes UIDs itself; here anybody's text would become part of the paths of volumes, logs and cgroups.
  if (!UID.test(uid) || uid === '.' || uid === '..') {
    const want = 'must be 1-253 letters, digits, "-", "." or "_"';
    throw new CodedError('InvalidObject', `${place}: metadata.uid: Invalid value: ${JSON.stringify(uid)}: ${want}`);
  }
  const { tolerations = [] } = given.spec;
  const pod: Pod = {
    ...given,
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...given.metadata,
      name: `${name}-${facts.nodeName.toLowerCase()}`,
      namespace: given.metadata.namespace || 'default',
      uid,
      annotations: {
        ...given.metadata.annotations,
        [podOrigin.hash]: uid,
        [podOrigin.source]: origin.kind,
        [podOrigin.seen]: new Date(facts.seenAt).toISOString(),
      },
    },
    spec: {
      ...given.spec,
      nodeName: facts.nodeName,
      // A node in trouble evicts others; what comes from its own files stays. Not so from a URL.
      ...(origin.kind === 'file' ? { tolerations: withNoExecute(tolerations) } : {}),
    },
    status: { ...given.status, phase: 'Pending' },
  };
  const mistakes = decoded.check(pod);
  if (mistakes.length > 0) throw new CodedError('InvalidObject', mistakes.join('\n'));
  const reference = apiReferenceOf(pod);
  if (reference !== undefined) {
    throw new CodedError('InvalidObject', `${place}: static pods may not reference ${reference}`);
  }
  return pod;
}

/** Replaces its like, or is added (helper.AddOrUpdateTolerationInPod: alike are key, effect, operator and value). */
function withNoExecute(tolerations: readonly Toleration[]): Toleration[] {
  const unlimited: Toleration = { operator: 'Exists', effect: 'NoExecute' };
  const isAlike = ({ key = '', operator, value = '', effect }: Toleration): boolean =>
    key === '' && operator === 'Exists' && value === '' && effect === 'NoExecute';
  if (!tolerations.some(isAlike)) return [...tolerations, unlimited];
  return tolerations.map((toleration) => (isAlike(toleration) ? unlimited : toleration));
}
