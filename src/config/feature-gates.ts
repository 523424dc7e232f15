import { nearMiss } from '../kit/near-miss.ts';

type Stage = 'ALPHA' | 'BETA' | 'GA' | 'DEPRECATED';

interface Gate {
  readonly stage: Stage;
  readonly on: boolean;
  /** Cannot be set to anything else any more. */
  readonly locked: boolean;
}

/**
 * Every gate that kubelet and kube-proxy 1.36 know: the 225 of pkg/features/kube_features.go (with those that it takes
 * over from the API server), and those that client-go, component-base and controller-manager add.
 */
const GATES: readonly (Gate & { readonly names: string })[] = [
  {
    stage: 'ALPHA',
    on: false,
    locked: false,
    names: `
      APIServingWithRoutine AllowUnsafeMalformedObjectDeletion CBORServingAndStorage
      CPUManagerPolicyAlphaOptions CRIListStreaming CSIVolumeHealth ClientsAllowCBOR ClientsPreferCBOR
      CloudControllerManagerWatchBasedRoutesReconciliation CloudControllerManagerWebhook ContainerStopSignals
      ControllerManagerReleaseLeaderElectionLockOnExit CrossNamespaceVolumeDataSource DRAListTypeAttributes DRANodeAllocatableResources DRAResourcePoolStatus
      DRAWorkloadResourceClaims EventedPLEG GangScheduling GenericWorkload HPAScaleToZero ImageVolumeWithDigest
      InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory KubeletInUserNamespace
      LoggingAlphaOptions ManifestBasedAdmissionControlConfig MemoryQoS MutablePVNodeAffinity NativeHistograms
      PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI PodLevelResourceManagers
      PodLogsQuerySplitStreams PodsAPI QOSReserved ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi
      ShardedListAndWatch StorageCapacityScoring StorageVersionAPI TaintTolerationComparisonOperators
      TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions UserNamespacesHostNetworkSupport
      VolumeLimitScaling WindowsCPUAndMemoryAffinity WorkloadAwarePreemption WorkloadWithJob`,
  },
  {
    stage: 'BETA',
    on: false,
    locked: false,
    names: `
      ClusterTrustBundle ClusterTrustBundleProjection ConcurrentWatchObjectDecode CoordinatedLeaderElection
      DRADeviceTaintRules LocalStorageCapacityIsolationFSQuotaMonitoring MaxUnavailableStatefulSet
      PodCertificateRequest SELinuxMount SchedulerAsyncAPICalls StorageVersionMigrator`,
  },
  {
    stage: 'BETA',
    on: true,
    locked: false,
    names: `
      APIResponseCompression APIServerIdentity AllowParsingUserUIDFromCertAuth AtomicFIFO
      AuthorizePodWebsocketUpgradeCreatePermission CPUManagerPolicyBetaOptions CRDObservedGenerationTracking
      ClearingNominatedNodeNameAfterBinding ClientsAllowCARotation ClientsAllowTLSCacheGC ComponentFlagz
      ComponentStatusz ConstrainedImpersonation ContainerCheckpoint ContainerRestartRules ContextualLogging
      DRAConsumableCapacity DRADeviceBindingConditions DRADeviceTaints DRAExtendedResource
      DRAPartitionableDevices DRAResourceClaimDeviceStatus DRAResourceClaimGranularStatusAuthorization
      DRASchedulerFilterTimeout DeclarativeValidationBeta DeploymentReplicaSetTerminatingReplicas
      DetectCacheInconsistency EnvFiles ExtendWebSocketsToKubelet GracefulNodeShutdown
      GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance HostnameOverride
      InOrderInformersBatchProcess InPlacePodLevelResourcesVerticalScaling
      InPlacePodVerticalScalingInitContainers KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
      KubeletSeparateDiskGC KubeletServiceAccountTokenForCredentialProviders ListFromCacheSnapshot
      LoggingBetaOptions MatchLabelKeysInPodTopologySpread MatchLabelKeysInPodTopologySpreadSelectorMerge
      MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs NodeDeclaredFeatures
      NominatedNodeNameForExpectation OpenAPIEnums OpportunisticBatching PLEGOnDemandRelist PodDeletionCost
      PodLevelResources PodReadyToStartContainersCondition PodTopologyLabelsAdmission PortForwardWebsockets
      PreventStaticPodAPIReferences RelaxedServiceNameValidation ReloadKubeletClientCAFile
      ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResourceHealthStatus ResourceHealthStatusMessage
      RestartAllContainersOnContainerExits RotateKubeletServerCertificate SchedulerAsyncPreemption
      SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction SizeBasedListCostEstimate
      StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
      StaleControllerConsistencyStatefulSet StatefulSetSemanticRevisionComparison StorageVersionHash
      StrictIPCIDRValidation StructuredAuthenticationConfigurationEgressSelector
      StructuredAuthenticationConfigurationJWKSMetrics TokenRequestServiceAccountUIDValidation
      TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests UnauthenticatedHTTP2DOSMitigation
      UnknownVersionInteroperabilityProxy UnlockWhileProcessingFIFO WatchCacheInitializationPostStartHook
      WatchList WatchListClient WindowsGracefulNodeShutdown`,
  },
  {
    stage: 'DEPRECATED',
    on: false,
    locked: false,
    names: `
      AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests ChangeContainerStatusOnKubeletRestart
      DeclarativeValidationTakeover KMSv1 KubeletRegistrationGetOnExistsOnly WindowsHostNetwork`,
  },
  {
    stage: 'DEPRECATED',
    on: false,
    locked: true,
    names: `
      AllowOverwriteTerminationGracePeriodSeconds GitRepoVolumeDriver SeparateCacheWatchRPC`,
  },
  {
    stage: 'DEPRECATED',
    on: true,
    locked: false,
    names: `
      DisableCPUQuotaWithExclusiveCPUs KubeletPodResourcesListUseActivePods ServiceCIDRStatusFieldWiping
      StorageNamespaceIndex`,
  },
  {
    stage: 'DEPRECATED',
    on: true,
    locked: true,
    names: `
      AggregatedDiscoveryRemoveBetaType DisableNodeKubeProxyVersion`,
  },
  {
    stage: 'GA',
    on: true,
    locked: false,
    names: `
      AllowServiceExternalIPs CustomCPUCFSQuotaPeriod DRAPrioritizedList InformerResourceVersion
      MutatingAdmissionPolicy`,
  },
  {
    stage: 'GA',
    on: true,
    locked: true,
    names: `
      APIServerTracing AnonymousAuthConfigurableEndpoints AnyVolumeDataSource AuthorizeNodeWithSelectors
      AuthorizeWithSelectors BtreeWatchCache CPUManagerPolicyOptions CRDValidationRatcheting
      CSIServiceAccountTokenSecrets ConsistentListFromCache CustomResourceFieldSelectors DRAAdminAccess
      DeclarativeValidation DisableAllocatorDualWrite DynamicResourceAllocation ExecProbeTimeout
      ExternalServiceAccountTokenSigner ImageMaximumGCAge ImageVolume InOrderInformers InPlacePodVerticalScaling
      JobBackoffLimitPerIndex JobManagedBy JobPodReplacementPolicy JobSuccessPolicy KubeletCgroupDriverFromCRI
      KubeletFineGrainedAuthz KubeletPSI KubeletPodResourcesDynamicResources KubeletPodResourcesGet
      KubeletTracing LogarithmicScaleDown MatchLabelKeysInPodAffinity MultiCIDRServiceAllocator
      MutableCSINodeAllocatableCount NFTablesProxyMode NodeInclusionPolicyInPodTopologySpread NodeLogQuery
      NodeSwap OrderedNamespaceDeletion PodLifecycleSleepAction PodLifecycleSleepActionAllowZero
      PodObservedGenerationTracking PodSchedulingReadiness PreferSameTrafficDistribution ProcMountType
      RecoverVolumeExpansionFailure RecursiveReadOnlyMounts RelaxedDNSSearchValidation
      RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization RetryGenerateName
      SELinuxChangePolicy SELinuxMountReadWriteOncePod SchedulerQueueingHints SeparateTaintEvictionController
      ServiceAccountTokenJTI ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation
      ServiceAccountTokenPodNodeInfo SidecarContainers StreamingCollectionEncodingToJSON
      StreamingCollectionEncodingToProtobuf StructuredAuthenticationConfiguration SupplementalGroupsPolicy
      SystemdWatchdog TopologyManagerPolicyOptions UserNamespacesSupport VolumeAttributesClass WinDSR WinOverlay`,
  },
];

