import type { Device, IdMapping, LinuxResources, Mount } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';
import type { PodIdentity } from '../identity.ts';

/** What acting on a pod needs from the neighbouring parts of this room; the composition root wires them. */
export interface PodParts {
  /** Where the pod's cgroup is: the parent to give to CRI. Throws InvalidObject for a UID that cannot name one. */
  cgroupParent(pod: Pod): string;
  ensureCgroup(pod: Pod): Promise<unknown>;
  removeCgroup(podUid: string): Promise<void>;
  setUpVolumes(pod: Pod, signal: AbortSignal): Promise<void>;
  tearDownVolumes(podUid: string): Promise<void>;
  /** Variables of one container, in order. */
  environment(
    pod: Pod,
    container: Container,
    podIPs: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly { key: string; value: string }[]>;
  /** The container's volumes, /etc/hosts and termination log. */
  mounts(
    pod: Pod,
    container: Container,
    restartCount: number,
    podIPs: readonly string[],
    environment: Readonly<Record<string, string>>,
  ): Promise<readonly Mount[]>;
  /** The container's Block volumes. */
  devices(pod: Pod, container: Container): Promise<readonly Device[]>;
  /** Groups that the pod's volumes ask for. */
  extraGroups(pod: Pod): readonly number[];
  containerResources(pod: Pod, container: Container): LinuxResources;
  /** The ids of a pod with a user namespace of its own (hostUsers: false), given out at the first call. */
  userMapping(pod: Pod, runtimeHandler: string): Promise<IdMapping | undefined>;
  sandboxResources(pod: Pod): { readonly overhead: LinuxResources; readonly resources: LinuxResources };
  makeLogDirectory(pod: PodIdentity): Promise<void>;
  removeLogDirectory(pod: PodIdentity): Promise<void>;
  /** Links to the log of a container that was started. Never throws. */
  linkContainerLog(pod: PodIdentity, containerName: string, restartCount: number, id: string): Promise<void>;
  removeContainerLog(pod: PodIdentity, containerName: string, restartCount: number, id: string): Promise<void>;
  /** Lets go of the ConfigMaps and Secrets that were watched for the pod. */
  release(podUid: string): void;
}
