import type Long from 'long';
import { CodedError } from '../../kit/errors.ts';
import type * as wire from './generated/responses.js';
import type {
  Container,
  ContainerStateName,
  ContainerStats,
  ContainerStatus,
  CpuUsage,
  FilesystemUsage,
  Image,
  LinuxResources,
  MemoryUsage,
  Mount,
  NamespaceMode,
  NamespaceOptions,
  PodSandbox,
  PodSandboxMetadata,
  PodSandboxStats,
  PodSandboxStatus,
  RuntimeEvent,
  RuntimeStatus,
} from './port.ts';

// By their numbers on the wire (proto/cri).
const CONTAINER_STATE: readonly ContainerStateName[] = ['CREATED', 'RUNNING', 'EXITED', 'UNKNOWN'];
const NAMESPACE_MODE: readonly NamespaceMode[] = ['POD', 'CONTAINER', 'NODE', 'TARGET'];
const PROPAGATION: readonly Mount['propagation'][] = ['PRIVATE', 'HOST_TO_CONTAINER', 'BIDIRECTIONAL'];
const EVENT_TYPE: readonly RuntimeEvent['type'][] = ['created', 'started', 'stopped', 'deleted'];
const SANDBOX_READY = 0;
const CGROUP_DRIVER_SYSTEMD = 0;

/** Nanoseconds since the epoch → milliseconds, with the fraction that a double holds (a quarter of a microsecond). */
export function msFromNanos(nanos: Long | number): number {
  return (typeof nanos === 'number' ? nanos : nanos.toNumber()) / 1e6;
}

// protobufjs reads 64 bits as Long, but leaves plain zero where a default stands in.
function number(value: Long | number): number {
  return typeof value === 'number' ? value : value.toNumber();
}

function unwrapped(value: { readonly value: Long | number } | null): number | undefined {
  return value === null ? undefined : number(value.value);
}

/** An answer without the part that it is about is the runtime's fault, and no reason to crash. */
export function required<T>(part: T | null | undefined, operation: string, subject: string): T {
  if (part !== null && part !== undefined) return part;
  throw new CodedError('Internal', `${operation} ${subject}: the runtime's answer is empty`, { operation, subject });
}

export function sandboxFromWire(sandbox: wire.PodSandbox): PodSandbox {
  return {
    id: sandbox.id,
    metadata: sandboxMetadata(sandbox.metadata),
    state: sandbox.state === SANDBOX_READY ? 'READY' : 'NOTREADY',
    createdAt: msFromNanos(sandbox.createdAt),
    labels: sandbox.labels,
    annotations: sandbox.annotations,
    runtimeHandler: sandbox.runtimeHandler,
  };
}

export function sandboxStatusFromWire(status: wire.PodSandboxStatus): PodSandboxStatus {
  const { network } = status;
  const ips = network === null ? [] : [network.ip, ...network.additionalIps.map((more) => more.ip)];
  return {
    id: status.id,
    metadata: sandboxMetadata(status.metadata),
    state: status.state === SANDBOX_READY ? 'READY' : 'NOTREADY',
    createdAt: msFromNanos(status.createdAt),
    labels: status.labels,
    annotations: status.annotations,
    runtimeHandler: status.runtimeHandler,
    ips: ips.filter((ip) => ip !== ''),
    namespaceOptions: namespaces(status.linux?.namespaces?.options ?? null),
  };
}

export function containerFromWire(container: wire.Container): Container {
  return {
    id: container.id,
    podSandboxId: container.podSandboxId,
    metadata: containerMetadata(container.metadata),
    image: container.image?.image ?? '',
    imageRef: container.imageRef,
    ...(container.imageId === '' ? {} : { imageId: container.imageId }),
    state: CONTAINER_STATE[container.state] ?? 'UNKNOWN',
    createdAt: msFromNanos(container.createdAt),
    labels: container.labels,
    annotations: container.annotations,
  };
}

