import type { EventRecorder } from '../../cluster/port.ts';
import type { BlockDevices } from '../../host/block/port.ts';
import type { Device, Mount } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Container, Pod, Volume } from '../../model/pod.ts';
import { BlockMaps } from './block-maps.ts';
import type { ClaimResolver } from './claims.ts';
import type { PayloadSources } from './collect-payload.ts';
import { ContainerVolumes } from './container-volumes.ts';
import { findVolumes } from './found-volumes.ts';
import { MemoryStore } from './memory-store.ts';
import { VolumeOwnership } from './ownership.ts';
import type { FoundVolume, Freshness, VolumePlugin } from './plugin.ts';
import { emptyDirPlugin } from './plugins/empty-dir.ts';
import { hostPathPlugin } from './plugins/host-path.ts';
import { imagePlugin } from './plugins/image.ts';
import { LocalVolumePlugin } from './plugins/local.ts';
import { nfsPlugin } from './plugins/nfs.ts';
import { payloadPlugins } from './plugins/payload.ts';
import { PodPaths } from './pod-paths.ts';
import { PodTurns } from './pod-turns.ts';
import type { VolumeManager } from './port.ts';
import { mountOptionsOf } from './pv-mount-options.ts';
import { type ResolvedVolume, VolumeResolver, type VolumeUse } from './resolve-volume.ts';
import { qualifiedPlugin, VolumeBook } from './volume-book.ts';
import { failureOfAll, type VolumeFailure, volumeFailure } from './volume-errors.ts';
import type { VolumeMeter } from './volume-figures.ts';
import type { VolumeMetrics } from './volume-metrics.ts';
import { VolumeRebuild } from './volume-rebuild.ts';
import { usedVolumes } from './volume-source.ts';
import type { MeasurableVolume } from './volume-statistics.ts';
import { VolumeUsers } from './volume-users.ts';

export interface PodVolumesOptions {
  /** kubelet's root directory, such as /var/lib/kubelet. */
  readonly rootDirectory: string;
  /** For all volumes of a pod together. Default 123 s, as long as kubelet waits for a pod's mounts. */
  readonly deadlineMs?: number;
  /** For one mount from a server. Default 100 s: within the former, and mount.nfs itself tries for two minutes. */
  readonly serverMountMs?: number;
}

export interface PodVolumesDeps extends PayloadSources {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly blocks: BlockDevices;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  /** From claims to their volumes; without it no pod can have any. */
  readonly claims?: ClaimResolver;
  /** Kinds of volumes beside those that PodVolumes brings itself. */
  readonly plugins?: readonly VolumePlugin[];
  /** Whether the pod's runtime handler can make mounts read-only with all that is mounted below. Default: no. */
  readonly recursiveReadOnly?: (pod: Pod) => boolean;
  /** Why the container runtime cannot mount images; undefined where it can. */
  readonly imageVolumeRefusal?: () => string | undefined;
  /** Finds out how full volumes are. Default: nobody asks. */
  readonly stats?: VolumeMeter['stats'];
  readonly metrics: VolumeMetrics;
}

/** A group that may use the volume: containers get it as a supplemental one. */
const GID_ANNOTATION = 'pv.beta.kubernetes.io/gid';

/** Volumes of pods on this host; see VolumeManager. */
export class PodVolumes implements VolumeManager {
  private readonly paths: PodPaths;
  private readonly memory: MemoryStore;
  private readonly turns: PodTurns;
  private readonly plugins: readonly VolumePlugin[];
  private readonly resolver: VolumeResolver;
  private readonly maps: BlockMaps;
  private readonly containers: ContainerVolumes;
  private readonly users = new VolumeUsers();
  private readonly book: VolumeBook;
  private readonly rebuild: VolumeRebuild;
  /** By pod and volume name: what a claim led to when it was mounted counts for as long as the pod lives. */
  private readonly resolved = new Map<string, Map<string, ResolvedVolume>>();
  private readonly deps: PodVolumesDeps;

  constructor(options: PodVolumesOptions, deps: PodVolumesDeps) {
    const paths = new PodPaths(options.rootDirectory);
    this.paths = paths;
    this.memory = new MemoryStore(paths.memory, deps);
    this.turns = new PodTurns(deps.clock, options.deadlineMs ?? 123_000);
    this.plugins = [
      emptyDirPlugin(paths, deps),
      hostPathPlugin(deps.files),
      ...payloadPlugins(paths, { ...deps, memory: this.memory }),
      new LocalVolumePlugin(paths, { ...deps, ownership: new VolumeOwnership(deps) }),
      nfsPlugin(paths, { mountMs: options.serverMountMs ?? 100_000 }, deps),
      imagePlugin(deps.imageVolumeRefusal ?? (() => undefined)),
      ...(deps.plugins ?? []),
    ];
    this.resolver = new VolumeResolver(this.plugins, deps.claims);
    this.maps = new BlockMaps(paths, deps);
    this.containers = new ContainerVolumes(paths, {
      ...deps,
      resolve: (pod, volume, use) => this.resolve(pod, volume, use),
      devicePath: (plugin, volume) => this.maps.pathOf(plugin, volume),
    });
    this.book = new VolumeBook(deps);
    this.rebuild = new VolumeRebuild({ ...deps, paths, plugins: this.plugins });
    this.deps = deps;
  }

  async setUp(pod: Pod, signal?: AbortSignal): Promise<void> {
    await this.rebuilt();
    const work = (volume: ResolvedVolume): Promise<void> => this.make(volume, signal);
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
    return this.turns.run(uidOf(pod), `preparing mounts of container ${container.name}`, () =>
      this.containers.mounts(pod, container, environment),
    );
  }

