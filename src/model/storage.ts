import type { KubeObject } from './meta.ts';

/** storage.k8s.io/v1: what a cluster says of a CSI driver. Without one, a driver's volumes are attached and persistent. */
export interface CSIDriver extends KubeObject {
  spec: {
    /** Default: true. */
    attachRequired?: boolean;
    podInfoOnMount?: boolean;
    volumeLifecycleModes?: VolumeLifecycleMode[];
    fsGroupPolicy?: FSGroupPolicy;
    tokenRequests?: { audience: string; expirationSeconds?: number }[];
    /** The volume is published again now and then, so that what it holds can be renewed. */
    requiresRepublish?: boolean;
    storageCapacity?: boolean;
    seLinuxMount?: boolean;
    serviceAccountTokenInSecrets?: boolean;
    nodeAllocatableUpdatePeriodSeconds?: number;
  };
}

export type VolumeLifecycleMode = 'Persistent' | 'Ephemeral';
export type FSGroupPolicy = 'ReadWriteOnceWithFSType' | 'File' | 'None';

/** storage.k8s.io/v1: which CSI drivers a node has. */
export interface CSINode extends KubeObject {
  spec: { drivers: CSINodeDriver[] };
}

export interface CSINodeDriver {
  name: string;
  nodeID: string;
  topologyKeys?: string[] | null;
  allocatable?: { count?: number };
}

/** storage.k8s.io/v1: the wish that a volume be attached to a node, and how far it is. */
export interface VolumeAttachment extends KubeObject {
  spec: { attacher: string; nodeName: string; source: { persistentVolumeName?: string } };
  status?: {
    attached: boolean;
    attachmentMetadata?: Record<string, string>;
    attachError?: { message?: string; errorCode?: number };
  };
}

/** PersistentVolume.spec.csi. */
export interface CSIPersistentVolumeSource {
  driver: string;
  volumeHandle: string;
  readOnly?: boolean;
  fsType?: string;
  volumeAttributes?: Record<string, string>;
  nodeStageSecretRef?: SecretReference;
  nodePublishSecretRef?: SecretReference;
  nodeExpandSecretRef?: SecretReference;
}

/** A pod's own volume of a CSI driver. */
export interface CSIVolumeSource {
  driver: string;
  readOnly?: boolean;
  fsType?: string;
  volumeAttributes?: Record<string, string>;
  nodePublishSecretRef?: { name?: string };
}

export interface SecretReference {
  name?: string;
  namespace?: string;
}

/** storage.k8s.io/v1. */
export interface StorageClass extends KubeObject {
  provisioner: string;
  parameters?: Record<string, string>;
  reclaimPolicy?: string;
  volumeBindingMode?: string;
  allowVolumeExpansion?: boolean;
}

/** What a PersistentVolumeClaim's status says of its resizing. */
export interface ClaimResizeStatus {
  conditions?: { type: string; status: string; lastTransitionTime?: string; message?: string }[];
  allocatedResources?: Record<string, string | number>;
  /** By resource: how far its resizing is, such as NodeResizePending. */
  allocatedResourceStatuses?: Record<string, string>;
}