export function containerStatusFromWire(status: wire.ContainerStatus): ContainerStatus {
  const linux = status.resources?.linux ?? null;
  const user = status.user?.linux ?? null;
  return {
    id: status.id,
    metadata: containerMetadata(status.metadata),
    state: CONTAINER_STATE[status.state] ?? 'UNKNOWN',
    createdAt: msFromNanos(status.createdAt),
    startedAt: msFromNanos(status.startedAt),
    finishedAt: msFromNanos(status.finishedAt),
    exitCode: status.exitCode,
    image: status.image?.image ?? '',
    imageRef: status.imageRef,
    ...(status.imageId === '' ? {} : { imageId: status.imageId }),
    reason: status.reason,
    message: status.message,
    labels: status.labels,
    annotations: status.annotations,
    mounts: status.mounts.map((mount) => ({
      containerPath: mount.containerPath,
      hostPath: mount.hostPath,
      readonly: mount.readonly,
      selinuxRelabel: mount.selinuxRelabel,
      propagation: PROPAGATION[mount.propagation] ?? 'PRIVATE',
      recursiveReadOnly: mount.recursiveReadOnly,
    })),
    logPath: status.logPath,
    ...(linux === null ? {} : { resources: resources(linux) }),
    ...(user === null
      ? {}
      : {
          user: {
            uid: number(user.uid),
            gid: number(user.gid),
            supplementalGroups: user.supplementalGroups.map(number),
          },
        }),
  };
}

/** containerd writes its CRI configuration, as JSON, into the verbose status; nothing else is promised of that text. */
export function sandboxImageFromWire(info: Readonly<Record<string, string>>): string | undefined {
  try {
    const config: unknown = JSON.parse(info['config'] ?? '');
    if (typeof config !== 'object' || config === null || !('sandboxImage' in config)) return undefined;
    return typeof config.sandboxImage === 'string' && config.sandboxImage !== '' ? config.sandboxImage : undefined;
  } catch {
    return undefined;
  }
}

export function runtimeStatusFromWire(response: wire.StatusResponse): RuntimeStatus {
  return {
    conditions: (response.status?.conditions ?? []).map(({ type, status, reason, message }) => ({
      type,
      status,
      reason,
      message,
    })),
    runtimeHandlers: response.runtimeHandlers.map((handler) => ({
      name: handler.name,
      recursiveReadOnlyMounts: handler.features?.recursiveReadOnlyMounts ?? false,
      userNamespaces: handler.features?.userNamespaces ?? false,
    })),
    supplementalGroupsPolicy: response.features?.supplementalGroupsPolicy,
  };
}

export function cgroupDriverFromWire(linux: wire.LinuxRuntimeConfiguration): 'cgroupfs' | 'systemd' {
  return linux.cgroupDriver === CGROUP_DRIVER_SYSTEMD ? 'systemd' : 'cgroupfs';
}

export function containerStatsFromWire(stats: wire.ContainerStats): ContainerStats {
  const { attributes, writableLayer } = stats;
  return {
    id: attributes?.id ?? '',
    metadata: containerMetadata(attributes?.metadata ?? null),
    labels: attributes?.labels ?? {},
    annotations: attributes?.annotations ?? {},
    ...usage(stats),
    ...(writableLayer === null ? {} : { writableLayer: filesystemFromWire(writableLayer) }),
  };
}

export function sandboxStatsFromWire(stats: wire.PodSandboxStats): PodSandboxStats {
  const { attributes, linux } = stats;
  const device = linux?.network?.defaultInterface ?? null;
  const processes = unwrapped(linux?.process?.processCount ?? null);
  return {
    id: attributes?.id ?? '',
    metadata: sandboxMetadata(attributes?.metadata ?? null),
    labels: attributes?.labels ?? {},
    ...(linux === null ? {} : usage(linux)),
    ...(device === null
      ? {}
      : {
          network: {
            interface: device.name,
            rxBytes: unwrapped(device.rxBytes) ?? 0,
            txBytes: unwrapped(device.txBytes) ?? 0,
          },
        }),
    ...(processes === undefined ? {} : { processCount: processes }),
  };
}

export function filesystemFromWire(usage: wire.FilesystemUsage): FilesystemUsage {
  return {
    atMs: msFromNanos(usage.timestamp),
    mountpoint: usage.fsId?.mountpoint ?? '',
    usedBytes: unwrapped(usage.usedBytes) ?? 0,
    inodesUsed: unwrapped(usage.inodesUsed) ?? 0,
  };
}

export function imageFromWire(image: wire.Image): Image {
  const uid = unwrapped(image.uid);
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    size: number(image.size),
    ...(uid === undefined ? {} : { uid }),
    username: image.username,
    pinned: image.pinned,
  };
}

