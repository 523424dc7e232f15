/** core/v1 Pod and what it is made of, but for its volumes. */
export const podDefinitions = `
@io.k8s.api.core.v1
Pod { apiVersion:string; kind:string; metadata:ObjectMeta; spec:PodSpec; status:PodStatus }
PodSpec {
  volumes:[Volume] patch=name keys=name
  initContainers:[Container] patch=name keys=name
  containers!:[Container] patch=name keys=name
  ephemeralContainers:[EphemeralContainer] patch=name keys=name
  restartPolicy:string(Always|OnFailure|Never)
  terminationGracePeriodSeconds:int64; activeDeadlineSeconds:int64
  dnsPolicy:string(ClusterFirstWithHostNet|ClusterFirst|Default|None)
  nodeSelector:<string> atomic
  serviceAccountName:string; serviceAccount:string; automountServiceAccountToken:boolean; nodeName:string
  hostNetwork:boolean; hostPID:boolean; hostIPC:boolean; hostUsers:boolean; shareProcessNamespace:boolean
  securityContext:PodSecurityContext
  imagePullSecrets:[LocalObjectReference] patch=name keys=name
  hostname:string; subdomain:string; setHostnameAsFQDN:boolean; hostnameOverride:string
  affinity:Affinity; schedulerName:string
  tolerations:[Toleration]
  hostAliases:[HostAlias] patch=ip keys=ip
  priorityClassName:string; priority:int32; preemptionPolicy:string(PreemptLowerPriority|Never)
  dnsConfig:PodDNSConfig
  readinessGates:[PodReadinessGate]
  runtimeClassName:string; enableServiceLinks:boolean; overhead:<quantity>
  topologySpreadConstraints:[TopologySpreadConstraint] patch=topologyKey keys=topologyKey,whenUnsatisfiable
  os:PodOS
  schedulingGates:[PodSchedulingGate] patch=name keys=name
  resourceClaims:[PodResourceClaim] patch=name keys=name
  resources:ResourceRequirements
  schedulingGroup:PodSchedulingGroup
  workloadRef:WorkloadReference
}
WorkloadReference { name!:string; podGroup!:string; podGroupReplicaKey:string }
PodSchedulingGroup { podGroupName:string }
PodOS { name!:string(linux|windows) }
PodSchedulingGate { name!:string }
PodReadinessGate { conditionType!:string }
PodResourceClaim retainKeys { name!:string; resourceClaimName:string; resourceClaimTemplateName:string }
HostAlias { ip!:string; hostnames:[string] }
PodDNSConfig { nameservers:[string]; searches:[string]; options:[PodDNSConfigOption] }
PodDNSConfigOption { name:string; value:string }
LocalObjectReference atomic { name:string = }
ObjectReference atomic {
  kind:string; namespace:string; name:string; uid:string; apiVersion:string; resourceVersion:string; fieldPath:string
}
Toleration {
  key:string; operator:string(Exists|Equal|Lt|Gt); value:string; effect:string(NoSchedule|PreferNoSchedule|NoExecute)
  tolerationSeconds:int64
}
TopologySpreadConstraint {
  maxSkew!:int32; topologyKey!:string; whenUnsatisfiable!:string(DoNotSchedule|ScheduleAnyway)
  labelSelector:LabelSelector; minDomains:int32; nodeAffinityPolicy:string(Honor|Ignore)
  nodeTaintsPolicy:string(Honor|Ignore); matchLabelKeys:[string]
}

Affinity { nodeAffinity:NodeAffinity; podAffinity:PodAffinity; podAntiAffinity:PodAntiAffinity }
NodeAffinity {
  requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
  preferredDuringSchedulingIgnoredDuringExecution:[PreferredSchedulingTerm]
}
PodAffinity {
  requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm]
  preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm]
}
PodAntiAffinity {
  requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm]
  preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm]
}
PreferredSchedulingTerm { weight!:int32; preference!:NodeSelectorTerm }
WeightedPodAffinityTerm { weight!:int32; podAffinityTerm!:PodAffinityTerm }
PodAffinityTerm {
  labelSelector:LabelSelector; namespaces:[string]; topologyKey!:string; namespaceSelector:LabelSelector
  matchLabelKeys:[string]; mismatchLabelKeys:[string]
}
NodeSelector atomic { nodeSelectorTerms!:[NodeSelectorTerm] }
NodeSelectorTerm atomic { matchExpressions:[NodeSelectorRequirement]; matchFields:[NodeSelectorRequirement] }
NodeSelectorRequirement { key!:string; operator!:string(In|NotIn|Exists|DoesNotExist|Gt|Lt); values:[string] }

PodSecurityContext {
  seLinuxOptions:SELinuxOptions; windowsOptions:WindowsSecurityContextOptions
  runAsUser:int64; runAsGroup:int64; runAsNonRoot:boolean
  supplementalGroups:[int64]; supplementalGroupsPolicy:string(Merge|Strict)
  fsGroup:int64; fsGroupChangePolicy:string(OnRootMismatch|Always)
  sysctls:[Sysctl]
  seccompProfile:SeccompProfile; appArmorProfile:AppArmorProfile; seLinuxChangePolicy:string(MountOption|Recursive)
}
SecurityContext {
  capabilities:Capabilities; privileged:boolean
  seLinuxOptions:SELinuxOptions; windowsOptions:WindowsSecurityContextOptions
  runAsUser:int64; runAsGroup:int64; runAsNonRoot:boolean; readOnlyRootFilesystem:boolean
  allowPrivilegeEscalation:boolean; procMount:string(Default|Unmasked)
  seccompProfile:SeccompProfile; appArmorProfile:AppArmorProfile
}
Capabilities { add:[string]; drop:[string] }
Sysctl { name!:string; value!:string }
SeccompProfile { type!:string(Localhost|RuntimeDefault|Unconfined); localhostProfile:string }
AppArmorProfile { type!:string(Localhost|RuntimeDefault|Unconfined); localhostProfile:string }
SELinuxOptions { user:string; role:string; type:string; level:string }
WindowsSecurityContextOptions {
  gmsaCredentialSpecName:string; gmsaCredentialSpec:string; runAsUserName:string; hostProcess:boolean
}

Container {
  name!:string; image:string; command:[string]; args:[string]; workingDir:string
  ports:[ContainerPort] patch=containerPort keys=containerPort,protocol
  envFrom:[EnvFromSource]
  env:[EnvVar] patch=name keys=name
  resources:ResourceRequirements
  resizePolicy:[ContainerResizePolicy]
  restartPolicy:string(Always|OnFailure|Never); restartPolicyRules:[ContainerRestartRule]
  volumeMounts:[VolumeMount] patch=mountPath keys=mountPath
  volumeDevices:[VolumeDevice] patch=devicePath keys=devicePath
  livenessProbe:Probe; readinessProbe:Probe; startupProbe:Probe
  lifecycle:Lifecycle
  terminationMessagePath:string; terminationMessagePolicy:string(File|FallbackToLogsOnError)
  imagePullPolicy:string(Always|IfNotPresent|Never)
  securityContext:SecurityContext
  stdin:boolean; stdinOnce:boolean; tty:boolean
}
EphemeralContainer { ...Container; targetContainerName:string }
ContainerPort {
  name:string; hostPort:int32; containerPort!:int32; protocol:string(TCP|UDP|SCTP) =TCP; hostIP:string
}
EnvVar { name!:string; value:string; valueFrom:EnvVarSource }
EnvVarSource {
  fieldRef:ObjectFieldSelector; resourceFieldRef:ResourceFieldSelector; configMapKeyRef:ConfigMapKeySelector
  secretKeyRef:SecretKeySelector; fileKeyRef:FileKeySelector
}
ObjectFieldSelector atomic { apiVersion:string; fieldPath!:string }
ResourceFieldSelector atomic { containerName:string; resource!:string; divisor:quantity }
ConfigMapKeySelector atomic { name:string = ; key!:string; optional:boolean }
SecretKeySelector atomic { name:string = ; key!:string; optional:boolean }
FileKeySelector atomic { volumeName!:string; path!:string; key!:string; optional:boolean }
EnvFromSource { prefix:string; configMapRef:ConfigMapEnvSource; secretRef:SecretEnvSource }
ConfigMapEnvSource { name:string = ; optional:boolean }
SecretEnvSource { name:string = ; optional:boolean }
ResourceRequirements { limits:<quantity>; requests:<quantity>; claims:[ResourceClaim] keys=name }
ResourceClaim { name!:string; request:string }
ContainerResizePolicy { resourceName!:string; restartPolicy!:string(NotRequired|RestartContainer) }
ContainerRestartRule { action!:string(Restart|RestartAllContainers); exitCodes:ContainerRestartRuleOnExitCodes }
ContainerRestartRuleOnExitCodes { operator!:string(In|NotIn); values:[int32] set }
VolumeMount {
  name!:string; readOnly:boolean; recursiveReadOnly:string(Disabled|IfPossible|Enabled); mountPath!:string
  subPath:string; mountPropagation:string(None|HostToContainer|Bidirectional); subPathExpr:string
}
VolumeDevice { name!:string; devicePath!:string }
Probe {
  exec:ExecAction; httpGet:HTTPGetAction; tcpSocket:TCPSocketAction; grpc:GRPCAction
  initialDelaySeconds:int32; timeoutSeconds:int32; periodSeconds:int32; successThreshold:int32
  failureThreshold:int32; terminationGracePeriodSeconds:int64
}
Lifecycle { postStart:LifecycleHandler; preStop:LifecycleHandler; stopSignal:string }
LifecycleHandler { exec:ExecAction; httpGet:HTTPGetAction; tcpSocket:TCPSocketAction; sleep:SleepAction }
ExecAction { command:[string] }
HTTPGetAction {
  path:string; port!:intOrString; host:string; scheme:string(HTTP|HTTPS); httpHeaders:[HTTPHeader]
}
HTTPHeader { name!:string; value!:string }
TCPSocketAction { port!:intOrString; host:string }
GRPCAction { port!:int32; service:string = }
SleepAction { seconds!:int64 }

PodStatus {
  observedGeneration:int64; phase:string
  conditions:[PodCondition] patch=type keys=type
  message:string; reason:string; nominatedNodeName:string
  hostIP:string; hostIPs:[HostIP] patch=ip; podIP:string; podIPs:[PodIP] patch=ip keys=ip
  startTime:time
  initContainerStatuses:[ContainerStatus]; containerStatuses:[ContainerStatus]
  qosClass:string
  ephemeralContainerStatuses:[ContainerStatus]
  resize:string
  resourceClaimStatuses:[PodResourceClaimStatus] patch=name keys=name
  extendedResourceClaimStatus:PodExtendedResourceClaimStatus
  nodeAllocatableResourceClaimStatuses:[NodeAllocatableResourceClaimStatus]
  allocatedResources:<quantity>; resources:ResourceRequirements
}
PodCondition {
  type!:string; status!:string; observedGeneration:int64; lastProbeTime:time; lastTransitionTime:time
  reason:string; message:string
}
HostIP { ip!:string }
PodIP { ip!:string }
ContainerStatus {
  name!:string; state:ContainerState; lastState:ContainerState; ready!:boolean; restartCount!:int32
  image!:string; imageID!:string; containerID:string; started:boolean
  allocatedResources:<quantity>; resources:ResourceRequirements
  volumeMounts:[VolumeMountStatus] patch=mountPath keys=mountPath
  user:ContainerUser
  allocatedResourcesStatus:[ResourceStatus] patch=name keys=name
  stopSignal:string
}
ContainerState {
  waiting:ContainerStateWaiting; running:ContainerStateRunning; terminated:ContainerStateTerminated
}
ContainerStateWaiting { reason:string; message:string }
ContainerStateRunning { startedAt:time }
ContainerStateTerminated {
  exitCode!:int32; signal:int32; reason:string; message:string; startedAt:time; finishedAt:time; containerID:string
}
VolumeMountStatus {
  name!:string; mountPath!:string; readOnly:boolean; recursiveReadOnly:string; volumeStatus:VolumeStatus
}
VolumeStatus { image:ImageVolumeStatus }
ImageVolumeStatus { imageRef!:string }
ContainerUser { linux:LinuxContainerUser }
LinuxContainerUser { uid!:int64; gid!:int64; supplementalGroups:[int64] }
ResourceStatus { name!:string; resources:[ResourceHealth] keys=resourceID }
ResourceHealth { resourceID!:string; health:string; message:string }
PodResourceClaimStatus retainKeys { name!:string; resourceClaimName:string }
PodExtendedResourceClaimStatus { requestMappings!:[ContainerExtendedResourceRequest]; resourceClaimName!:string }
ContainerExtendedResourceRequest { containerName!:string; resourceName!:string; requestName!:string }
NodeAllocatableResourceClaimStatus { resourceClaimName!:string; containers:[string] set; resources!:<quantity> }
`;