  devicesFor(pod: Pod, container: Container): Promise<Device[]> {
    return this.turns.run(uidOf(pod), `preparing devices of container ${container.name}`, () =>
      this.containers.devices(pod, container),
    );
  }

  extraGroups(pod: Pod): readonly number[] {
    return [...(this.resolved.get(uidOf(pod))?.values() ?? [])].flatMap(({ podVolume: { bound } }) => {
      const text = bound?.volume.metadata.annotations?.[GID_ANNOTATION] ?? '';
      return /^\d+$/.test(text) ? [Number(text)] : [];
    });
  }

  async tearDown(podUid: string): Promise<void> {
    const directories = [this.paths.pod(podUid), this.paths.memoryOf(podUid)];
    await this.rebuilt();
    await this.turns.run(podUid, 'tearing down volumes', async () => {
      await this.rebuild.cleaning(podUid, async () => {
        await this.tearDownVolumes(podUid);
        await tryAll(
          `tearing down volumes of pod ${podUid}`,
          directories.map((directory) => () => this.removeDirectory(directory)),
        );
      });
      this.resolved.delete(podUid);
      this.book.drop(podUid);
      this.users.leave(podUid);
      for (const plugin of this.plugins) plugin.forget?.(podUid);
    });
  }

  /** The volumes of a pod that are there and of which it can be said how full they are. */
  measurable(podUid: string): readonly MeasurableVolume[] {
    const { stats, clock } = this.deps;
    if (stats === undefined) return [];
    const meter = { stats, now: () => clock.now() };
    return [...this.book.of(podUid)].flatMap(([name, { plugin, podVolume }]) => {
      const measurement = plugin.measure?.(podVolume, meter);
      if (measurement === undefined) return [];
      const { namespace = '', name: claim = '' } = podVolume.bound?.claim.metadata ?? {};
      return [
        { ...measurement, name, ...(podVolume.bound === undefined ? {} : { claim: { namespace, name: claim } }) },
      ];
    });
  }

  /** Which volumes there are, for metrics. */
  get counts(): Pick<VolumeBook, 'counts'> {
    return this.book;
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

  private async make(volume: ResolvedVolume, signal: AbortSignal | undefined): Promise<void> {
    const { metrics } = this.deps;
    const { podVolume } = volume;
    const uid = uidOf(podVolume.pod);
    const plugin = qualifiedPlugin(volume.plugin.name, podVolume);
    const sinceMs = this.book.want(uid, volume);
    const operation = podVolume.volumeMode === 'Block' ? 'map_volume' : 'volume_mount';
    await metrics.timed(plugin, operation, () => this.prepare(volume, signal));
    if (this.book.enter(uid, volume)) metrics.mounted(plugin, sinceMs);
  }

  private async prepare({ plugin, podVolume }: ResolvedVolume, signal: AbortSignal | undefined): Promise<void> {
    const { bound, specName, pod, volumeMode } = podVolume;
    const isBlock = volumeMode === 'Block';
    if (bound === undefined) {
      await plugin.prepare(podVolume, signal);
      return;
    }
    try {
      this.deps.claims?.checkNode(bound.volume);
    } catch (error) {
      const work = isBlock ? 'MapVolume.NodeAffinity check failed' : 'MountVolume.NodeAffinity check failed';
      throw volumeFailure(work, specName, error);
    }
    if (!isBlock && mountOptionsOf(bound.volume).length > 0 && plugin.supportsMountOptions !== true) {
      const error = new CodedError('InvalidObject', 'Mount options are not supported on the provided volume type');
      throw volumeFailure('MountVolume.MountOptionSupport check failed', specName, error);
    }
    this.users.enter(uidOf(pod), bound.volume);
    try {
      if (isBlock) await this.maps.map(plugin, podVolume, signal);
      else await plugin.prepare(podVolume, signal);
    } catch (error) {
      this.users.leave(uidOf(pod), specName);
      throw error;
    }
  }

  /** What plugins have to undo; where that fails the pod's directory stays, for it tells how to try again. */
  private async tearDownVolumes(podUid: string): Promise<void> {
    const { files } = this.deps;
    if ((await files.lstat(this.paths.pod(podUid))) === undefined) return;
    const found = await findVolumes(files, this.paths, podUid);
    const { metrics } = this.deps;
    const steps = found.map((volume) => async () => {
      const plugin = this.plugins.find(({ name }) => name === volume.plugin);
      const isBlock = volume.volumeMode === 'Block';
      await metrics.timed(
        this.book.pluginOf(podUid, volume.plugin, volume.specName),
        isBlock ? 'unmap_volume' : 'volume_unmount',
        async () => (isBlock ? this.unmap(plugin, volume) : plugin?.tearDown?.(volume)),
      );
    });
    if (steps.length === 0) return;
    // A subPath's mount would keep its volume busy.
    await this.unmountBelow(`${this.paths.pod(podUid)}/volume-subpaths`);
    await tryAll(`tearing down volumes of pod ${podUid}`, steps);
  }

  /** The link goes last: it is what a volume is found by when its plugin has to be asked again. */
  private async unmap(plugin: VolumePlugin | undefined, volume: FoundVolume): Promise<void> {
    await this.maps.unmap(volume);
    await plugin?.unmapDevice?.(volume);
    await this.deps.files.remove(volume.directory);
  }

  private rebuilt(): Promise<void> {
    return this.rebuild.rebuilt(() => this.existing());
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
