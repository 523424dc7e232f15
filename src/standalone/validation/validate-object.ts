import type { CertificateSigningRequest, ClusterTrustBundle } from '../../model/certificates.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Node } from '../../model/node.ts';
import type {
  ConfigMap,
  Event,
  Lease,
  PersistentVolume,
  PersistentVolumeClaim,
  PriorityClass,
  RuntimeClass,
  Secret,
  ServiceAccount,
  ServiceCIDR,
} from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { EndpointSlice, Service } from '../../model/service.ts';
import type { CSIDriver, CSINode, StorageClass, VolumeAttachment } from '../../model/storage.ts';
import { validateSigningRequest } from '../certificates/signing-request-rules.ts';
import type { FieldError } from '../port.ts';
import { validateEvent, validateLease, validateNode, validatePriorityClass } from './cluster-objects.ts';
import { validateClusterTrustBundle } from './cluster-trust-bundle.ts';
import { validateConfigMap, validateSecret } from './config.ts';
import { validateEndpointSlice } from './endpoint-slice.ts';
import { validateObjectMeta } from './object-meta.ts';
import { validatePersistentVolume, validatePersistentVolumeClaim } from './persistent-volume.ts';
import { validatePodCreate } from './pod.ts';
import { validatePodUpdate } from './pod-update.ts';
import { validateRuntimeClass } from './runtime-class.ts';
import { validateService } from './service.ts';
import { validateServiceCIDR } from './service-cidr.ts';
import { validateCSIDriver, validateCSINode, validateStorageClass, validateVolumeAttachment } from './storage.ts';
import { imagePullSecretErrors } from './volume.ts';

/**
 * Rules of meaning of any served kind, on an object that has its defaults. `subresource` says what an update came
 * through ("status", "binding", "resize", "ephemeralcontainers").
 */
export function validateObject(
  type: ResourceType,
  object: KubeObject,
  previous: KubeObject | undefined,
  subresource?: string,
): FieldError[] {
  return [...validateObjectMeta(type, object, previous), ...validateKind(type, object, previous, subresource)];
}

function validateKind(
  type: ResourceType,
  object: KubeObject,
  previous: KubeObject | undefined,
  subresource: string | undefined,
): FieldError[] {
  switch (type.plural) {
    case resources.pods.plural:
      if (previous === undefined) return validatePodCreate(object as Pod);
      return validatePodUpdate(object as Pod, previous as Pod, subresource);
    case resources.services.plural:
      return validateService(object as Service, previous as Service | undefined);
    case resources.endpointslices.plural:
      return validateEndpointSlice(object as EndpointSlice, previous as EndpointSlice | undefined);
    case resources.configmaps.plural:
      return validateConfigMap(object as ConfigMap, previous as ConfigMap | undefined);
    case resources.secrets.plural:
      return validateSecret(object as Secret, previous as Secret | undefined);
    case resources.nodes.plural:
      return validateNode(object as Node, previous as Node | undefined);
    case resources.priorityclasses.plural:
      return validatePriorityClass(object as PriorityClass, previous as PriorityClass | undefined);
    case resources.servicecidrs.plural:
      return validateServiceCIDR(object as ServiceCIDR, previous as ServiceCIDR | undefined);
    case resources.runtimeclasses.plural:
      return validateRuntimeClass(object as RuntimeClass, previous as RuntimeClass | undefined);
    case resources.csidrivers.plural:
      return validateCSIDriver(object as CSIDriver, previous as CSIDriver | undefined);
    case resources.csinodes.plural:
      return validateCSINode(object as CSINode, previous as CSINode | undefined);
    case resources.volumeattachments.plural:
      return validateVolumeAttachment(object as VolumeAttachment, previous as VolumeAttachment | undefined);
    case resources.storageclasses.plural:
      return validateStorageClass(object as StorageClass, previous as StorageClass | undefined);
    case resources.leases.plural:
      return validateLease(object as Lease);
    case resources.events.plural:
      return validateEvent(object as Event);
    case resources.persistentvolumes.plural:
      return validatePersistentVolume(object as PersistentVolume, previous as PersistentVolume | undefined);
    case resources.persistentvolumeclaims.plural:
      return validatePersistentVolumeClaim(
        object as PersistentVolumeClaim,
        previous as PersistentVolumeClaim | undefined,
      );
    case resources.certificatesigningrequests.plural:
      return validateSigningRequest(
        object as CertificateSigningRequest,
        previous as CertificateSigningRequest | undefined,
        subresource,
      );
    case resources.clustertrustbundles.plural:
      return validateClusterTrustBundle(object as ClusterTrustBundle, previous as ClusterTrustBundle | undefined);
    case resources.serviceaccounts.plural:
      return imagePullSecretErrors((object as ServiceAccount).imagePullSecrets, 'imagePullSecrets');
    default:
      return [];
  }
}
