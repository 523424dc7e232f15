import type { Mount } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Container, Pod, Volume, VolumeMount } from '../../model/pod.ts';
import { expandKnown } from '../environment/expand.ts';
import { atomicWrite } from './atomic-writer.ts';
import { collectPayload, type PayloadSources } from './collect-payload.ts';
import { memorySizeOf } from './empty-dir-size.ts';
import { prepareHostPath } from './host-path.ts';
import { MemoryStore } from './memory-store.ts';
import { PLUGINS, PodPaths } from './pod-paths.ts';
import { PodTurns } from './pod-turns.ts';
import type { VolumeManager } from './port.ts';
import { bindSubPath } from './sub-path.ts';
import { mountedVolumes, type SupportedSource, sourceOf } from './volume-source.ts';

export interface PodVolumesOptions {
  /** kubelet's root directory, such as /var/lib/kubelet. */
  readonly rootDirectory: string;
  /** For all volumes of a pod together. Default 123 s, as long as kubelet waits for a pod's mounts. */
  readonly deadlineMs?: number;
}

export interface PodVolumesDeps extends PayloadSources {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the pod's runtime handler can make mounts read-only with all that is mounted below. Default: no. */
  readonly recursiveReadOnly?: (pod: Pod) => boolean;
}

type PayloadSource = Exclude<SupportedSource, 'emptyDir' | 'hostPath'>;

/** Volumes of pods on this host; see VolumeManager. */
export class PodVolumes implements VolumeManager {
  private readonly paths: PodPaths;
  private readonly memory: MemoryStore;
  private readonly turns: PodTurns;
  private readonly deps: PodVolumesDeps;

  constructor(options: PodVolumesOptions, deps: PodVolumesDeps) {
    this.paths = new PodPaths(options.rootDirectory);
    this.memory = new MemoryStore(this.paths.memory, deps);
    this.turns = new PodTurns(deps.clock, options.deadlineMs ?? 123_000);
    this.deps = deps;
  }

  async setUp(pod: Pod, signal?: AbortSignal): Promise<void> {
    const work = (volume: Volume): Promise<unknown> => this.setUpVolume(pod, volume);
    await this.turns.run(uidOf(pod), 'setting up volumes', () => this.forEach(mountedVolumes(pod), work), signal);
  }

  async refresh(pod: Pod): Promise<{ readonly againAtMs?: number }> {
    let again: number | undefined;
    const volumes = mountedVolumes(pod).filter((volume) => isPayload(sourceOrNone(volume)));
    const work = async (volume: Volume): Promise<void> => {
      const at = await this.setUpVolume(pod, volume);
      if (at !== undefined) again = Math.min(again ?? at, at);
    };
    await this.turns.run(uidOf(pod), 'refreshing volumes', () => this.forEach(volumes, work));
    return again === undefined ? {} : { againAtMs: again };
  }

