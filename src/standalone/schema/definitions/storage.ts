/** storage.k8s.io: CSI drivers, what nodes have of them, attachments and storage classes. */
export const storageDefinitions = `
@io.k8s.api.storage.v1
CSIDriver { apiVersion:string; kind:string; metadata:ObjectMeta; spec!:CSIDriverSpec }
CSIDriverSpec {
  attachRequired:boolean; podInfoOnMount:boolean; volumeLifecycleModes:[string] set; storageCapacity:boolean
  fsGroupPolicy:string(ReadWriteOnceWithFSType|File|None); tokenRequests:[StorageTokenRequest] atomic
  requiresRepublish:boolean; seLinuxMount:boolean; nodeAllocatableUpdatePeriodSeconds:int64
  serviceAccountTokenInSecrets:boolean; preventPodSchedulingIfMissing:boolean
}
StorageTokenRequest { audience!:string; expirationSeconds:int64 }
CSINode { apiVersion:string; kind:string; metadata:ObjectMeta; spec!:CSINodeSpec }
CSINodeSpec { drivers!:[CSINodeDriver] patch=name keys=name }
CSINodeDriver { name!:string; nodeID!:string; topologyKeys:[string] atomic; allocatable:VolumeNodeResources }
VolumeNodeResources { count:int32 }
VolumeAttachment {
  apiVersion:string; kind:string; metadata:ObjectMeta; spec!:VolumeAttachmentSpec; status:VolumeAttachmentStatus
}
VolumeAttachmentSpec { attacher!:string; source!:VolumeAttachmentSource; nodeName!:string }
VolumeAttachmentSource { persistentVolumeName:string; inlineVolumeSpec:PersistentVolumeSpec }
VolumeAttachmentStatus {
  attached!:boolean; attachmentMetadata:<string>; attachError:VolumeError; detachError:VolumeError
}
VolumeError { time:time; message:string; errorCode:int32 }
StorageClass {
  apiVersion:string; kind:string; metadata:ObjectMeta; provisioner!:string; parameters:<string>
  reclaimPolicy:string(Delete|Recycle|Retain); mountOptions:[string] atomic; allowVolumeExpansion:boolean
  volumeBindingMode:string(Immediate|WaitForFirstConsumer); allowedTopologies:[TopologySelectorTerm] atomic
}
TopologySelectorTerm atomic { matchLabelExpressions:[TopologySelectorLabelRequirement] atomic }
TopologySelectorLabelRequirement { key!:string; values!:[string] atomic }
`;