/** GATE<NEEDED+NEEDED: kube_features.go defaultKubernetesFeatureGateDependencies. */
const DEPENDENCIES = `
  StorageVersionAPI<APIServerIdentity UnknownVersionInteroperabilityProxy<APIServerIdentity
  StaleControllerConsistencyDaemonSet<AtomicFIFO StaleControllerConsistencyJob<AtomicFIFO
  StaleControllerConsistencyReplicaSet<AtomicFIFO StaleControllerConsistencyStatefulSet<AtomicFIFO
  PodCertificateRequest<AuthorizeNodeWithSelectors AuthorizeNodeWithSelectors<AuthorizeWithSelectors
  ClusterTrustBundleProjection<ClusterTrustBundle
  RestartAllContainersOnContainerExits<ContainerRestartRules+NodeDeclaredFeatures
  DRADeviceTaintRules<DRADeviceTaints DeclarativeValidationBeta<DeclarativeValidation
  DeclarativeValidationTakeover<DeclarativeValidation DRAAdminAccess<DynamicResourceAllocation
  DRAConsumableCapacity<DynamicResourceAllocation DRADeviceTaints<DynamicResourceAllocation
  DRAExtendedResource<DynamicResourceAllocation DRAListTypeAttributes<DynamicResourceAllocation
  DRANodeAllocatableResources<DynamicResourceAllocation DRAPartitionableDevices<DynamicResourceAllocation
  DRAPrioritizedList<DynamicResourceAllocation DRAResourcePoolStatus<DynamicResourceAllocation
  DRASchedulerFilterTimeout<DynamicResourceAllocation ResourceHealthStatus<DynamicResourceAllocation
  DRADeviceBindingConditions<DynamicResourceAllocation+DRAResourceClaimDeviceStatus
  DRAResourceClaimGranularStatusAuthorization<DynamicResourceAllocation+DRAResourceClaimDeviceStatus
  DRAWorkloadResourceClaims<DynamicResourceAllocation+GenericWorkload WorkloadAwarePreemption<GangScheduling
  GangScheduling<GenericWorkload TopologyAwareWorkloadScheduling<GenericWorkload WorkloadWithJob<GenericWorkload
  GracefulNodeShutdownBasedOnPodPriority<GracefulNodeShutdown WindowsGracefulNodeShutdown<GracefulNodeShutdown
  ImageVolumeWithDigest<ImageVolume InPlacePodVerticalScalingExclusiveCPUs<InPlacePodVerticalScaling
  InPlacePodVerticalScalingExclusiveMemory<InPlacePodVerticalScaling
  InPlacePodVerticalScalingInitContainers<InPlacePodVerticalScaling+NodeDeclaredFeatures
  InPlacePodLevelResourcesVerticalScaling<InPlacePodVerticalScaling+PodLevelResources+NodeDeclaredFeatures
  MatchLabelKeysInPodTopologySpreadSelectorMerge<MatchLabelKeysInPodTopologySpread
  DisableAllocatorDualWrite<MultiCIDRServiceAllocator ExtendWebSocketsToKubelet<NodeDeclaredFeatures
  PodLevelResourceManagers<PodLevelResources PodLifecycleSleepActionAllowZero<PodLifecycleSleepAction
  ResourceHealthStatusMessage<ResourceHealthStatus
  ServiceAccountTokenNodeBinding<ServiceAccountTokenNodeBindingValidation
  StructuredAuthenticationConfigurationEgressSelector<StructuredAuthenticationConfiguration
  StructuredAuthenticationConfigurationJWKSMetrics<StructuredAuthenticationConfiguration
  ProcMountType<UserNamespacesSupport UserNamespacesHostNetworkSupport<UserNamespacesSupport+NodeDeclaredFeatures`;

