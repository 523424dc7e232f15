import type * as wire from './generated/requests.js';
import type {
  AuthConfig,
  ContainerConfig,
  ContainerSecurity,
  IdMapping,
  LinuxResources,
  ListFilter,
  Mount,
  NamespaceMode,
  NamespaceOptions,
  PodSandboxConfig,
  PortMapping,
  SecurityProfileConfig,
} from './port.ts';

// The enums' numbers on the wire (proto/cri).
const NAMESPACE_MODE: Readonly<Record<NamespaceMode, number>> = { POD: 0, CONTAINER: 1, NODE: 2, TARGET: 3 };
const PROTOCOL: Readonly<Record<PortMapping['protocol'], number>> = { TCP: 0, UDP: 1, SCTP: 2 };
const PROFILE: Readonly<Record<SecurityProfileConfig['type'], number>> = {
  RuntimeDefault: 0,
  Unconfined: 1,
  Localhost: 2,
};
const PROPAGATION: Readonly<Record<Mount['propagation'], number>> = {
  PRIVATE: 0,
  HOST_TO_CONTAINER: 1,
  BIDIRECTIONAL: 2,
};
const GROUPS_POLICY = { Merge: 0, Strict: 1 } as const;

export function sandboxConfigToWire(config: PodSandboxConfig): wire.PodSandboxConfig {
  const { linux } = config;
  return {
    metadata: config.metadata,
    hostname: config.hostname,
    logDirectory: config.logDirectory,
    dnsConfig: config.dnsConfig,
    portMappings: config.portMappings.map((mapping) => ({ ...mapping, protocol: PROTOCOL[mapping.protocol] })),
    labels: config.labels,
    annotations: config.annotations,
    linux: {
      cgroupParent: linux.cgroupParent,
      securityContext: {
        namespaceOptions: namespacesToWire(linux.namespaceOptions),
        selinuxOptions: linux.selinuxOptions,
        runAsUser: wrapped(linux.runAsUser),
        runAsGroup: wrapped(linux.runAsGroup),
        readonlyRootfs: linux.readonlyRootfs,
        supplementalGroups: linux.supplementalGroups ?? [],
        supplementalGroupsPolicy: groupsPolicy(linux.supplementalGroupsPolicy),
        privileged: linux.privileged,
        seccomp: profileToWire(linux.seccomp),
        apparmor: profileToWire(linux.apparmor),
      },
      sysctls: linux.sysctls ?? {},
      overhead: linux.overhead && resourcesToWire(linux.overhead),
      resources: linux.resources && resourcesToWire(linux.resources),
    },
  };
}

export function containerConfigToWire(config: ContainerConfig): wire.ContainerConfig {
  return {
    metadata: config.metadata,
    image: { image: config.image, userSpecifiedImage: config.userSpecifiedImage },
    command: config.command,
    args: config.args,
    workingDir: config.workingDir,
    envs: config.envs,
    mounts: config.mounts.map((mount) => ({
      containerPath: mount.containerPath,
      hostPath: mount.hostPath,
      readonly: mount.readonly,
      selinuxRelabel: mount.selinuxRelabel,
      propagation: PROPAGATION[mount.propagation],
      recursiveReadOnly: mount.recursiveReadOnly,
      image: mount.image,
      imageSubPath: mount.imageSubPath,
      ...(mount.idMapping === undefined ? {} : { uidMappings: [mount.idMapping], gidMappings: [mount.idMapping] }),
    })),
    devices: config.devices,
    CDIDevices: (config.cdiDevices ?? []).map((name) => ({ name })),
    labels: config.labels,
    annotations: config.annotations,
    logPath: config.logPath,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    linux: { resources: resourcesToWire(config.resources), securityContext: securityToWire(config.security) },
  };
}

export function resourcesToWire(resources: LinuxResources): wire.LinuxContainerResources {
  const { unified, ...rest } = resources;
  return unified === undefined ? rest : { ...rest, unified };
}

export function authToWire(auth: AuthConfig): wire.AuthConfig {
  return { ...auth };
}

export function containerFilterToWire(filter: ListFilter): wire.ContainerFilter {
  return { id: filter.id, podSandboxId: filter.podSandboxId, labelSelector: filter.labels ?? {} };
}

export function sandboxFilterToWire(filter: ListFilter): wire.PodSandboxFilter {
  return { id: filter.id ?? filter.podSandboxId, labelSelector: filter.labels ?? {} };
}

function securityToWire(security: ContainerSecurity): wire.LinuxContainerSecurityContext {
  return {
    capabilities: { addCapabilities: security.addCapabilities, dropCapabilities: security.dropCapabilities },
    privileged: security.privileged,
    namespaceOptions: namespacesToWire(security.namespaceOptions),
    selinuxOptions: security.selinuxOptions,
    runAsUser: wrapped(security.runAsUser),
    runAsUsername: security.runAsUsername,
    runAsGroup: wrapped(security.runAsGroup),
    readonlyRootfs: security.readonlyRootfs,
    supplementalGroups: security.supplementalGroups,
    supplementalGroupsPolicy: groupsPolicy(security.supplementalGroupsPolicy),
    noNewPrivs: security.noNewPrivs,
    maskedPaths: security.maskedPaths,
    readonlyPaths: security.readonlyPaths,
    seccomp: profileToWire(security.seccomp),
    apparmor: profileToWire(security.apparmor),
  };
}

function namespacesToWire(options: NamespaceOptions): wire.NamespaceOption {
  return {
    network: NAMESPACE_MODE[options.network],
    pid: NAMESPACE_MODE[options.pid],
    ipc: NAMESPACE_MODE[options.ipc],
    targetId: options.targetId,
    ...(options.userMapping === undefined ? {} : { usernsOptions: userNamespaceToWire(options.userMapping) }),
  };
}

function userNamespaceToWire(mapping: IdMapping): wire.UserNamespace {
  return { mode: NAMESPACE_MODE.POD, uids: [mapping], gids: [mapping] };
}

function profileToWire(profile: SecurityProfileConfig | undefined): wire.SecurityProfile | undefined {
  return profile && { profileType: PROFILE[profile.type], localhostRef: profile.localhostRef };
}

function groupsPolicy(policy: 'Merge' | 'Strict' | undefined): number | undefined {
  return policy && GROUPS_POLICY[policy];
}

function wrapped(value: number | undefined): wire.Int64Value | undefined {
  return value === undefined ? undefined : { value };
}
