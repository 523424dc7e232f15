/** apimachinery's shared shapes. For the notation see ../parse-definitions.ts. */
export const metaDefinitions = `
@io.k8s.apimachinery.pkg.apis.meta.v1
ObjectMeta {
  name:string; generateName:string; namespace:string; selfLink:string; uid:string; resourceVersion:string
  generation:int64; creationTimestamp:time; deletionTimestamp:time; deletionGracePeriodSeconds:int64
  labels:<string>; annotations:<string>
  ownerReferences:[OwnerReference] patch=uid keys=uid
  finalizers:[string] patch set
  managedFields:[ManagedFieldsEntry]
}
OwnerReference atomic {
  apiVersion!:string; kind!:string; name!:string; uid!:string; controller:boolean; blockOwnerDeletion:boolean
}
ManagedFieldsEntry {
  manager:string; operation:string; apiVersion:string; time:time; fieldsType:string; fieldsV1:json; subresource:string
}
ListMeta { selfLink:string; resourceVersion:string; continue:string; remainingItemCount:int64 }
LabelSelector atomic { matchLabels:<string>; matchExpressions:[LabelSelectorRequirement] }
LabelSelectorRequirement { key!:string; operator!:string(In|NotIn|Exists|DoesNotExist); values:[string] }
Condition {
  type!:string; status!:string(True|False|Unknown); observedGeneration:int64; lastTransitionTime!:time
  reason!:string; message!:string
}
Preconditions { uid:string; resourceVersion:string }
DeleteOptions {
  apiVersion:string; kind:string; gracePeriodSeconds:int64; preconditions:Preconditions; orphanDependents:boolean
  propagationPolicy:string; dryRun:[string]; ignoreStoreReadErrorWithClusterBreakingPotential:boolean
}
Status {
  apiVersion:string; kind:string; metadata:ListMeta; status:string; message:string; reason:string
  details:StatusDetails; code:int32
}
StatusDetails {
  name:string; group:string; kind:string; uid:string; causes:[StatusCause]; retryAfterSeconds:int32
}
StatusCause { reason:string; message:string; field:string }
`;
