/** The served kinds that are neither pods nor volumes. */
export const objectDefinitions = `
@io.k8s.api.core.v1
Namespace { apiVersion:string; kind:string; metadata:ObjectMeta; spec:NamespaceSpec; status:NamespaceStatus }
NamespaceSpec { finalizers:[string] }
NamespaceStatus { phase:string; conditions:[NamespaceCondition] patch=type keys=type }
NamespaceCondition { type!:string; status!:string; lastTransitionTime:time; reason:string; message:string }

Node { apiVersion:string; kind:string; metadata:ObjectMeta; spec:NodeSpec; status:NodeStatus }
NodeSpec {
  podCIDR:string; podCIDRs:[string] patch set; providerID:string; unschedulable:boolean; taints:[Taint]
  configSource:NodeConfigSource; externalID:string
}
Taint { key!:string; value:string; effect!:string(NoSchedule|PreferNoSchedule|NoExecute); timeAdded:time }
NodeConfigSource { configMap:ConfigMapNodeConfigSource }
ConfigMapNodeConfigSource {
  namespace!:string; name!:string; uid:string; resourceVersion:string; kubeletConfigKey!:string
}
NodeStatus {
  capacity:<quantity>; allocatable:<quantity>; phase:string
  conditions:[NodeCondition] patch=type keys=type
  addresses:[NodeAddress] patch=type keys=type
  daemonEndpoints:NodeDaemonEndpoints; nodeInfo:NodeSystemInfo; images:[ContainerImage]; volumesInUse:[string]
  volumesAttached:[AttachedVolume]; config:NodeConfigStatus; runtimeHandlers:[NodeRuntimeHandler]
  features:NodeFeatures; declaredFeatures:[string]
}
NodeCondition {
  type!:string; status!:string; lastHeartbeatTime:time; lastTransitionTime:time; reason:string; message:string
}
NodeAddress { type!:string; address!:string }
NodeDaemonEndpoints { kubeletEndpoint:DaemonEndpoint }
DaemonEndpoint { Port!:int32 }
NodeSystemInfo {
  machineID!:string; systemUUID!:string; bootID!:string; kernelVersion!:string; osImage!:string
  containerRuntimeVersion!:string; kubeletVersion!:string; kubeProxyVersion!:string; operatingSystem!:string
  architecture!:string; swap:NodeSwapStatus
}
NodeSwapStatus { capacity:int64 }
ContainerImage { names:[string]; sizeBytes:int64 }
AttachedVolume { name!:string; devicePath!:string }
NodeConfigStatus { assigned:NodeConfigSource; active:NodeConfigSource; lastKnownGood:NodeConfigSource; error:string }
NodeRuntimeHandler { name:string; features:NodeRuntimeHandlerFeatures }
NodeRuntimeHandlerFeatures { recursiveReadOnlyMounts:boolean; userNamespaces:boolean }
NodeFeatures { supplementalGroupsPolicy:boolean }

Service { apiVersion:string; kind:string; metadata:ObjectMeta; spec:ServiceSpec; status:ServiceStatus }
ServiceSpec {
  ports:[ServicePort] patch=port keys=port,protocol
  selector:<string> atomic
  clusterIP:string; clusterIPs:[string]; type:string(ClusterIP|NodePort|LoadBalancer|ExternalName); externalIPs:[string]
  sessionAffinity:string(ClientIP|None); loadBalancerIP:string; loadBalancerSourceRanges:[string]; externalName:string
  externalTrafficPolicy:string(Cluster|Local); healthCheckNodePort:int32; publishNotReadyAddresses:boolean
  sessionAffinityConfig:SessionAffinityConfig; ipFamilies:[string(IPv4|IPv6)]
  ipFamilyPolicy:string(SingleStack|PreferDualStack|RequireDualStack); allocateLoadBalancerNodePorts:boolean
  loadBalancerClass:string; internalTrafficPolicy:string(Cluster|Local)
  trafficDistribution:string(PreferClose|PreferSameZone|PreferSameNode)
}
ServicePort {
  name:string; protocol:string(TCP|UDP|SCTP) =TCP; appProtocol:string; port!:int32; targetPort:intOrString
  nodePort:int32
}
SessionAffinityConfig { clientIP:ClientIPConfig }
ClientIPConfig { timeoutSeconds:int32 }
ServiceStatus { loadBalancer:LoadBalancerStatus; conditions:[Condition] patch=type keys=type }
LoadBalancerStatus { ingress:[LoadBalancerIngress] }
LoadBalancerIngress { ip:string; hostname:string; ipMode:string(VIP|Proxy); ports:[PortStatus] }
PortStatus { port!:int32; protocol!:string; error:string }

ConfigMap {
  apiVersion:string; kind:string; metadata:ObjectMeta; immutable:boolean; data:<string>; binaryData:<bytes>
}
Secret {
  apiVersion:string; kind:string; metadata:ObjectMeta; immutable:boolean; data:<bytes>; stringData:<string>; type:string
}
ServiceAccount {
  apiVersion:string; kind:string; metadata:ObjectMeta
  secrets:[ObjectReference] patch=name keys=name
  imagePullSecrets:[LocalObjectReference]; automountServiceAccountToken:boolean
}
Event {
  apiVersion:string; kind:string; metadata!:ObjectMeta; involvedObject!:ObjectReference; reason:string; message:string
  source:EventSource; firstTimestamp:time; lastTimestamp:time; count:int32; type:string; eventTime:microTime
  series:EventSeries; action:string; related:ObjectReference; reportingComponent:string; reportingInstance:string
}
EventSource { component:string; host:string }
EventSeries { count:int32; lastObservedTime:microTime }

@io.k8s.api.discovery.v1
EndpointSlice {
  apiVersion:string; kind:string; metadata:ObjectMeta; addressType!:string(IPv4|IPv6|FQDN); endpoints:[Endpoint]
  ports:[EndpointPort]
}
Endpoint {
  addresses!:[string] set; conditions:EndpointConditions; hostname:string; targetRef:ObjectReference
  deprecatedTopology:<string>; nodeName:string; zone:string; hints:EndpointHints
}
EndpointConditions { ready:boolean; serving:boolean; terminating:boolean }
EndpointHints { forZones:[ForZone]; forNodes:[ForNode] }
ForZone { name!:string }
ForNode { name!:string }
EndpointPort atomic { name:string; protocol:string(TCP|UDP|SCTP); port:int32; appProtocol:string }

@io.k8s.api.coordination.v1
Lease { apiVersion:string; kind:string; metadata:ObjectMeta; spec:LeaseSpec }
LeaseSpec {
  holderIdentity:string; leaseDurationSeconds:int32; acquireTime:microTime; renewTime:microTime; leaseTransitions:int32
  strategy:string; preferredHolder:string
}

@io.k8s.api.certificates.v1
CertificateSigningRequest {
  apiVersion:string; kind:string; metadata:ObjectMeta; spec!:CertificateSigningRequestSpec
  status:CertificateSigningRequestStatus
}
CertificateSigningRequestSpec {
  request!:bytes; signerName!:string; expirationSeconds:int32; usages:[string]; username:string; uid:string
  groups:[string]; extra:<any>
}
CertificateSigningRequestStatus {
  conditions:[CertificateSigningRequestCondition] patch=type keys=type
  certificate:bytes
}
CertificateSigningRequestCondition {
  type!:string; status!:string; reason:string; message:string; lastUpdateTime:time; lastTransitionTime:time
}

@io.k8s.api.certificates.v1beta1
ClusterTrustBundle { apiVersion:string; kind:string; metadata:ObjectMeta; spec!:ClusterTrustBundleSpec }
ClusterTrustBundleSpec { signerName:string; trustBundle!:string }

@io.k8s.api.networking.v1
ServiceCIDR { apiVersion:string; kind:string; metadata:ObjectMeta; spec:ServiceCIDRSpec; status:ServiceCIDRStatus }
ServiceCIDRSpec { cidrs:[string] }
ServiceCIDRStatus { conditions:[Condition] patch=type keys=type }

@io.k8s.api.scheduling.v1
PriorityClass {
  apiVersion:string; kind:string; metadata:ObjectMeta; value!:int32; globalDefault:boolean; description:string
  preemptionPolicy:string(PreemptLowerPriority|Never)
}

@io.k8s.api.node.v1
RuntimeClass {
  apiVersion:string; kind:string; metadata:ObjectMeta; handler!:string; overhead:Overhead; scheduling:Scheduling
}
Overhead { podFixed:<quantity> }
Scheduling { nodeSelector:<string> atomic; tolerations:[Toleration] atomic }

@io.k8s.api.authentication.v1
TokenRequest {
  apiVersion:string; kind:string; metadata:ObjectMeta; spec!:TokenRequestSpec; status:TokenRequestStatus
}
TokenRequestSpec { audiences!:[string]; expirationSeconds:int64; boundObjectRef:BoundObjectReference }
BoundObjectReference { kind:string; apiVersion:string; name:string; uid:string }
TokenRequestStatus { token!:string; expirationTimestamp!:time }

@io.k8s.api.policy.v1
Eviction { apiVersion:string; kind:string; metadata:ObjectMeta; deleteOptions:DeleteOptions }
`;
