import type { Container, CriRuntime, Image } from '../../host/cri/port.ts';
import type { MachinePort } from '../../host/machine/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';

export interface ImageCollectorOptions {
  /** Percent of the images' file system from which on images are removed; 100: never for want of space. */
  readonly highPercent: number;
  /** Percent down to which they are removed. */
  readonly lowPercent: number;
  /** An image that was found less than this ago is kept: its container may be about to be made. */
  readonly minAgeMs: number;
  /** An image that was not used for longer is removed whatever space there is; 0: none is. */
  readonly maxAgeMs: number;
}

export interface ImageCollectorDeps {
  readonly cri: Pick<
    CriRuntime,
    'listImages' | 'imageStatus' | 'listContainers' | 'removeImage' | 'imageFsInfo' | 'sandboxImage'
  >;
  readonly machine: Pick<MachinePort, 'filesystem'>;
  /** References of images that pods have mounted as volumes. */
  readonly mountedImages: () => Iterable<string>;
  /** Of the node. */
  readonly event: (reason: string, message: string) => void;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** kubelet's ImageGCPeriod. */
const PERIOD_MS = 5 * 60_000;

interface ImageRecord {
  readonly id: string;
  readonly detectedAt: number;
  /** Never since this process started: -Infinity. Times are Clock.monotonic. */
  usedAt: number;
  size: number;
  pinned: boolean;
}

/**
 * Removes images that nothing uses: when their file system fills up, the one first that was not used for longest, and
 * those that have not been used for long (kubelet images/image_gc_manager.go).
 */
export class ImageCollector {
  private readonly options: ImageCollectorOptions;
  private readonly deps: ImageCollectorDeps;
  private readonly records = new Map<string, ImageRecord>();
  private readonly collected;
  private startedAt = 0;
  /** Passes never overlap. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(options: ImageCollectorOptions, deps: ImageCollectorDeps) {
    this.options = options;
    this.deps = deps;
    this.collected = deps.metrics.counter(
      'kubelet_image_garbage_collected_total',
      'Images that were removed because nothing used them, by reason.',
      ['reason'],
    );
  }

  /** Collects now and then until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, event } = this.deps;
    this.startedAt = clock.monotonic();
    // Even when nothing is collected by itself, eviction has to know how old images are.
    const off = this.options.highPercent === 100 && this.options.maxAgeMs === 0;
    let failed = false;
    while (!signal.aborted) {
      try {
        await (off ? this.alone(() => this.detect(clock.monotonic())) : this.collect());
        failed = false;
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'images could not be collected');
        // A first failure may be a runtime that is still starting.
        if (failed) event('ImageGCFailed', messageOf(error));
        failed = true;
      }
      await clock.sleep(PERIOD_MS, signal).catch(() => {});
    }
  }

  /** One pass: what is too old, then what is needed for space. Throws when not enough can be freed. */
  collect(): Promise<void> {
    return this.alone(async () => {
      const freedAt = this.deps.clock.monotonic();
      const left = await this.freeOld(await this.evictionOrder(freedAt), freedAt);
      const { capacity, available } = await this.space();
      const usedPercent = 100 - Math.floor((available * 100) / capacity);
      if (usedPercent < this.options.highPercent) return;
      const wanted = Math.floor((capacity * (100 - this.options.lowPercent)) / 100) - available;
      const freed = await this.freeSpace(left, wanted, freedAt);
      if (freed >= wanted) return;
      const message =
        `Insufficient free disk space on the node's image filesystem (${usedPercent}% of ${sizeText(capacity)} used). ` +
        `Failed to free sufficient space by deleting unused images (freed ${freed} bytes). ` +
        'Investigate disk usage, as it could be used by active images, logs, volumes, or other data.';
      this.deps.event('FreeDiskSpaceFailed', message);
      throw new CodedError('ResourceExhausted', message);
    });
  }

  /** Removes every image that may go: the node is short of disk. */
  deleteUnused(): Promise<void> {
    return this.alone(async () => {
      const freedAt = this.deps.clock.monotonic();
      await this.freeSpace(await this.evictionOrder(freedAt), Number.POSITIVE_INFINITY, freedAt);
    });
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work);
    this.turn = next.catch(() => {});
    return next;
  }

