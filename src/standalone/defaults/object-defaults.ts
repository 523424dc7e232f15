import type { KubeObject } from '../../model/meta.ts';
import type { Node } from '../../model/node.ts';
import type { Namespace, PersistentVolume, PersistentVolumeClaim, PriorityClass, Secret } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { EndpointSlice, Service } from '../../model/service.ts';
import type { CSIDriver, StorageClass } from '../../model/storage.ts';
import { applyPodDefaults } from './pod-defaults.ts';
import { applyEndpointSliceDefaults, applyServiceDefaults } from './service-defaults.ts';
import { applyCSIDriverDefaults, applyStorageClassDefaults } from './storage-defaults.ts';

/** By plural; kinds that are absent have no defaults. */
const DEFAULTS: Readonly<Record<string, (object: KubeObject) => void>> = {
  [resources.pods.plural]: (object) => applyPodDefaults(object as Pod),
  [resources.services.plural]: (object) => applyServiceDefaults(object as Service),
  [resources.endpointslices.plural]: (object) => applyEndpointSliceDefaults(object as EndpointSlice),
  [resources.namespaces.plural]: (object) => applyNamespaceDefaults(object as Namespace),
  [resources.secrets.plural]: (object) => applySecretDefaults(object as Secret),
  [resources.nodes.plural]: (object) => applyNodeDefaults(object as Node),
  [resources.persistentvolumes.plural]: (object) => applyVolumeDefaults(object as PersistentVolume),
  [resources.persistentvolumeclaims.plural]: (object) => applyClaimDefaults(object as PersistentVolumeClaim),
  [resources.csidrivers.plural]: (object) => applyCSIDriverDefaults(object as CSIDriver),
  [resources.storageclasses.plural]: (object) => applyStorageClassDefaults(object as StorageClass),
  [resources.priorityclasses.plural]: (object) => {
    (object as PriorityClass).preemptionPolicy ||= 'PreemptLowerPriority';
    (object as PriorityClass).value ??= 0;
  },
};

/** Fills the defaults of any served kind in place; `object` has been normalized. */
export function applyDefaults(type: ResourceType, object: KubeObject): void {
  DEFAULTS[type.plural]?.(object);
}

// Namespace selectors find a namespace by its name through this label (KEP-2161).
function applyNamespaceDefaults(namespace: Namespace): void {
  const { metadata } = namespace;
  if (metadata.name === undefined || metadata.name === '') return;
  metadata.labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name };
}

/** stringData is for writing only: it ends up in data, over what is there. */
function applySecretDefaults(secret: Secret): void {
  secret.type ||= 'Opaque';
  for (const [key, text] of Object.entries(secret.data ?? {})) {
    if (secret.data !== undefined && /[\r\n]/.test(text)) secret.data[key] = text.replace(/[\r\n]/g, '');
  }
  if (secret.stringData === undefined) return;
  secret.data = { ...secret.data };
  for (const [key, text] of Object.entries(secret.stringData)) {
    secret.data[key] = Buffer.from(text, 'utf8').toString('base64');
  }
  delete secret.stringData;
}

function applyNodeDefaults(node: Node): void {
  node.spec ??= {};
  if (node.status?.capacity !== undefined) node.status.allocatable ??= { ...node.status.capacity };
}

function applyVolumeDefaults(volume: PersistentVolume): void {
  const spec = volume.spec ?? {};
  volume.spec = spec;
  spec.persistentVolumeReclaimPolicy ||= 'Retain';
  spec.volumeMode ||= 'Filesystem';
  if (spec.hostPath !== undefined) spec.hostPath.type ??= '';
  volume.status ??= {};
  volume.status.phase ||= 'Pending';
}

function applyClaimDefaults(claim: PersistentVolumeClaim): void {
  claim.spec ??= {};
  claim.spec.volumeMode ||= 'Filesystem';
  claim.status ??= {};
  claim.status.phase ||= 'Pending';
}
