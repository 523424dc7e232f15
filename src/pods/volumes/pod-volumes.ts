import type { Mount } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Container, Pod, Volume, VolumeMount } from '../../model/pod.ts';
import type { ClaimResolver } from './claims.ts';
import type { PayloadSources } from './collect-payload.ts';
import { findVolumes } from './found-volumes.ts';
import { MemoryStore } from './memory-store.ts';
import { isRecursiveReadOnly, propagationOf, subPathOf } from './mount-options.ts';
import type { FoundVolume, Freshness, PodVolume, VolumePlugin } from './plugin.ts';
import { emptyDirPlugin } from './plugins/empty-dir.ts';
import { hostPathPlugin } from './plugins/host-path.ts';
import { payloadPlugins } from './plugins/payload.ts';
import { PodPaths } from './pod-paths.ts';
import { PodTurns } from './pod-turns.ts';
import type { VolumeManager } from './port.ts';
import { type ResolvedVolume, VolumeResolver, type VolumeUse } from './resolve-volume.ts';
import { bindSubPath } from './sub-path.ts';
import { failureOfAll, type VolumeFailure, volumeFailure } from './volume-errors.ts';
import { usedVolumes } from './volume-source.ts';

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
  /** From claims to their volumes; without it no pod can have any. */
  readonly claims?: ClaimResolver;
  /** Kinds of volumes beside those that PodVolumes brings itself. */
  readonly plugins?: readonly VolumePlugin[];
  /** Whether the pod's runtime handler can make mounts read-only with all that is mounted below. Default: no. */
  readonly recursiveReadOnly?: (pod: Pod) => boolean;
}

/** Volumes of pods on this host; see VolumeManager. */
export class PodVolumes implements VolumeManager {
  private readonly paths: PodPaths;
  private readonly memory: MemoryStore;
  private readonly turns: PodTurns;
  private readonly plugins: readonly VolumePlugin[];
  private readonly resolver: VolumeResolver;
  /** By pod and volume name: what a claim led to when it was mounted counts for as long as the pod lives. */
  private readonly resolved = new Map<string, Map<string, ResolvedVolume>>();
  private readonly deps: PodVolumesDeps;
  private rebuilding: Promise<void> | undefined;

  constructor(options: PodVolumesOptions, deps: PodVolumesDeps) {
    const paths = new PodPaths(options.rootDirectory);
    this.paths = paths;
    this.memory = new MemoryStore(paths.memory, deps);
    this.turns = new PodTurns(deps.clock, options.deadlineMs ?? 123_000);
    this.plugins = [
      emptyDirPlugin(paths, deps),
      hostPathPlugin(deps.files),
      ...payloadPlugins(paths, { ...deps, memory: this.memory }),
      ...(deps.plugins ?? []),
    ];
    this.resolver = new VolumeResolver(this.plugins, deps.claims);
    this.deps = deps;
  }

  async setUp(pod: Pod, signal?: AbortSignal): Promise<void> {
    await this.rebuilt();
    const work = async ({ plugin, podVolume }: ResolvedVolume): Promise<void> => {
      if (podVolume.volumeMode === 'Filesystem') await this.prepare(plugin, podVolume, signal);
    };
    await this.turns.run(
      uidOf(pod),
      'setting up volumes',
      () => this.forEach(pod, work, { anew: true, signal }),
      signal,
    );
  }

  async refresh(pod: Pod): Promise<Freshness> {
    let again: number | undefined;
    const work = async ({ plugin, podVolume }: ResolvedVolume): Promise<void> => {
      if (plugin.refresh === undefined) return;
      const { againAtMs: at } = await plugin.refresh(podVolume);
      if (at !== undefined) again = Math.min(again ?? at, at);
    };
    await this.turns.run(uidOf(pod), 'refreshing volumes', () => this.forEach(pod, work));
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
    await this.rebuilt();
    await this.turns.run(podUid, 'tearing down volumes', async () => {
      await this.tearDownVolumes(podUid);
      await tryAll(
        `tearing down volumes of pod ${podUid}`,
        directories.map((directory) => () => this.removeDirectory(directory)),
      );
      this.resolved.delete(podUid);
    });
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

  /** Does `work` for all used volumes side by side; what fails for one does not keep the others from being made. */
  private async forEach(
    pod: Pod,
    work: (volume: ResolvedVolume) => Promise<void>,
    how: { readonly anew?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const failures: VolumeFailure[] = [];
    await Promise.all(
      usedVolumes(pod).map(async ({ volume, use }) => {
        let resolved: ResolvedVolume | undefined;
        try {
          resolved = await this.resolve(pod, volume, use, how);
          await work(resolved);
        } catch (error) {
          const { podVolume } = resolved ?? {};
          const mapping = podVolume?.volumeMode === 'Block';
          const failure =
            podVolume === undefined
              ? error
              : volumeFailure(
                  mapping ? 'MapVolume.SetUpDevice failed' : 'MountVolume.SetUp failed',
                  podVolume.specName,
                  error,
                );
          failures.push({ name: volume.name, error: failure, unresolved: resolved === undefined });
        }
      }),
    );
    if (failures.length === 0) return;
    const order = (pod.spec.volumes ?? []).map(({ name }) => name);
    throw failureOfAll(failures.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)));
  }