  /** Notes what is there and what of it is used; answers the ids of those in use. */
  private async detect(now: number): Promise<ReadonlySet<string>> {
    const { cri, clock, mountedImages } = this.deps;
    const [images, containers] = await Promise.all([cri.listImages(), cri.listContainers()]);
    // The runtime alone knows which image a name stands for.
    const mounted = await Promise.all([...new Set(mountedImages())].map((name) => cri.imageStatus(name)));
    const used = usedImages(images, containers, new Set(mounted.map((image) => image?.id ?? '')));
    // A runtime that pins none (containerd before 1.7) lets its sandbox image be removed, and could start no pod then.
    const sandbox = images.some(({ pinned }) => pinned) ? undefined : await cri.sandboxImage().catch(() => undefined);
    for (const image of images) {
      let record = this.records.get(image.id);
      if (record === undefined) {
        record = { id: image.id, detectedAt: now, usedAt: Number.NEGATIVE_INFINITY, size: 0, pinned: false };
        this.records.set(image.id, record);
      }
      if (used.has(image.id)) record.usedAt = clock.monotonic();
      record.size = image.size;
      record.pinned = image.pinned || (sandbox !== undefined && isNamed(image, sandbox));
    }
    const present = new Set(images.map(({ id }) => id));
    for (const id of this.records.keys()) if (!present.has(id)) this.records.delete(id);
    return used;
  }

  /** What may go, the one first that was used the longest ago, among equals the one that was found first. */
  private async evictionOrder(freedAt: number): Promise<ImageRecord[]> {
    const used = await this.detect(freedAt);
    return [...this.records.values()]
      .filter(({ id, pinned }) => !used.has(id) && !pinned)
      .sort((a, b) => (a.usedAt === b.usedAt ? a.detectedAt - b.detectedAt : a.usedAt < b.usedAt ? -1 : 1));
  }

  private async freeOld(records: readonly ImageRecord[], freedAt: number): Promise<ImageRecord[]> {
    const { maxAgeMs } = this.options;
    // What this process knows of uses goes back to its start only.
    if (maxAgeMs === 0 || freedAt - this.startedAt <= maxAgeMs) return [...records];
    const old = records.filter(({ usedAt }) => freedAt - usedAt > maxAgeMs);
    const failures = await this.removeAll(old, 'age', () => false);
    if (failures.length > 0) {
      const minutes = Math.round(maxAgeMs / 60_000);
      throw failure(`wanted to free images older than ${minutes} minutes`, failures);
    }
    return records.filter((record) => !old.includes(record));
  }

  /** Answers how many bytes the removed images had. */
  private async freeSpace(records: readonly ImageRecord[], wanted: number, freedAt: number): Promise<number> {
    let freed = 0;
    const ripe = records.filter(({ detectedAt }) => freedAt - detectedAt >= this.options.minAgeMs);
    const failures = await this.removeAll(ripe, 'space', ({ size }) => {
      freed += size;
      return freed >= wanted;
    });
    if (failures.length > 0) throw failure(`wanted to free ${wanted} bytes, but freed ${freed} bytes`, failures);
    return freed;
  }

  /** Removes one after the other until `enough` says so; answers what went wrong. */
  private async removeAll(
    records: readonly ImageRecord[],
    reason: 'age' | 'space',
    enough: (removed: ImageRecord) => boolean,
  ): Promise<string[]> {
    const { cri, log } = this.deps;
    const failures: string[] = [];
    for (const record of records) {
      try {
        await cri.removeImage(record.id);
      } catch (error) {
        failures.push(messageOf(error));
        continue;
      }
      log.info({ image: record.id, bytes: record.size, reason }, 'an unused image was removed');
      this.records.delete(record.id);
      this.collected.inc({ reason });
      if (enough(record)) break;
    }
    return failures;
  }

  private async space(): Promise<{ readonly capacity: number; readonly available: number }> {
    const { cri, machine, event } = this.deps;
    const mountpoint = (await cri.imageFsInfo()).imageFilesystems[0]?.mountpoint;
    if (mountpoint === undefined) throw new CodedError('Unavailable', 'the runtime names no file system of images');
    const { capacityBytes: capacity, availableBytes } = await machine.filesystem(mountpoint);
    if (capacity === 0) {
      const message = 'invalid capacity 0 on image filesystem';
      event('InvalidDiskCapacity', message);
      throw new CodedError('Internal', message);
    }
    return { capacity, available: Math.min(availableBytes, capacity) };
  }
}

function usedImages(
  images: readonly Image[],
  containers: readonly Container[],
  mounted: ReadonlySet<string>,
): ReadonlySet<string> {
  const names = new Set(mounted);
  for (const { imageId, image, imageRef } of containers) {
    for (const name of [imageId, image, imageRef]) if (name !== undefined && name !== '') names.add(name);
  }
  const used = new Set<string>();
  for (const image of images) {
    if ([image.id, ...image.repoTags, ...image.repoDigests].some((name) => names.has(name))) used.add(image.id);
  }
  return used;
}

function isNamed(image: Image, name: string): boolean {
  return image.id === name || image.repoTags.includes(name) || image.repoDigests.includes(name);
}

function failure(what: string, failures: readonly string[]): CodedError {
  return new CodedError('Internal', `${what}, encountered errors in image deletion: ${failures.join('; ')}`);
}

function sizeText(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit: string | undefined;
  for (const larger of units) {
    if (size < 1024) break;
    size /= 1024;
    unit = larger;
  }
  return unit === undefined ? `${bytes} B` : `${size.toFixed(1)} ${unit}`;
}
