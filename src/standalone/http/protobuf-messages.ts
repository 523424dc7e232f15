/**
 * The bodies that kubectl 1.32 and later sends in protobuf (its `create` and `auth` commands use typed clients): field
 * numbers from the generated.proto files of k8s.io/api and k8s.io/apimachinery.
 *
 * One message a line: `Name number:field:type …`. Types: string, int (0 is absent), int? (a pointer: 0 counts), bool,
 * bytes (base64 in JSON), time, intOrString, another message; [type] repeated, <type> a map from strings.
 */
export const protobufMessages = `
ObjectMeta 1:name:string 2:generateName:string 3:namespace:string 5:uid:string 6:resourceVersion:string 11:labels:<string> 12:annotations:<string> 13:ownerReferences:[OwnerReference] 14:finalizers:[string]
OwnerReference 1:kind:string 3:name:string 4:uid:string 5:apiVersion:string 6:controller:bool 7:blockOwnerDeletion:bool
ObjectReference 1:kind:string 2:namespace:string 3:name:string 4:uid:string 5:apiVersion:string 6:resourceVersion:string 7:fieldPath:string
LocalObjectReference 1:name:string
Preconditions 1:uid:string 2:resourceVersion:string
DeleteOptions 1:gracePeriodSeconds:int? 2:preconditions:Preconditions 3:orphanDependents:bool 4:propagationPolicy:string 5:dryRun:[string]
ConfigMap 1:metadata:ObjectMeta 2:data:<string> 3:binaryData:<bytes> 4:immutable:bool
Secret 1:metadata:ObjectMeta 2:data:<bytes> 3:type:string 4:stringData:<string> 5:immutable:bool
Namespace 1:metadata:ObjectMeta 2:spec:NamespaceSpec
NamespaceSpec 1:finalizers:[string]
ServiceAccount 1:metadata:ObjectMeta 2:secrets:[ObjectReference] 3:imagePullSecrets:[LocalObjectReference] 4:automountServiceAccountToken:bool
Service 1:metadata:ObjectMeta 2:spec:ServiceSpec
ServiceSpec 1:ports:[ServicePort] 2:selector:<string> 3:clusterIP:string 4:type:string 5:externalIPs:[string] 7:sessionAffinity:string 8:loadBalancerIP:string 9:loadBalancerSourceRanges:[string] 10:externalName:string 11:externalTrafficPolicy:string 12:healthCheckNodePort:int 13:publishNotReadyAddresses:bool 14:sessionAffinityConfig:SessionAffinityConfig 17:ipFamilyPolicy:string 18:clusterIPs:[string] 19:ipFamilies:[string] 20:allocateLoadBalancerNodePorts:bool 21:loadBalancerClass:string 22:internalTrafficPolicy:string 23:trafficDistribution:string
SessionAffinityConfig 1:clientIP:ClientIPConfig
ClientIPConfig 1:timeoutSeconds:int?
ServicePort 1:name:string 2:protocol:string 3:port:int 4:targetPort:intOrString 5:nodePort:int 6:appProtocol:string
PriorityClass 1:metadata:ObjectMeta 2:value:int 3:globalDefault:bool 4:description:string 5:preemptionPolicy:string
ServiceCIDR 1:metadata:ObjectMeta 2:spec:ServiceCIDRSpec
ServiceCIDRSpec 1:cidrs:[string]
RuntimeClass 1:metadata:ObjectMeta 2:handler:string
CertificateSigningRequest 1:metadata:ObjectMeta 2:spec:CertificateSigningRequestSpec 3:status:CertificateSigningRequestStatus
CertificateSigningRequestSpec 1:request:bytes 2:username:string 3:uid:string 4:groups:[string] 5:usages:[string] 7:signerName:string 8:expirationSeconds:int?
CertificateSigningRequestStatus 1:conditions:[CertificateSigningRequestCondition] 2:certificate:bytes
CertificateSigningRequestCondition 1:type:string 2:reason:string 3:message:string 4:lastUpdateTime:time 5:lastTransitionTime:time 6:status:string
Binding 1:metadata:ObjectMeta 2:target:ObjectReference
Eviction 1:metadata:ObjectMeta 2:deleteOptions:DeleteOptions
TokenRequest 1:metadata:ObjectMeta 2:spec:TokenRequestSpec
TokenRequestSpec 1:audiences:[string] 3:boundObjectRef:BoundObjectReference 4:expirationSeconds:int?
BoundObjectReference 1:kind:string 2:apiVersion:string 3:name:string 4:uid:string
TokenReview 1:metadata:ObjectMeta 2:spec:TokenReviewSpec
TokenReviewSpec 1:token:string 2:audiences:[string]
SelfSubjectReview 1:metadata:ObjectMeta
SelfSubjectAccessReview 1:metadata:ObjectMeta 2:spec:AccessSpec
LocalSubjectAccessReview 1:metadata:ObjectMeta 2:spec:AccessSpec
SubjectAccessReview 1:metadata:ObjectMeta 2:spec:AccessSpec
AccessSpec 1:resourceAttributes:ResourceAttributes 2:nonResourceAttributes:NonResourceAttributes 3:user:string 4:groups:[string] 6:uid:string
ResourceAttributes 1:namespace:string 2:verb:string 3:group:string 4:version:string 5:resource:string 6:subresource:string 7:name:string
NonResourceAttributes 1:path:string 2:verb:string
SelfSubjectRulesReview 1:metadata:ObjectMeta 2:spec:RulesSpec
RulesSpec 1:namespace:string
`;
