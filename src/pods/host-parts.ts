import type { ObjectSource, TokenSource, View } from '../cluster/port.ts';
import type { ContainerStatus, Device, IdMapping, LinuxResources, Mount } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError, hasCode } from '../kit/errors.ts';
import type { KubeObject, ResourceList } from '../model/meta.ts';
import type { ConfigMap, Secret } from '../model/objects.ts';
import type { Container, Pod } from '../model/pod.ts';
import { type ResourceType, resources } from '../model/resource.ts';
import type { Service } from '../model/service.ts';
import { isStaticPod } from '../model/static-pod.ts';
import type { PodParts } from './act/pod-parts.ts';
import { environmentReferences, type Reference, referencesOf } from './environment/references.ts';
import { type EnvFile, resolveEnvironment, type Variable } from './environment/resolve-environment.ts';
import { annotation, identityOf, label, type PodIdentity } from './identity.ts';
import type { ContainerLogs } from './logs/container-logs.ts';

import { hostsFileOf, wantsHostsFile } from './network-files/hosts-file.ts';
import { lastLogLines } from './observe/last-log-lines.ts';
import { linuxResourcesOf } from './resources/container-resources.ts';
import type { NodeResourceFacts } from './resources/node-facts.ts';
import { sandboxResources } from './resources/sandbox-resources.ts';
import type { UserNamespaces } from './user-namespaces/user-namespaces.ts';
import type { PodFiles } from './volumes/pod-files.ts';
import type { VolumeManager } from './volumes/port.ts';

export interface HostPartsOptions {
  readonly clusterDomain: string;
  readonly nodeName: string;
}

export interface HostPartsDeps {
  readonly cgroups: {
    pathOf(pod: Pod): string;
    ensure(pod: Pod): Promise<unknown>;
    remove(podUid: string): Promise<void>;
  };
  readonly volumes: VolumeManager;
  readonly podFiles: PodFiles;
  readonly logs: ContainerLogs;
  readonly userNamespaces: Pick<UserNamespaces, 'mappingFor'>;
  readonly files: Files;
  readonly objects: ObjectSource;
  readonly tokens: Pick<TokenSource, 'forget'>;
  /** Devices that pods were given. */
  readonly devices?: { release(podUid: string): void };
  readonly services: View<Service>;
  readonly clock: Pick<Clock, 'after'>;
  readonly hostIPs: () => readonly string[];
  readonly allocatable: () => ResourceList;
  readonly resourceFacts: () => NodeResourceFacts;
}

/** How long a container's start waits for the first list of Services before its status says what it waits for. */
const SERVICES_MS = 2000;

/** The parts of a pod that live on this host: cgroup, volumes, files, and what its containers are told of the world. */
export class HostParts implements PodParts {
  private readonly options: HostPartsOptions;
  private readonly deps: HostPartsDeps;

  constructor(options: HostPartsOptions, deps: HostPartsDeps) {
    this.options = options;
    this.deps = deps;
  }

  cgroupParent(pod: Pod): string {
    return this.deps.cgroups.pathOf(pod);
  }

  ensureCgroup(pod: Pod): Promise<unknown> {
    return this.deps.cgroups.ensure(pod);
  }

  removeCgroup(podUid: string): Promise<void> {
    return this.deps.cgroups.remove(podUid);
  }

  setUpVolumes(pod: Pod, signal: AbortSignal): Promise<void> {
    this.watchObjects(pod);
    return this.deps.volumes.setUp(pod, signal);
  }

  tearDownVolumes(podUid: string): Promise<void> {
    return this.deps.volumes.tearDown(podUid);
  }

  release(podUid: string): void {
    this.deps.objects.release(podUid);
    this.deps.tokens.forget(podUid);
    this.deps.devices?.release(podUid);
  }

