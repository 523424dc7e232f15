import { beforeEach, describe, expect, it } from 'vitest';
import { StaticPodDecoder } from '../../../../src/daemon/static-pod-decoder.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { FileSource } from '../../../../src/pods/sources/file-source.ts';
import { collecting, manifest, NODE } from './support.ts';

const CHECK_MS = 20_000;

/** A folder in memory with somebody who watches it, as inotify does. */
class World {
  readonly files = new FakeFiles();
  readonly clock = new ManualClock();
  readonly told = collecting();
  readonly watchers = new Map<string, { change: (name: string | undefined) => void; end: (error: unknown) => void }>();
  reports: (readonly Pod[])[] = [];
  private readonly stop = new AbortController();

  async start(path = '/m'): Promise<void> {
    const source = new FileSource(
      { path, nodeName: NODE, checkMs: CHECK_MS },
      {
        files: this.files,
        watch: (directory, change, end) => {
          this.watchers.set(directory, { change, end });
          return { close: () => this.watchers.delete(directory) };
        },
        decoder: new StaticPodDecoder(),
        clock: this.clock,
        log: this.told.log,
        report: (pods) => this.reports.push(pods),
      },
    );
    void source.run(this.stop.signal);
    await this.settle();
  }

  /** Decoding takes some turns of the real event loop (the YAML reader is loaded). */
  async settle(ms = 0): Promise<void> {
    await this.clock.advance(ms);
    for (let turn = 0; turn < 5; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 4));
      await this.clock.advance(0);
    }
  }

  async write(name: string, text: string): Promise<void> {
    await this.files.write(`/m/${name}`, text, 0o644);
    this.watchers.get('/m')?.change(name);
  }

  get names(): string[] | undefined {
    return this.reports
      .at(-1)
      ?.map(({ metadata }) => metadata.name ?? '')
      .sort();
  }

  images(): (string | undefined)[] | undefined {
    return this.reports.at(-1)?.map(({ spec }) => spec.containers[0]?.image);
  }
}

describe('static pods from files', () => {
  let world: World;
  beforeEach(async () => {
    world = new World();
    await world.files.makeDirectory('/m', 0o755);
  });

  it('reads every file of the folder but hidden ones and folders', async () => {
    await world.files.write('/m/a.yaml', manifest('a'), 0o644);
    await world.files.write('/m/without-extension', manifest('b'), 0o644);
    await world.files.write('/m/.c.yaml', manifest('c'), 0o644);
    await world.files.makeDirectory('/m/below', 0o755);
    await world.files.write('/m/below/d.yaml', manifest('d'), 0o644);
    await world.start('/m/');
    expect(world.names).toEqual(['a-node-1', 'b-node-1']);
    expect(world.told.lines.join()).toMatch(/below.*folders in the static pod path are passed over/);
  });

  it('reports that there is nothing when the path does not exist, and follows it when it does', async () => {
    await world.start('/later');
    expect(world.reports).toEqual([[]]);
    await world.files.makeDirectory('/later', 0o755);
    await world.files.write('/later/a.yaml', manifest('a'), 0o644);
    await world.settle(CHECK_MS);
    expect(world.names).toEqual(['a-node-1']);
  });

  it('follows changes at once, but not before a file has been left alone', async () => {
    await world.start();
    await world.write('a.yaml', manifest('a', 'one'));
    await world.settle(50);
    expect(world.names).toEqual([]);
    await world.write('a.yaml', manifest('a', 'two'));
    await world.settle(60);
    expect(world.names).toEqual([]);
    await world.settle(60);
    expect(world.images()).toEqual(['two']);
    await world.files.remove('/m/a.yaml');
    world.watchers.get('/m')?.change('a.yaml');
    await world.settle(150);
    expect(world.names).toEqual([]);
  });

  it('finds what nobody told of at the next look', async () => {
    await world.start();
    await world.files.write('/m/a.yaml', manifest('a'), 0o644);
    await world.settle(CHECK_MS / 2);
    expect(world.names).toEqual([]);
    await world.settle(CHECK_MS / 2);
    expect(world.names).toEqual(['a-node-1']);
  });

  it('keeps the last good version of a file that turns bad until the next look, and harms no other', async () => {
    await world.files.write('/m/a.yaml', manifest('a'), 0o644);
    await world.files.write('/m/b.yaml', manifest('b'), 0o644);
    await world.start();
    await world.write('a.yaml', 'kind: [');
    await world.settle(150);
    expect(world.names).toEqual(['a-node-1', 'b-node-1']);
    await world.settle(CHECK_MS);
    expect(world.names).toEqual(['b-node-1']);
    await world.settle(3 * CHECK_MS);
    expect(world.told.lines.filter((line) => line.includes('/m/a.yaml'))).toHaveLength(1);
    await world.write('a.yaml', manifest('a'));
    await world.settle(150);
    expect(world.names).toEqual(['a-node-1', 'b-node-1']);
  });

  it('leaves everything as it is when the one file that it is given turns bad', async () => {
    await world.files.write('/m/a.yaml', manifest('a'), 0o644);
    await world.start('/m/a.yaml');
    expect(world.watchers.has('/m')).toBe(true);
    await world.write('a.yaml', 'kind: [');
    await world.settle(CHECK_MS + 200);
    expect(world.names).toEqual(['a-node-1']);
    await world.write('other.yaml', manifest('other'));
    await world.write('a.yaml', manifest('a', 'two'));
    await world.settle(200);
    expect(world.images()).toEqual(['two']);
  });

  it('takes one of two files with the same pod', async () => {
    await world.files.write('/m/a.yaml', manifest('same', 'one'), 0o644);
    await world.files.write('/m/b.yaml', manifest('same', 'two'), 0o644);
    await world.start();
    expect(world.images()).toEqual(['two']);
    expect(world.told.lines.join()).toMatch(/another file has a pod default\/same-node-1 too/);
  });

  it('watches again after the watch has ended, and sees what came in between', async () => {
    await world.files.write('/m/a.yaml', manifest('a', 'one'), 0o644);
    await world.start();
    world.watchers.get('/m')?.end(new Error('gone'));
    world.watchers.delete('/m');
    await world.files.write('/m/a.yaml', manifest('a', 'two'), 0o644);
    await world.settle(1100);
    await world.settle(200);
    expect(world.watchers.has('/m')).toBe(true);
    expect(world.images()).toEqual(['two']);
  });

  it('refuses a file beyond 10 MiB', async () => {
    await world.files.write('/m/a.yaml', Buffer.alloc(10 * 1024 * 1024 + 1, 0x20), 0o644);
    await world.start();
    expect(world.names).toEqual([]);
    expect(world.told.lines.join()).toMatch(/is larger than 10485760 bytes/);
  });
});
