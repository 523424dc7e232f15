/** core/v1 volume sources of pods and of PersistentVolumes; drivers long gone are known so that old manifests parse. */
export const volumeDefinitions = `
@io.k8s.api.core.v1
Volume retainKeys {
  name!:string
  hostPath:HostPathVolumeSource; emptyDir:EmptyDirVolumeSource; gcePersistentDisk:GCEPersistentDiskVolumeSource
  awsElasticBlockStore:AWSElasticBlockStoreVolumeSource; gitRepo:GitRepoVolumeSource; secret:SecretVolumeSource
  nfs:NFSVolumeSource; iscsi:ISCSIVolumeSource; glusterfs:GlusterfsVolumeSource
  persistentVolumeClaim:PersistentVolumeClaimVolumeSource; rbd:RBDVolumeSource; flexVolume:FlexVolumeSource
  cinder:CinderVolumeSource; cephfs:CephFSVolumeSource; flocker:FlockerVolumeSource
  downwardAPI:DownwardAPIVolumeSource; fc:FCVolumeSource; azureFile:AzureFileVolumeSource
  configMap:ConfigMapVolumeSource; vsphereVolume:VsphereVirtualDiskVolumeSource; quobyte:QuobyteVolumeSource
  azureDisk:AzureDiskVolumeSource; photonPersistentDisk:PhotonPersistentDiskVolumeSource
  projected:ProjectedVolumeSource; portworxVolume:PortworxVolumeSource; scaleIO:ScaleIOVolumeSource
  storageos:StorageOSVolumeSource; csi:CSIVolumeSource; ephemeral:EphemeralVolumeSource; image:ImageVolumeSource
}
HostPathVolumeSource {
  path!:string; type:string(|DirectoryOrCreate|Directory|FileOrCreate|File|Socket|CharDevice|BlockDevice)
}
EmptyDirVolumeSource { medium:string; sizeLimit:quantity }
SecretVolumeSource { secretName:string; items:[KeyToPath]; defaultMode:int32; optional:boolean }
ConfigMapVolumeSource { name:string = ; items:[KeyToPath]; defaultMode:int32; optional:boolean }
DownwardAPIVolumeSource { items:[DownwardAPIVolumeFile]; defaultMode:int32 }
DownwardAPIVolumeFile {
  path!:string; fieldRef:ObjectFieldSelector; resourceFieldRef:ResourceFieldSelector; mode:int32
}
KeyToPath { key!:string; path!:string; mode:int32 }
ProjectedVolumeSource { sources:[VolumeProjection]; defaultMode:int32 }
VolumeProjection {
  secret:SecretProjection; downwardAPI:DownwardAPIProjection; configMap:ConfigMapProjection
  serviceAccountToken:ServiceAccountTokenProjection; clusterTrustBundle:ClusterTrustBundleProjection
  podCertificate:PodCertificateProjection
}
SecretProjection { name:string = ; items:[KeyToPath]; optional:boolean }
ConfigMapProjection { name:string = ; items:[KeyToPath]; optional:boolean }
DownwardAPIProjection { items:[DownwardAPIVolumeFile] }
ServiceAccountTokenProjection { audience:string; expirationSeconds:int64; path!:string }
ClusterTrustBundleProjection {
  name:string; signerName:string; labelSelector:LabelSelector; optional:boolean; path!:string
}
PodCertificateProjection {
  signerName!:string; keyType!:string; maxExpirationSeconds:int32; credentialBundlePath:string; keyPath:string
  certificateChainPath:string; userAnnotations:<string>
}
PersistentVolumeClaimVolumeSource { claimName!:string; readOnly:boolean }
EphemeralVolumeSource { volumeClaimTemplate:PersistentVolumeClaimTemplate }
PersistentVolumeClaimTemplate { metadata:ObjectMeta; spec!:PersistentVolumeClaimSpec }
ImageVolumeSource { reference:string; pullPolicy:string(Always|IfNotPresent|Never) }
CSIVolumeSource {
  driver!:string; readOnly:boolean; fsType:string; volumeAttributes:<string>; nodePublishSecretRef:LocalObjectReference
}
NFSVolumeSource { server!:string; path!:string; readOnly:boolean }
ISCSIVolumeSource {
  targetPortal!:string; iqn!:string; lun!:int32; iscsiInterface:string; fsType:string; readOnly:boolean
  portals:[string]; chapAuthDiscovery:boolean; chapAuthSession:boolean; secretRef:LocalObjectReference
  initiatorName:string
}
GCEPersistentDiskVolumeSource { pdName!:string; fsType:string; partition:int32; readOnly:boolean }
AWSElasticBlockStoreVolumeSource { volumeID!:string; fsType:string; partition:int32; readOnly:boolean }
GitRepoVolumeSource { repository!:string; revision:string; directory:string }
GlusterfsVolumeSource { endpoints!:string; path!:string; readOnly:boolean }
RBDVolumeSource {
  monitors!:[string]; image!:string; fsType:string; pool:string; user:string; keyring:string
  secretRef:LocalObjectReference; readOnly:boolean
}
FlexVolumeSource {
  driver!:string; fsType:string; secretRef:LocalObjectReference; readOnly:boolean; options:<string>
}
CinderVolumeSource { volumeID!:string; fsType:string; readOnly:boolean; secretRef:LocalObjectReference }
CephFSVolumeSource {
  monitors!:[string]; path:string; user:string; secretFile:string; secretRef:LocalObjectReference; readOnly:boolean
}
FlockerVolumeSource { datasetName:string; datasetUUID:string }
FCVolumeSource { targetWWNs:[string]; lun:int32; fsType:string; readOnly:boolean; wwids:[string] }
AzureFileVolumeSource { secretName!:string; shareName!:string; readOnly:boolean }
AzureDiskVolumeSource {
  diskName!:string; diskURI!:string; cachingMode:string; fsType:string; readOnly:boolean; kind:string
}
VsphereVirtualDiskVolumeSource { volumePath!:string; fsType:string; storagePolicyName:string; storagePolicyID:string }
QuobyteVolumeSource {
  registry!:string; volume!:string; readOnly:boolean; user:string; group:string; tenant:string
}
PhotonPersistentDiskVolumeSource { pdID!:string; fsType:string }
PortworxVolumeSource { volumeID!:string; fsType:string; readOnly:boolean }
ScaleIOVolumeSource {
  gateway!:string; system!:string; secretRef!:LocalObjectReference; sslEnabled:boolean; protectionDomain:string
  storagePool:string; storageMode:string; volumeName:string; fsType:string; readOnly:boolean
}
StorageOSVolumeSource {
  volumeName:string; volumeNamespace:string; fsType:string; readOnly:boolean; secretRef:LocalObjectReference
}

PersistentVolume {
  apiVersion:string; kind:string; metadata:ObjectMeta; spec:PersistentVolumeSpec; status:PersistentVolumeStatus
}
PersistentVolumeSpec {
  capacity:<quantity>
  hostPath:HostPathVolumeSource; local:LocalVolumeSource; nfs:NFSVolumeSource; csi:CSIPersistentVolumeSource
  gcePersistentDisk:GCEPersistentDiskVolumeSource; awsElasticBlockStore:AWSElasticBlockStoreVolumeSource
  glusterfs:GlusterfsPersistentVolumeSource; rbd:RBDPersistentVolumeSource; iscsi:ISCSIPersistentVolumeSource
  cinder:CinderPersistentVolumeSource; cephfs:CephFSPersistentVolumeSource; fc:FCVolumeSource
  flocker:FlockerVolumeSource; flexVolume:FlexPersistentVolumeSource; azureFile:AzureFilePersistentVolumeSource
  vsphereVolume:VsphereVirtualDiskVolumeSource; quobyte:QuobyteVolumeSource; azureDisk:AzureDiskVolumeSource
  photonPersistentDisk:PhotonPersistentDiskVolumeSource; portworxVolume:PortworxVolumeSource
  scaleIO:ScaleIOPersistentVolumeSource; storageos:StorageOSPersistentVolumeSource
  accessModes:[string(ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod)]
  claimRef:ObjectReference granular
  persistentVolumeReclaimPolicy:string(Retain|Recycle|Delete)
  storageClassName:string; mountOptions:[string]; volumeMode:string(Block|Filesystem); nodeAffinity:VolumeNodeAffinity
  volumeAttributesClassName:string
}
PersistentVolumeStatus { phase:string; message:string; reason:string; lastPhaseTransitionTime:time }
VolumeNodeAffinity { required:NodeSelector }
LocalVolumeSource { path!:string; fsType:string }
SecretReference atomic { name:string; namespace:string }
CSIPersistentVolumeSource {
  driver!:string; volumeHandle!:string; readOnly:boolean; fsType:string; volumeAttributes:<string>
  controllerPublishSecretRef:SecretReference; nodeStageSecretRef:SecretReference; nodePublishSecretRef:SecretReference
  controllerExpandSecretRef:SecretReference; nodeExpandSecretRef:SecretReference
}
GlusterfsPersistentVolumeSource { endpoints!:string; path!:string; readOnly:boolean; endpointsNamespace:string }
RBDPersistentVolumeSource {
  monitors!:[string]; image!:string; fsType:string; pool:string; user:string; keyring:string
  secretRef:SecretReference; readOnly:boolean
}
ISCSIPersistentVolumeSource {
  targetPortal!:string; iqn!:string; lun!:int32; iscsiInterface:string; fsType:string; readOnly:boolean
  portals:[string]; chapAuthDiscovery:boolean; chapAuthSession:boolean; secretRef:SecretReference
  initiatorName:string
}
CinderPersistentVolumeSource { volumeID!:string; fsType:string; readOnly:boolean; secretRef:SecretReference }
CephFSPersistentVolumeSource {
  monitors!:[string]; path:string; user:string; secretFile:string; secretRef:SecretReference; readOnly:boolean
}
FlexPersistentVolumeSource {
  driver!:string; fsType:string; secretRef:SecretReference; readOnly:boolean; options:<string>
}
AzureFilePersistentVolumeSource { secretName!:string; shareName!:string; readOnly:boolean; secretNamespace:string }
ScaleIOPersistentVolumeSource {
  gateway!:string; system!:string; secretRef!:SecretReference; sslEnabled:boolean; protectionDomain:string
  storagePool:string; storageMode:string; volumeName:string; fsType:string; readOnly:boolean
}
StorageOSPersistentVolumeSource {
  volumeName:string; volumeNamespace:string; fsType:string; readOnly:boolean; secretRef:ObjectReference
}

PersistentVolumeClaim {
  apiVersion:string; kind:string; metadata:ObjectMeta; spec:PersistentVolumeClaimSpec; status:PersistentVolumeClaimStatus
}
PersistentVolumeClaimSpec {
  accessModes:[string(ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod)]; selector:LabelSelector
  resources:VolumeResourceRequirements; volumeName:string; storageClassName:string; volumeMode:string(Block|Filesystem)
  dataSource:TypedLocalObjectReference; dataSourceRef:TypedObjectReference; volumeAttributesClassName:string
}
VolumeResourceRequirements { limits:<quantity>; requests:<quantity> }
TypedLocalObjectReference atomic { apiGroup:string; kind!:string; name!:string }
TypedObjectReference { apiGroup:string; kind!:string; name!:string; namespace:string }
PersistentVolumeClaimStatus {
  phase:string; accessModes:[string]; capacity:<quantity>
  conditions:[PersistentVolumeClaimCondition] patch=type keys=type
  allocatedResources:<quantity>; allocatedResourceStatuses:<string>; currentVolumeAttributesClassName:string
  modifyVolumeStatus:ModifyVolumeStatus
}
PersistentVolumeClaimCondition {
  type!:string; status!:string; lastProbeTime:time; lastTransitionTime:time; reason:string; message:string
}
ModifyVolumeStatus { targetVolumeAttributesClassName:string; status!:string }
`;