  mountsFor(pod: Pod, container: Container, environment: Readonly<Record<string, string>>): Promise<Mount[]> {
    const work = async (): Promise<Mount[]> => {
      const mounts: Mount[] = [];
      for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
        mounts.push(await this.mountOf(pod, container, mount, index, environment));
      }
      return mounts;
    };
    return this.turns.run(uidOf(pod), `preparing mounts of container ${container.name}`, work);
  }

  async tearDown(podUid: string): Promise<void> {
    const directories = [this.paths.pod(podUid), this.paths.memoryOf(podUid)];
    await this.turns.run(podUid, 'tearing down volumes', () =>
      tryAll(
        `tearing down volumes of pod ${podUid}`,
        directories.map((directory) => () => this.removeDirectory(directory)),
      ),
    );
  }

  async existing(): Promise<string[]> {
    const { files } = this.deps;
    const onDisk = (await files.list(this.paths.pods)) ?? [];
    const inMemory = (await files.list(this.paths.memory)) ?? [];
    return [...new Set([...onDisk, ...inMemory])];
  }

  /** Unmounts the tmpfs of secret volumes once no pod has any; pods that run on keep theirs. */
  async close(): Promise<void> {
    await this.memory.close();
  }

  private async forEach(volumes: readonly Volume[], work: (volume: Volume) => Promise<unknown>): Promise<void> {
    const results = await Promise.allSettled(volumes.map((volume) => work(volume)));
    const failures = results.flatMap((result, index) =>
      result.status === 'rejected' ? [mountFailure(volumes[index]?.name ?? '', result.reason)] : [],
    );
    const [first] = failures;
    if (first === undefined) return;
    if (failures.length === 1) throw first;
    throw new CodedError(first.code, failures.map(messageOf).join('; '), { reason: 'FailedMount' }, first);
  }

  /** Answers when contents want renewal, for those that do. */
  private async setUpVolume(pod: Pod, volume: Volume): Promise<number | undefined> {
    const source = sourceOf(volume);
    switch (source) {
      case 'emptyDir':
        await this.setUpEmptyDir(pod, volume);
        return undefined;
      case 'hostPath':
        await prepareHostPath(this.deps.files, volume.hostPath?.path ?? '', volume.hostPath?.type ?? '');
        return undefined;
      default:
        return this.setUpPayload(pod, volume, source);
    }
  }

  private async setUpEmptyDir(pod: Pod, volume: Volume): Promise<void> {
    const { files, mounts } = this.deps;
    const { medium = '', sizeLimit } = volume.emptyDir ?? {};
    const path = this.paths.volume(uidOf(pod), PLUGINS.emptyDir, volume.name);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    if (medium === '') {
      if ((await files.lstat(path)) !== undefined) return;
      await this.makeOwned(path, fsGroup, false);
      return;
    }
    if (medium !== 'Memory') {
      throw new CodedError(
        'Unimplemented',
        `emptyDir medium ${JSON.stringify(medium)} cannot be provided by this node; want "" or "Memory"`,
        { medium },
      );
    }
    await files.makeDirectory(path, 0o750);
    const target = await files.realPath(path);
    if ((await mounts.list(target)).some(({ mountPoint }) => mountPoint === target)) return;
    const sizeBytes = memorySizeOf(pod, sizeLimit, this.deps.allocatable());
    await mounts.tmpfs(target, {
      name: 'tmpfs',
      mode: fsGroup === undefined ? 0o777 : 0o2777,
      ...(fsGroup === undefined ? {} : { gid: fsGroup }),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    });
  }

  private async setUpPayload(pod: Pod, volume: Volume, source: PayloadSource): Promise<number | undefined> {
    // Fetched first: a volume whose contents are not to be had leaves no empty directory behind.
    const { payload, againAtMs } = await collectPayload(pod, volume, this.deps);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    const directory =
      (await this.payloadDirectory(uidOf(pod), volume.name, source)) ??
      (await this.makePayloadDirectory(uidOf(pod), volume.name, source, fsGroup));
    await atomicWrite(this.deps.files, directory, payload, {
      now: this.deps.clock.now(),
      ...(fsGroup === undefined ? {} : { gid: fsGroup }),
    });
    return againAtMs;
  }

  /**
   * Where a volume's contents lie: in the pod's directory itself, or, behind a symlink there, in the memory store.
   * undefined when there is no such directory (any more: the memory store is empty after a reboot).
   */
  private async payloadDirectory(uid: string, name: string, source: PayloadSource): Promise<string | undefined> {
    const { files } = this.deps;
    const path = this.paths.volume(uid, PLUGINS[source], name);
    const info = await files.lstat(path);
    if (info?.kind === 'directory') return path;
    if (info?.kind !== 'symlink') return undefined;
    const stored = this.paths.memoryVolume(uid, PLUGINS[source], name);
    const usable = (await files.readLink(path)) === stored && (await files.lstat(stored))?.kind === 'directory';
    return usable && (await this.memory.ready()) ? stored : undefined;
  }

  private async makePayloadDirectory(
    uid: string,
    name: string,
    source: PayloadSource,
    fsGroup: number | undefined,
  ): Promise<string> {
    const { files } = this.deps;
    const path = this.paths.volume(uid, PLUGINS[source], name);
    await files.remove(path);
    // kubelet keeps ConfigMaps on disk and the rest in memory.
    if (source === 'configMap' || !(await this.memory.ready())) {
      await this.makeOwned(path, fsGroup, true);
      return path;
    }
    const stored = this.paths.memoryVolume(uid, PLUGINS[source], name);
    if ((await files.lstat(stored)) === undefined) await this.makeOwned(stored, fsGroup, true);
    await files.makeDirectory(parentOf(path), 0o750);
    await files.symlink(stored, path);
    return stored;
  }

  /** Makes a volume's root directory appear with mode and group all at once: where it is, it is complete. */
  private async makeOwned(path: string, fsGroup: number | undefined, readOnly: boolean): Promise<void> {
    const { files } = this.deps;
    await files.makeDirectory(parentOf(path), 0o750);
    const made = await files.makeTemporaryDirectory(`${path}~`, 0o777);
    if (fsGroup !== undefined) await files.giveToGroup(made, fsGroup, { readOnly, changePolicy: 'OnRootMismatch' });
    await files.rename(made, path);
  }

  private async mountOf(
    pod: Pod,
    container: Container,
    mount: VolumeMount,
    index: number,
    environment: Readonly<Record<string, string>>,
  ): Promise<Mount> {
    const volume = (pod.spec.volumes ?? []).find(({ name }) => name === mount.name);
    if (volume === undefined) {
      throw new CodedError(
        'InvalidObject',
        `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
        { volume: mount.name, container: container.name },
      );
    }
    try {
      const source = sourceOf(volume);
      const readonly = mount.readOnly === true || isPayload(source);
      const volumePath = await this.volumePath(pod, volume, source);
      const subPath = subPathOf(mount, environment);
      const hostPath =
        subPath === '' ? volumePath : await this.subPath(pod, container, volume, volumePath, subPath, index);
      return {
        containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
        hostPath,
        readonly,
        propagation: propagationOf(mount),
        ...(this.isRecursiveReadOnly(pod, mount) ? { recursiveReadOnly: true } : {}),
      };
    } catch (error) {
      throw mountFailure(mount.name, error, { container: container.name });
    }
  }

  private async volumePath(pod: Pod, volume: Volume, source: SupportedSource): Promise<string> {
    switch (source) {
      case 'hostPath':
        return volume.hostPath?.path ?? '';
      case 'emptyDir':
        return this.paths.volume(uidOf(pod), PLUGINS.emptyDir, volume.name);
      default: {
        const found = await this.payloadDirectory(uidOf(pod), volume.name, source);
        if (found !== undefined) return found;
        throw new CodedError('Unavailable', 'its contents are not set up (again) yet', { volume: volume.name });
      }
    }
  }

  private async subPath(
    pod: Pod,
    container: Container,
    volume: Volume,
    volumePath: string,
    subPath: string,
    index: number,
  ): Promise<string> {
    const { files } = this.deps;
    const target = this.paths.subPath(uidOf(pod), volume.name, container.name, index);
    // The mount table has paths without symlinks, and the root directory may be reached through one.
    await files.makeDirectory(parentOf(target), 0o750);
    const real = `${await files.realPath(parentOf(target))}/${index}`;
    await bindSubPath(this.deps, volumePath, subPath, real);
    return real;
  }

  private isRecursiveReadOnly(pod: Pod, mount: VolumeMount): boolean {
    const { recursiveReadOnly = 'Disabled', readOnly, mountPropagation = 'None', name } = mount;
    if (recursiveReadOnly === 'Disabled') return false;
    const able = this.deps.recursiveReadOnly?.(pod) === true;
    if (recursiveReadOnly === 'IfPossible') return able && readOnly === true && mountPropagation === 'None';
    const refuse = (why: string): never => {
      throw new CodedError('InvalidObject', `volume "${name}" requested recursive read-only mode, but ${why}`, {
        volume: name,
      });
    };
    if (readOnly !== true) refuse('it is not read-only');
    if (mountPropagation !== 'None') refuse(`it is not compatible with propagation "${mountPropagation}"`);
    if (!able) refuse('it is not supported by the runtime');
    return true;
  }

  private async removeDirectory(directory: string): Promise<void> {
    const { files, mounts } = this.deps;
    if ((await files.lstat(directory)) === undefined) return;
    const real = await files.realPath(directory);
    // Latest first: what is mounted in or over another mount goes before it.
    const mounted = (await mounts.list(real)).reverse();
    await tryAll(
      `unmounting below ${real}`,
      mounted.map(
        ({ mountPoint }) =>
          () =>
            mounts.unmount(mountPoint, { lazy: true }),
      ),
    );
    const left = mounted.length === 0 ? [] : await mounts.list(real);
    if (left.length > 0) {
      const names = left.map(({ mountPoint }) => mountPoint).join(', ');
      throw new CodedError('Conflict', `${real} is not removed: ${names} is still mounted`, { mounts: left.length });
    }
    await files.removeTree(real);
  }
}

function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}

function isPayload(source: SupportedSource | undefined): source is PayloadSource {
  return source !== undefined && source !== 'emptyDir' && source !== 'hostPath';
}

function sourceOrNone(volume: Volume): SupportedSource | undefined {
  try {
    return sourceOf(volume);
  } catch {
    return undefined;
  }
}

function subPathOf(mount: VolumeMount, environment: Readonly<Record<string, string>>): string {
  if (!mount.subPathExpr) return mount.subPath ?? '';
  const { text, missing } = expandKnown(mount.subPathExpr, environment);
  const [first] = missing;
  if (first === undefined) return text;
  throw new CodedError('InvalidObject', `subPathExpr \`${mount.subPathExpr}\`: missing value for "${first}"`, {
    variable: first,
  });
}

function propagationOf(mount: VolumeMount): Mount['propagation'] {
  switch (mount.mountPropagation ?? 'None') {
    case 'Bidirectional':
      return 'BIDIRECTIONAL';
    case 'HostToContainer':
      return 'HOST_TO_CONTAINER';
    default:
      return 'PRIVATE';
  }
}

function mountFailure(volume: string, error: unknown, metadata: Readonly<Record<string, string>> = {}): CodedError {
  const known = error instanceof CodedError ? error : undefined;
  return new CodedError(
    known?.code ?? 'Internal',
    `MountVolume.SetUp failed for volume "${volume}" : ${messageOf(error)}`,
    { ...known?.metadata, ...metadata, volume, reason: 'FailedMount' },
    error,
  );
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