/** Gates that decide something in deckhand; of the others it is only known what they are. */
const FOLLOWED: ReadonlySet<string> = new Set([
  'CSIVolumeHealth',
  'CPUManagerPolicyAlphaOptions',
  'CPUManagerPolicyBetaOptions',
  'ClusterTrustBundle',
  'ClusterTrustBundleProjection',
  'CustomCPUCFSQuotaPeriod',
  'DisableCPUQuotaWithExclusiveCPUs',
  'ExtendWebSocketsToKubelet',
  'InPlacePodLevelResourcesVerticalScaling',
  'InPlacePodVerticalScalingInitContainers',
  'KubeletCrashLoopBackOffMax',
  'MemoryQoS',
  'NodeDeclaredFeatures',
  'QOSReserved',
  'RestartAllContainersOnContainerExits',
  'RotateKubeletServerCertificate',
]);
const GROUPS: Readonly<Record<string, Stage>> = { AllAlpha: 'ALPHA', AllBeta: 'BETA' };

export interface GateFinding {
  readonly level: 'error' | 'warning';
  readonly gate: string;
  readonly message: string;
}

/** Which features are on, after what was set (component-base featuregate). */
export class FeatureGates {
  readonly findings: readonly GateFinding[];
  private readonly known: ReadonlyMap<string, Gate>;
  private readonly set: ReadonlyMap<string, boolean>;

