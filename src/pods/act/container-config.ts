import type { ContainerConfig, ContainerSecurity, Device, LinuxResources, Mount } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { expand } from '../environment/expand.ts';
import { annotation, containerHash, containerLogPath, identityOf, label, podLabels } from '../identity.ts';

export interface ContainerConfigInput {
  readonly restartCount: number;
  readonly imageRef: string;
  readonly environment: readonly { key: string; value: string }[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly resources: LinuxResources;
  readonly security: ContainerSecurity;
}

/** What CRI is told of a container (kuberuntime generateContainerConfig). Pure. */
export function containerConfig(pod: Pod, container: Container, input: ContainerConfigInput): ContainerConfig {
  const values = new Map(input.environment.map(({ key, value }) => [key, value]));
  const lookup = (name: string): string | undefined => values.get(name);
  return {
    metadata: { name: container.name, attempt: input.restartCount },
    image: input.imageRef,
    userSpecifiedImage: container.image ?? '',
    command: (container.command ?? []).map((word) => expand(word, lookup)),
    args: (container.args ?? []).map((word) => expand(word, lookup)),
    workingDir: container.workingDir ?? '',
    envs: input.environment,
    mounts: input.mounts,
    devices: input.devices,
    labels: { ...podLabels(identityOf(pod)), [label.containerName]: container.name },
    annotations: annotationsOf(pod, container, input.restartCount),
    logPath: containerLogPath(container.name, input.restartCount),
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    resources: input.resources,
    security: input.security,
  };
}

/**
 * In a user namespace the owners of everything mounted are shown by its mapping, also of what devices bring along
 * (kuberuntime applyPlatformSpecificContainerConfig): to be done last.
 */
export function withIdMapping(config: ContainerConfig): ContainerConfig {
  const { userMapping } = config.security.namespaceOptions;
  if (userMapping === undefined) return config;
  return { ...config, mounts: config.mounts.map((mount) => ({ ...mount, idMapping: userMapping })) };
}

/** What a restarted agent has to know of a container whose pod may be gone by then. */
function annotationsOf(pod: Pod, container: Container, restartCount: number): Record<string, string> {
  const { deletionGracePeriodSeconds } = pod.metadata;
  const { terminationGracePeriodSeconds } = pod.spec;
  const preStop = container.lifecycle?.preStop;
  return {
    [annotation.hash]: containerHash(container),
    [annotation.restartCount]: String(restartCount),
    [annotation.terminationMessagePath]: container.terminationMessagePath ?? '/dev/termination-log',
    [annotation.terminationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
    ...(preStop === undefined ? {} : { [annotation.preStopHandler]: JSON.stringify(preStop) }),
    ...(container.ports === undefined || container.ports.length === 0
      ? {}
      : { [annotation.ports]: JSON.stringify(container.ports) }),
    ...(deletionGracePeriodSeconds === undefined
      ? {}
      : { [annotation.podDeletionGracePeriod]: String(deletionGracePeriodSeconds) }),
    ...(terminationGracePeriodSeconds === undefined
      ? {}
      : { [annotation.podTerminationGracePeriod]: String(terminationGracePeriodSeconds) }),
  };
}
