import { beforeEach, describe, expect, it } from 'vitest';
import { FakeImages } from '../../../../src/host/cri/fake-images.ts';
import type { Container } from '../../../../src/host/cri/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { ImageCollector, type ImageCollectorOptions } from '../../../../src/pods/images/image-collector.ts';

const MINUTE = 60_000;
const GIB = 2 ** 30;

/** A disk of 100 GiB on which images of 10 GiB each lie beside whatever else is there. */
class Disk {
  readonly images = new FakeImages();
  readonly clock = new ManualClock();
  readonly events: string[] = [];
  readonly metrics = new Metrics();
  readonly used = new Set<string>();
  readonly mounted = new Set<string>();
  readonly stuck = new Set<string>();
  sandbox: string | undefined;
  elsewhereBytes = 0;
  capacityBytes = 100 * GIB;
  readonly collector: ImageCollector;

  constructor(options: Partial<ImageCollectorOptions> = {}) {
    this.collector = new ImageCollector(
      { highPercent: 85, lowPercent: 80, minAgeMs: 2 * MINUTE, maxAgeMs: 0, ...options },
      {
        cri: {
          listImages: async () => this.images.list(),
          imageStatus: async (name) => this.images.find(name),
          listContainers: async () =>
            [...this.used].map((image) => ({ id: image, image, imageRef: image }) as Container),
          removeImage: async (id) => {
            if (this.stuck.has(id)) throw new Error(`${id}: read-only file system`);
            this.images.remove(id);
          },
          imageFsInfo: async () => ({
            imageFilesystems: [{ atMs: 0, mountpoint: '/images', usedBytes: 0, inodesUsed: 0 }],
            containerFilesystems: [],
          }),
          sandboxImage: async () => this.sandbox,
        },
        machine: {
          filesystem: async () => ({
            device: 1,
            capacityBytes: this.capacityBytes,
            availableBytes:
              this.capacityBytes - this.elsewhereBytes - this.images.list().reduce((sum, { size }) => sum + size, 0),
            inodes: 0,
            inodesFree: 0,
          }),
        },
        mountedImages: () => this.mounted,
        event: (reason, message) => this.events.push(`${reason}: ${message}`),
        clock: this.clock,
        metrics: this.metrics,
        log: silent,
      },
    );
  }

  add(name: string, options: { pinned?: boolean } = {}): string {
    return this.images.add(`local/${name}:1`, { size: 10 * GIB, ...options }).id;
  }

  names(): string[] {
    return this.images
      .list()
      .map(({ repoTags }) => (repoTags[0] ?? '').replace(/^.*\/(.*):1$/, '$1'))
      .sort();
  }
}