/** undefined for a type that this version does not know. */
export function eventFromWire(event: wire.ContainerEventResponse): RuntimeEvent | undefined {
  const type = EVENT_TYPE[event.containerEventType];
  if (type === undefined || event.containerId === '') return undefined;
  const podUid = event.podSandboxStatus?.metadata?.uid ?? '';
  return { type, id: event.containerId, ...(podUid === '' ? {} : { podUid }), atMs: msFromNanos(event.createdAt) };
}

function sandboxMetadata(metadata: wire.PodSandboxMetadata | null): PodSandboxMetadata {
  if (metadata === null) return { name: '', uid: '', namespace: '', attempt: 0 };
  return {
    name: metadata.name,
    uid: metadata.uid,
    namespace: metadata.namespace,
    attempt: metadata.attempt,
  };
}

function containerMetadata(metadata: wire.ContainerMetadata | null): { name: string; attempt: number } {
  return { name: metadata?.name ?? '', attempt: metadata?.attempt ?? 0 };
}

function namespaces(options: wire.NamespaceOption | null): NamespaceOptions {
  const mode = (value: number | undefined): NamespaceMode => NAMESPACE_MODE[value ?? 0] ?? 'POD';
  const targetId = options?.targetId ?? '';
  return {
    network: mode(options?.network),
    pid: mode(options?.pid),
    ipc: mode(options?.ipc),
    ...(targetId === '' ? {} : { targetId }),
  };
}

/** Zero is "not set" on the wire, so a field that is zero is left out. */
function resources(linux: wire.LinuxContainerResources): LinuxResources {
  const unlessZero = (value: Long | number): number | undefined => number(value) || undefined;
  return {
    ...given({
      cpuPeriod: unlessZero(linux.cpuPeriod),
      cpuQuota: unlessZero(linux.cpuQuota),
      cpuShares: unlessZero(linux.cpuShares),
      memoryLimitInBytes: unlessZero(linux.memoryLimitInBytes),
      oomScoreAdj: unlessZero(linux.oomScoreAdj),
      memorySwapLimitInBytes: unlessZero(linux.memorySwapLimitInBytes),
    }),
    ...(linux.cpusetCpus === '' ? {} : { cpusetCpus: linux.cpusetCpus }),
    ...(linux.cpusetMems === '' ? {} : { cpusetMems: linux.cpusetMems }),
    ...(linux.hugepageLimits.length === 0
      ? {}
      : { hugepageLimits: linux.hugepageLimits.map((h) => ({ pageSize: h.pageSize, limit: number(h.limit) })) }),
    ...(Object.keys(linux.unified).length === 0 ? {} : { unified: linux.unified }),
  };
}

function usage(from: { readonly cpu: wire.CpuUsage | null; readonly memory: wire.MemoryUsage | null }): {
  cpu?: CpuUsage;
  memory?: MemoryUsage;
} {
  return {
    ...(from.cpu === null ? {} : { cpu: cpuFromWire(from.cpu) }),
    ...(from.memory === null ? {} : { memory: memoryFromWire(from.memory) }),
  };
}

function cpuFromWire(cpu: wire.CpuUsage): CpuUsage {
  const usageNanoCores = unwrapped(cpu.usageNanoCores);
  return {
    atMs: msFromNanos(cpu.timestamp),
    usageCoreNanoSeconds: unwrapped(cpu.usageCoreNanoSeconds) ?? 0,
    ...(usageNanoCores === undefined ? {} : { usageNanoCores }),
  };
}

function memoryFromWire(memory: wire.MemoryUsage): MemoryUsage {
  return {
    atMs: msFromNanos(memory.timestamp),
    workingSetBytes: unwrapped(memory.workingSetBytes) ?? 0,
    ...given({
      availableBytes: unwrapped(memory.availableBytes),
      usageBytes: unwrapped(memory.usageBytes),
      rssBytes: unwrapped(memory.rssBytes),
      pageFaults: unwrapped(memory.pageFaults),
      majorPageFaults: unwrapped(memory.majorPageFaults),
    }),
  };
}

/** The fields that have a value. */
function given<T extends Record<string, number | undefined>>(fields: T): { [K in keyof T]?: number } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: number;
  };
}
