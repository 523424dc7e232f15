import { isDeepStrictEqual } from 'node:util';
import type { CertificateSigningRequest } from '../../model/certificates.ts';
import type { KubeObject, ObjectMeta } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { resources } from '../../model/resource.ts';
import { preparedSigningRequest, updatedSigningRequest } from '../certificates/signing-request-rules.ts';
import { hasStatus, type ServedResource } from '../discovery/served-resources.ts';
import { anonymous, type Identity } from './identity.ts';
import { preparedResize } from './prepare-resize.ts';

/** What a writer may not say about a new object is taken out; what it begins with is put in (PrepareForCreate). */
export function prepareForCreate(
  resource: ServedResource,
  object: KubeObject,
  identity: Identity = anonymous,
): KubeObject {
  const {
    uid: _uid,
    resourceVersion: _version,
    generation: _generation,
    creationTimestamp: _created,
    deletionTimestamp: _deleted,
    deletionGracePeriodSeconds: _grace,
    ...metadata
  } = object.metadata;
  const { status: _status, ...rest } = { ...object, metadata } as KubeObject & { status?: unknown };
  switch (resource.type.plural) {
    case resources.pods.plural:
      return { ...rest, status: { phase: 'Pending' } } as KubeObject;
    case resources.services.plural:
      return { ...rest, status: { loadBalancer: {} } } as KubeObject;
    case resources.namespaces.plural:
      return { ...rest, spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } } as KubeObject;
    case resources.persistentvolumes.plural:
    case resources.persistentvolumeclaims.plural:
      return { ...rest, status: { phase: 'Pending' } } as KubeObject;
    case resources.certificatesigningrequests.plural:
      return preparedSigningRequest({ ...object, metadata } as CertificateSigningRequest, identity);
    default:
      // A node registers with its status.
      return { ...object, metadata };
  }
}

/** A pod's class is fixed when it is created. */
export function withQosClass(resource: ServedResource, object: KubeObject): KubeObject {
  if (resource.type.plural !== resources.pods.plural) return object;
  const pod = object as Pod;
  return { ...pod, status: { ...pod.status, qosClass: qosClassOf(pod) } } as KubeObject;
}

/**
 * `next` as an update of `current` may make it: the main resource leaves status alone, `status` changes little else,
 * and identity and the marks of deletion stay as they are (PrepareForUpdate of the strategies).
 */
export function prepareForUpdate(
  resource: ServedResource,
  current: KubeObject,
  next: KubeObject,
  subresource: string | undefined,
  now: number,
): KubeObject {
  const metadata = updatedMetadata(current.metadata, next.metadata);
  if (resource.type.plural === resources.certificatesigningrequests.plural) {
    const [before, after] = [current, { ...next, metadata }] as CertificateSigningRequest[];
    return updatedSigningRequest(
      before as CertificateSigningRequest,
      after as CertificateSigningRequest,
      subresource,
      now,
    );
  }
  const before = current as KubeObject & { spec?: unknown; status?: unknown };
  const after = next as KubeObject & { spec?: unknown; status?: unknown };
  if (subresource === 'status') {
    const { ownerReferences } = current.metadata;
    const { ownerReferences: _theirs, ...kept } = metadata;
    return {
      ...before,
      metadata: ownerReferences === undefined ? kept : { ...kept, ownerReferences },
      status: after.status,
    } as KubeObject;
  }
  if (subresource === 'finalize') return { ...before, spec: after.spec } as KubeObject;
  if (subresource === 'resize') return preparedResize(current, { ...next, metadata });
  if (subresource === 'ephemeralcontainers') {
    const { ephemeralContainers } = (after.spec ?? {}) as { ephemeralContainers?: unknown };
    return { ...before, spec: { ...(before.spec as object), ephemeralContainers } } as unknown as KubeObject;
  }
  const { status: _status, ...rest } = { ...after, metadata };
  if (resource.type.plural === resources.namespaces.plural) {
    return { ...rest, spec: before.spec, status: before.status } as KubeObject;
  }
  if (!hasStatus(resource)) return { ...after, metadata };
  return (before.status === undefined ? rest : { ...rest, status: before.status }) as KubeObject;
}

function updatedMetadata(current: ObjectMeta, next: ObjectMeta): ObjectMeta {
  const {
    deletionTimestamp: _deleted,
    deletionGracePeriodSeconds: _grace,
    generation: _generation,
    managedFields: written,
    ...rest
  } = next;
  const managedFields = chosenManagedFields(current.managedFields, written);
  return {
    ...rest,
    ...(current.uid === undefined ? {} : { uid: current.uid }),
    ...(current.creationTimestamp === undefined ? {} : { creationTimestamp: current.creationTimestamp }),
    ...(current.generateName === undefined ? {} : { generateName: current.generateName }),
    ...(current.deletionTimestamp === undefined ? {} : { deletionTimestamp: current.deletionTimestamp }),
    ...(current.deletionGracePeriodSeconds === undefined
      ? {}
      : { deletionGracePeriodSeconds: current.deletionGracePeriodSeconds }),
    ...(managedFields === undefined ? {} : { managedFields }),
  };
}

/** A list of one empty entry resets them; none at all leaves them (fieldmanager/fieldmanager.go). */
function chosenManagedFields(current: unknown[] | undefined, written: unknown[] | undefined): unknown[] | undefined {
  if (written === undefined || written.length === 0) return current;
  if (written.length === 1 && isDeepStrictEqual(written[0], {})) return undefined;
  return written;
}