  async environment(
    pod: Pod,
    container: Container,
    podIPs: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly Variable[]> {
    const { hostIPs, allocatable, services } = this.deps;
    const references = environmentReferences(container);
    // Variables of Services that exist before the pod starts are promised; a view without its first list would lack them.
    // A pod of this node's own starts without an API, as with kubelet.
    if (!services.synced && !isStaticPod(pod)) await this.firstServices(signal);
    const [configMaps, secrets, files] = await Promise.all([
      this.fetch<ConfigMap>(resources.configmaps, pod, references.configMaps, signal),
      this.fetch<Secret>(resources.secrets, pod, references.secrets, signal),
      this.envFiles(pod, container),
    ]);
    return resolveEnvironment(pod, container, {
      configMaps,
      secrets,
      services: services.values(),
      nodeName: this.options.nodeName,
      podIPs: pod.spec.hostNetwork === true ? hostIPs() : podIPs,
      hostIPs: hostIPs(),
      allocatable: allocatable(),
      files,
    });
  }

  private envFiles(pod: Pod, container: Container): Promise<EnvFile[]> {
    const named = (container.env ?? []).flatMap(({ valueFrom }) => valueFrom?.fileKeyRef ?? []);
    const known = named.filter(({ volumeName }) =>
      pod.spec.volumes?.some(({ name, emptyDir }) => name === volumeName && emptyDir !== undefined),
    );
    return Promise.all(
      known.map(async ({ volumeName, path }): Promise<EnvFile> => {
        try {
          return { volumeName, path, content: await this.deps.podFiles.readInEmptyDir(pod, volumeName, path) };
        } catch (error) {
          if (!(error instanceof CodedError)) throw error;
          return { volumeName, path, content: error };
        }
      }),
    );
  }

  private async firstServices(signal: AbortSignal): Promise<void> {
    const { services, clock } = this.deps;
    const patience = new AbortController();
    const timer = clock.after(SERVICES_MS, () => patience.abort());
    try {
      await services.whenSynced(AbortSignal.any([signal, patience.signal]));
    } catch (error) {
      if (signal.aborted) throw error;
      const message = 'services have not yet been read at least once, cannot construct envvars';
      throw new CodedError('Unavailable', message, { reason: 'CreateContainerConfigError' }, error);
    } finally {
      timer.cancel();
    }
  }

  async mounts(
    pod: Pod,
    container: Container,
    restartCount: number,
    podIPs: readonly string[],
    environment: Readonly<Record<string, string>>,
  ): Promise<readonly Mount[]> {
    const { volumes, podFiles } = this.deps;
    // Side by side: a dozen small writes one after the other are felt in how soon a container starts.
    const [ofVolumes, hosts, log] = await Promise.all([
      volumes.mountsFor(pod, container, environment),
      wantsHostsFile(pod, container, podIPs) ? this.hostsFile(pod, podIPs) : undefined,
      podFiles.makeTerminationLog(pod, container, restartCount),
    ]);
    return [
      ...ofVolumes,
      ...(hosts === undefined ? [] : [plainMount('/etc/hosts', hosts)]),
      plainMount(container.terminationMessagePath ?? '/dev/termination-log', log),
    ];
  }

  devices(pod: Pod, container: Container): Promise<readonly Device[]> {
    return this.deps.volumes.devicesFor(pod, container);
  }

  extraGroups(pod: Pod): readonly number[] {
    return this.deps.volumes.extraGroups(pod);
  }

  private async hostsFile(pod: Pod, podIPs: readonly string[]): Promise<string> {
    const { files, podFiles } = this.deps;
    const hostFile = pod.spec.hostNetwork === true ? (await files.read('/etc/hosts')).toString() : '';
    const text = hostsFileOf(pod, { podIPs, clusterDomain: this.options.clusterDomain, hostFile });
    return podFiles.writeEtcHosts(pod, text);
  }

  userMapping(pod: Pod, runtimeHandler: string): Promise<IdMapping | undefined> {
    return this.deps.userNamespaces.mappingFor(pod, runtimeHandler);
  }

  containerResources(pod: Pod, container: Container): LinuxResources {
    return linuxResourcesOf(pod, container, this.deps.resourceFacts());
  }

  sandboxResources(pod: Pod): { readonly overhead: LinuxResources; readonly resources: LinuxResources } {
    return sandboxResources(pod, this.deps.resourceFacts());
  }

  makeLogDirectory(pod: PodIdentity): Promise<void> {
    return this.deps.logs.makeDirectory(pod);
  }

  removeLogDirectory(pod: PodIdentity): Promise<void> {
    return this.deps.logs.removePod(pod);
  }

  linkContainerLog(pod: PodIdentity, containerName: string, restartCount: number, id: string): Promise<void> {
    return this.deps.logs.link(pod, containerName, restartCount, id);
  }

  removeContainerLog(pod: PodIdentity, containerName: string, restartCount: number, id: string): Promise<void> {
    return this.deps.logs.removeContainer(pod, containerName, restartCount, id);
  }

  /**
   * What a container said last: its termination log, or the end of its log where the policy falls back to that and the
   * container failed (kubelet container/runtime.go).
   */
  async finalMessage(status: ContainerStatus): Promise<string> {
    const uid = status.labels[label.podUid] ?? '';
    const name = status.labels[label.containerName] ?? '';
    const message = await this.deps.podFiles.terminationMessage(uid, name, status.metadata.attempt);
    const fallsBack = status.annotations[annotation.terminationMessagePolicy] === 'FallbackToLogsOnError';
    if (message !== '' || !fallsBack || status.exitCode === 0 || status.logPath === '') return message;
    return lastLogLines(this.deps.files, status.logPath);
  }

  private watchObjects(pod: Pod): void {
    const { uid, namespace } = identityOf(pod);
    const { configMaps, secrets } = referencesOf(pod);
    for (const { name, onlyAtStart } of configMaps) {
      this.deps.objects.need(uid, resources.configmaps, namespace, name, onlyAtStart);
    }
    for (const { name, onlyAtStart } of secrets) {
      this.deps.objects.need(uid, resources.secrets, namespace, name, onlyAtStart);
    }
  }

  /** Those that exist; what the API cannot tell now throws, so that nothing starts without what it needs. */
  private async fetch<T extends KubeObject>(
    type: ResourceType,
    pod: Pod,
    references: readonly Reference[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, T>> {
    const { namespace } = identityOf(pod);
    const found = new Map<string, T>();
    await Promise.all(
      references.map(async ({ name }) => {
        try {
          found.set(name, await this.deps.objects.get<T>(type, namespace, name, signal));
        } catch (error) {
          if (!hasCode(error, 'NotFound')) throw error;
        }
      }),
    );
    return found;
  }
}

function plainMount(containerPath: string, hostPath: string): Mount {
  return { containerPath, hostPath, readonly: false, propagation: 'PRIVATE' };
}