describe('ImageCollector', () => {
  let disk: Disk;

  beforeEach(() => {
    disk = new Disk();
  });

  /** Each image is found a minute after the one before; the last is old enough to go. */
  async function fill(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      disk.add(name);
      await disk.collector.collect().catch(() => {});
      await disk.clock.advance(MINUTE);
    }
    await disk.clock.advance(2 * MINUTE);
    disk.events.length = 0;
  }

  it('removes nothing below the high threshold', async () => {
    await fill('a', 'b', 'c');
    disk.elsewhereBytes = 54 * GIB;
    await disk.collector.collect();
    expect(disk.names()).toEqual(['a', 'b', 'c']);
  });

  it('removes down to the low threshold, what was found first of those never used', async () => {
    await fill('a', 'b', 'c', 'd');
    disk.elsewhereBytes = 49 * GIB;
    await disk.collector.collect();
    expect(disk.names()).toEqual(['b', 'c', 'd']);
    expect(await disk.metrics.text()).toContain('kubelet_image_garbage_collected_total{reason="space"} 1');
  });

  it('removes what was used the longest ago, after all that was never used', async () => {
    disk = new Disk({ lowPercent: 70 });
    await fill('a', 'b', 'c', 'd');
    disk.used.add('local/a:1').add(disk.images.find('local/b:1')?.id ?? '');
    await disk.collector.collect();
    await disk.clock.advance(MINUTE);
    disk.used.delete('local/a:1');
    await disk.collector.collect();
    await disk.clock.advance(MINUTE);
    disk.used.clear();
    disk.elsewhereBytes = 55 * GIB;
    await disk.collector.collect();
    expect(disk.names()).toEqual(['b']);
  });

  it('keeps what is in use, mounted, pinned or too young, and says that it could not free enough', async () => {
    await fill('used', 'mounted');
    disk.add('pinned', { pinned: true });
    disk.used.add('docker.io/local/used:1');
    disk.mounted.add('local/mounted:1');
    await fill();
    disk.add('young');
    disk.elsewhereBytes = 55 * GIB;
    await expect(disk.collector.collect()).rejects.toThrow(/95% of 100.0 GiB used/);
    expect(disk.names()).toEqual(['mounted', 'pinned', 'used', 'young']);
    expect(disk.events).toEqual([
      "FreeDiskSpaceFailed: Insufficient free disk space on the node's image filesystem (95% of 100.0 GiB used). Failed to free sufficient space by deleting unused images (freed 0 bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or other data.",
    ]);
  });

  it('keeps the sandbox image of a runtime that pins none', async () => {
    disk.sandbox = 'docker.io/local/pause:1';
    await fill('pause', 'b');
    await disk.collector.deleteUnused();
    expect(disk.names()).toEqual(['pause']);
  });

  it('removes by age, once it has watched for that long', async () => {
    disk = new Disk({ maxAgeMs: 60 * MINUTE });
    disk.add('old');
    disk.add('used');
    disk.used.add('docker.io/local/used:1');
    const stop = new AbortController();
    const done = disk.collector.run(stop.signal);
    await disk.clock.advance(60 * MINUTE);
    expect(disk.names()).toEqual(['old', 'used']);
    await disk.clock.advance(5 * MINUTE);
    expect(disk.names()).toEqual(['used']);
    disk.used.clear();
    await disk.clock.advance(60 * MINUTE);
    expect(disk.names()).toEqual(['used']);
    await disk.clock.advance(10 * MINUTE);
    expect(disk.names()).toEqual([]);
    expect(await disk.metrics.text()).toContain('kubelet_image_garbage_collected_total{reason="age"} 2');
    stop.abort();
    await done;
  });

  it('goes on after a failed removal, and fails; the event comes with the second failure', async () => {
    await fill('a', 'b');
    disk.stuck.add(disk.images.find('local/a:1')?.id ?? '');
    disk.elsewhereBytes = 70 * GIB;
    const stop = new AbortController();
    const done = disk.collector.run(stop.signal);
    await disk.clock.advance(MINUTE);
    expect(disk.names()).toEqual(['a']);
    expect(disk.events).toEqual([]);
    disk.elsewhereBytes = 80 * GIB;
    await disk.clock.advance(5 * MINUTE);
    expect(disk.events).toHaveLength(1);
    expect(disk.events[0]).toMatch(
      /^ImageGCFailed: wanted to free \d+ bytes, but freed 0 bytes.*read-only file system/,
    );
    stop.abort();
    await done;
  });

  it('says so when the file system has no size', async () => {
    disk.capacityBytes = 0;
    await expect(disk.collector.collect()).rejects.toThrow('invalid capacity 0 on image filesystem');
    expect(disk.events).toEqual(['InvalidDiskCapacity: invalid capacity 0 on image filesystem']);
  });

  it('does not collect by itself with 100 percent and no age, but when asked', async () => {
    disk = new Disk({ highPercent: 100 });
    disk.add('a');
    disk.elsewhereBytes = 90 * GIB;
    const stop = new AbortController();
    const done = disk.collector.run(stop.signal);
    await disk.clock.advance(20 * MINUTE);
    expect(disk.names()).toEqual(['a']);
    await disk.collector.deleteUnused();
    expect(disk.names()).toEqual([]);
    stop.abort();
    await done;
  });
});
