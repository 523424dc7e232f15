import type { Files } from '../../host/files/port.ts';
import { messageOf, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { findVolumes } from './found-volumes.ts';
import type { FoundVolume, VolumePlugin } from './plugin.ts';
import type { PodPaths } from './pod-paths.ts';
import type { VolumeMetrics } from './volume-metrics.ts';

export interface VolumeRebuildDeps {
  readonly files: Files;
  readonly paths: PodPaths;
  readonly plugins: readonly VolumePlugin[];
  readonly metrics: VolumeMetrics;
  readonly log: Logger;
}

/** Tells each plugin, once and before all else, what an earlier process left of its volumes. */
export class VolumeRebuild {
  private readonly deps: VolumeRebuildDeps;
  private done: Promise<void> | undefined;
  /** How many volumes of a pod could not be taken up. */
  private readonly failed = new Map<string, number>();

  constructor(deps: VolumeRebuildDeps) {
    this.deps = deps;
  }

  /** Never throws. */
  rebuilt(existing: () => Promise<readonly string[]>): Promise<void> {
    this.done ??= this.rebuild(existing).catch((error: unknown) =>
      this.deps.log.warn({ error: messageOf(error) }, 'what earlier volumes left could not be taken up'),
    );
    return this.done;
  }

  /** Undoes a pod's volumes; those that could not be taken up are counted (force_cleaned_failed_volume_…). */
  async cleaning(podUid: string, work: () => Promise<void>): Promise<void> {
    const count = this.failed.get(podUid) ?? 0;
    const { forceCleaned, notForceCleaned } = this.deps.metrics;
    forceCleaned.inc(count);
    try {
      await work();
      this.failed.delete(podUid);
    } catch (error) {
      notForceCleaned.inc(count);
      throw error;
    }
  }

  private async rebuild(existing: () => Promise<readonly string[]>): Promise<void> {
    const { files, paths, plugins, metrics } = this.deps;
    const found: FoundVolume[] = [];
    for (const uid of await existing()) found.push(...(await findVolumes(files, paths, uid)));
    metrics.reconstructed.inc(found.length);
    const fail = ({ podUid }: FoundVolume): void => {
      metrics.notReconstructed.inc();
      this.failed.set(podUid, (this.failed.get(podUid) ?? 0) + 1);
    };
    for (const volume of found) if (plugins.every(({ name }) => name !== volume.plugin)) fail(volume);
    await tryAll(
      'taking up earlier volumes',
      plugins.map((plugin) => async () => {
        const own = found.filter((volume) => volume.plugin === plugin.name);
        for (const volume of (await plugin.rebuild?.(own)) ?? []) fail(volume);
      }),
    );
  }
}