  constructor(set: Readonly<Record<string, boolean>>) {
    this.known = knownGates();
    const findings: GateFinding[] = [];
    const found = (level: GateFinding['level'], gate: string, message: string): void => {
      findings.push({ level, gate, message });
    };
    const values = new Map<string, boolean>();
    for (const [gate, on] of Object.entries(set)) {
      const group = GROUPS[gate];
      const spec = this.known.get(gate);
      if (group !== undefined) {
        if (on !== (group === 'BETA')) found('warning', gate, `is ${on}; deckhand follows few gates, and only those`);
        for (const [name, { stage }] of this.known) {
          if (stage === group && set[name] === undefined) values.set(name, on);
        }
      } else if (spec === undefined) {
        const meant = nearMiss(gate, [...this.known.keys(), ...Object.keys(GROUPS)]);
        const hint = meant === undefined ? 'expected a gate of Kubernetes 1.36' : `did you mean ${meant}?`;
        found('error', gate, `unrecognized feature gate: ${gate}; ${hint}`);
      } else if (spec.locked && spec.on !== on) {
        found('error', gate, `cannot set feature gate ${gate} to ${on}, feature is locked to ${spec.on}`);
      } else {
        values.set(gate, on);
        if (on !== spec.on && !FOLLOWED.has(gate)) {
          found('warning', gate, `is ${on}, but this gate of stage ${spec.stage} changes nothing in deckhand`);
        }
      }
    }
    this.set = values;
    for (const [gate, needed] of dependencies()) {
      const off = needed.filter((other) => !this.enabled(other));
      // A gate that only a group turned on is no mistake of anyone's.
      if (set[gate] === undefined && !needed.some((other) => set[other] !== undefined)) continue;
      if (off.length > 0 && this.enabled(gate)) {
        found('error', gate, `is enabled, but depends on features that are disabled: [${off.join(' ')}]`);
      }
    }
    this.findings = findings;
  }

  /** Unknown gates are off. */
  enabled(gate: string): boolean {
    return this.set.get(gate) ?? this.known.get(gate)?.on ?? false;
  }
}

/** All gates by name. */
export function knownGates(): ReadonlyMap<string, Gate> {
  return new Map(
    GATES.flatMap(({ names, stage, on, locked }) =>
      names
        .trim()
        .split(/\s+/)
        .map((name): [string, Gate] => [name, { stage, on, locked }]),
    ),
  );
}

function dependencies(): readonly (readonly [string, readonly string[]])[] {
  return DEPENDENCIES.trim()
    .split(/\s+/)
    .map((entry) => {
      const [gate = '', needed = ''] = entry.split('<');
      return [gate, needed.split('+')];
    });
}