  private async resolve(
    pod: Pod,
    volume: Volume,
    use: VolumeUse,
    { anew = false, signal }: { readonly anew?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ResolvedVolume> {
    const uid = uidOf(pod);
    const known = anew ? undefined : this.resolved.get(uid)?.get(volume.name);
    // The pod's own entry cannot change, but labels and annotations that a downward volume shows do.
    if (known !== undefined) return { ...known, podVolume: { ...known.podVolume, pod, volume } };
    const found = await this.resolver.resolve(pod, volume, use, signal);
    // Those without a claim are found again for nothing.
    if (found.podVolume.bound === undefined) return found;
    const ofPod = this.resolved.get(uid) ?? new Map<string, ResolvedVolume>();
    this.resolved.set(uid, ofPod.set(volume.name, found));
    return found;
  }

  private async prepare(plugin: VolumePlugin, podVolume: PodVolume, signal: AbortSignal | undefined): Promise<void> {
    const { bound, specName } = podVolume;
    if (bound !== undefined) {
      try {
        this.deps.claims?.checkNode(bound.volume);
      } catch (error) {
        throw volumeFailure('MountVolume.NodeAffinity check failed', specName, error);
      }
      if ((bound.volume.spec?.mountOptions?.length ?? 0) > 0 && plugin.supportsMountOptions !== true) {
        const error = new CodedError('InvalidObject', 'Mount options are not supported on the provided volume type');
        throw volumeFailure('MountVolume.MountOptionSupport check failed', specName, error);
      }
    }
    await plugin.prepare(podVolume, signal);
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
    let specName = mount.name;
    try {
      const { plugin, podVolume } = await this.resolve(pod, volume, { mounted: true, asDevice: false });
      specName = podVolume.specName;
      const { hostPath: volumePath, readOnly } = await plugin.locate(podVolume);
      const subPath = subPathOf(mount, environment);
      const hostPath =
        subPath === '' ? volumePath : await this.subPath(pod, container, specName, volumePath, subPath, index);
      const recursive = isRecursiveReadOnly(mount, this.deps.recursiveReadOnly?.(pod) === true);
      return {
        containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
        hostPath,
        readonly: mount.readOnly === true || readOnly,
        propagation: propagationOf(mount),
        ...(recursive ? { recursiveReadOnly: true } : {}),
      };
    } catch (error) {
      const { code, metadata } = error instanceof CodedError ? error : new CodedError('Internal', '');
      throw new CodedError(
        code,
        `MountVolume.SetUp failed for volume "${specName}" : ${messageOf(error)}`,
        { ...metadata, container: container.name, volume: mount.name },
        error,
      );
    }
  }

  private async subPath(
    pod: Pod,
    container: Container,
    specName: string,
    volumePath: string,
    subPath: string,
    index: number,
  ): Promise<string> {
    const { files } = this.deps;
    const target = this.paths.subPath(uidOf(pod), specName, container.name, index);
    // The mount table has paths without symlinks, and the root directory may be reached through one.
    await files.makeDirectory(parentOf(target), 0o750);
    const real = `${await files.realPath(parentOf(target))}/${index}`;
    await bindSubPath(this.deps, volumePath, subPath, real);
    return real;
  }

  /** Plugins that have something to undo; what they fail at keeps the pod's directory, for it tells how to try again. */
  private async tearDownVolumes(podUid: string): Promise<void> {
    if (!this.plugins.some(({ tearDown }) => tearDown !== undefined)) return;
    const found = await findVolumes(this.deps.files, this.paths, podUid);
    const undone = found.flatMap((volume) => {
      const plugin = this.plugins.find(({ name }) => name === volume.plugin);
      return plugin?.tearDown === undefined ? [] : [{ plugin, volume }];
    });
    if (undone.length === 0) return;
    // A subPath's mount would keep the volume busy.
    await this.unmountBelow(`${this.paths.pod(podUid)}/volume-subpaths`);
    await tryAll(
      `tearing down volumes of pod ${podUid}`,
      undone.map(
        ({ plugin, volume }) =>
          () =>
            plugin.tearDown?.(volume),
      ),
    );
  }

  /** Tells each plugin, once and before all else, what is there of it. */
  private rebuilt(): Promise<void> {
    this.rebuilding ??= this.rebuild().catch((error: unknown) =>
      this.deps.log.warn({ error: messageOf(error) }, 'what earlier volumes left could not be taken up'),
    );
    return this.rebuilding;
  }

  private async rebuild(): Promise<void> {
    const wanting = this.plugins.filter(({ rebuild }) => rebuild !== undefined);
    if (wanting.length === 0) return;
    const found: FoundVolume[] = [];
    for (const uid of await this.existing()) found.push(...(await findVolumes(this.deps.files, this.paths, uid)));
    await tryAll(
      'taking up earlier volumes',
      wanting.map((plugin) => () => plugin.rebuild?.(found.filter((volume) => volume.plugin === plugin.name))),
    );
  }

  private async removeDirectory(directory: string): Promise<void> {
    const { files } = this.deps;
    if ((await files.lstat(directory)) === undefined) return;
    const { real, left } = await this.unmountBelow(directory);
    if (left.length > 0) {
      const names = left.join(', ');
      throw new CodedError('Conflict', `${real} is not removed: ${names} is still mounted`, { mounts: left.length });
    }
    await files.removeTree(real);
  }

  private async unmountBelow(directory: string): Promise<{ readonly real: string; readonly left: readonly string[] }> {
    const { files, mounts } = this.deps;
    if ((await files.lstat(directory)) === undefined) return { real: directory, left: [] };
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
    return { real, left: left.map(({ mountPoint }) => mountPoint) };
  }
}

function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
