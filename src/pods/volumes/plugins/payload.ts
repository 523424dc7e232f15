import type { Files } from '../../../host/files/port.ts';
import type { Clock } from '../../../kit/clock.ts';
import { atomicWrite } from '../atomic-writer.ts';
import { collectPayload, type PayloadSources } from '../collect-payload.ts';
import type { MemoryStore } from '../memory-store.ts';
import { makeOwnedDirectory } from '../owned-directory.ts';
import type { Freshness, Measurement, PodVolume, VolumePlugin } from '../plugin.ts';
import type { PodPaths } from '../pod-paths.ts';
import { notReady } from '../volume-errors.ts';
import { treeFigures, type VolumeMeter } from '../volume-figures.ts';

export interface PayloadDeps extends PayloadSources {
  readonly files: Files;
  readonly memory: MemoryStore;
  readonly clock: Clock;
}

const NAMES = {
  configMap: 'kubernetes.io/configmap',
  secret: 'kubernetes.io/secret',
  downwardAPI: 'kubernetes.io/downward-api',
  projected: 'kubernetes.io/projected',
} as const;

/** The kinds whose files deckhand writes itself, and rewrites when what they show changes. */
export function payloadPlugins(paths: PodPaths, deps: PayloadDeps): VolumePlugin[] {
  return (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((source) => new PayloadPlugin(source, paths, deps));
}

class PayloadPlugin implements VolumePlugin {
  readonly name: string;
  readonly sources: readonly string[];
  // kubelet keeps ConfigMaps on disk and the rest in memory.
  private readonly inMemory: boolean;
  private readonly paths: PodPaths;
  private readonly deps: PayloadDeps;

  constructor(source: keyof typeof NAMES, paths: PodPaths, deps: PayloadDeps) {
    this.name = NAMES[source];
    this.sources = [source];
    this.inMemory = source !== 'configMap';
    this.paths = paths;
    this.deps = deps;
  }

  async prepare(podVolume: PodVolume): Promise<void> {
    await this.refresh(podVolume);
  }

  async refresh(podVolume: PodVolume): Promise<Freshness> {
    const { pod, volume } = podVolume;
    const { files, clock } = this.deps;
    // Fetched first: a volume whose contents are not to be had leaves no empty directory behind.
    const { payload, againAtMs } = await collectPayload(pod, volume, this.deps);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    const directory = (await this.directory(podVolume)) ?? (await this.makeDirectory(podVolume, fsGroup));
    await atomicWrite(files, directory, payload, {
      now: clock.now(),
      ...(fsGroup === undefined ? {} : { gid: fsGroup }),
    });
    return againAtMs === undefined ? {} : { againAtMs };
  }

  async locate(volume: PodVolume): Promise<{ hostPath: string; readOnly: true }> {
    const hostPath = await this.directory(volume);
    if (hostPath === undefined) throw notReady(volume.specName);
    return { hostPath, readOnly: true };
  }

  measure(volume: PodVolume, meter: VolumeMeter): Measurement {
    return { by: 'du', run: async (signal) => treeFigures(meter, await this.directory(volume), signal) };
  }

  /**
   * Where the contents lie: in the pod's directory itself, or, behind a symlink there, in the memory store. undefined when
   * there is no such directory (any more: the memory store is empty after a reboot).
   */
  private async directory({ pod, specName }: PodVolume): Promise<string | undefined> {
    const { files, memory } = this.deps;
    const uid = pod.metadata.uid ?? '';
    const path = this.paths.volume(uid, this.name, specName);
    const info = await files.lstat(path);
    if (info?.kind === 'directory') return path;
    if (info?.kind !== 'symlink') return undefined;
    const stored = this.paths.memoryVolume(uid, this.name, specName);
    const usable = (await files.readLink(path)) === stored && (await files.lstat(stored))?.kind === 'directory';
    return usable && (await memory.ready()) ? stored : undefined;
  }

  private async makeDirectory({ pod, specName }: PodVolume, fsGroup: number | undefined): Promise<string> {
    const { files, memory } = this.deps;
    const uid = pod.metadata.uid ?? '';
    const path = this.paths.volume(uid, this.name, specName);
    await files.remove(path);
    if (!this.inMemory || !(await memory.ready())) {
      await makeOwnedDirectory(files, path, fsGroup, true);
      return path;
    }
    const stored = this.paths.memoryVolume(uid, this.name, specName);
    if ((await files.lstat(stored)) === undefined) await makeOwnedDirectory(files, stored, fsGroup, true);
    await files.makeDirectory(path.slice(0, path.lastIndexOf('/')), 0o750);
    await files.symlink(stored, path);
    return stored;
  }
}
