import { mkdtemp, realpath, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeBlockDevices } from '../../src/host/block/fake.ts';
import type { BlockDevices } from '../../src/host/block/port.ts';
import { RealBlockDevices } from '../../src/host/block/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';

const kinds = process.getuid?.() === 0 ? ['fake', 'real'] : ['fake'];

describe.each(kinds)('BlockDevices (%s)', (kind) => {
  let blocks: BlockDevices;
  let base: string;
  let image: string;
  let device: string;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-block-')));
    image = join(base, 'disk');
    await writeFile(image, '');
    await truncate(image, 24 << 20);
    const fake = new FakeBlockDevices();
    blocks = kind === 'fake' ? fake : new RealBlockDevices({ clock: new SystemClock() });
    device = await blocks.attachLoop(image);
    fake.add(device);
  });

  afterEach(async () => {
    await blocks.detachLoop(device);
    expect(await blocks.loopOf(image)).toBeUndefined();
    await rm(base, { recursive: true });
  });

  it('holds a file by a loop device until that is freed', async () => {
    expect(device).toMatch(/^\/dev\/loop\d+$/);
    expect(await blocks.loopOf(image)).toBe(device);
    expect(await blocks.loopOf(join(base, 'other'))).toBeUndefined();
    const second = await blocks.attachLoop(image);
    expect(second).not.toBe(device);
    await blocks.detachLoop(second);
    await blocks.detachLoop(second);
    expect(await blocks.loopOf(image)).toBe(device);
  });

  it('formats, tells what is there, and checks it', async () => {
    expect(await blocks.contents(device)).toBeUndefined();
    await blocks.format(device, 'ext4');
    expect(await blocks.contents(device)).toBe('ext4');
    await blocks.check(device);
    await expect(blocks.format(device, 'nosuchfs')).rejects.toMatchObject({ code: 'Unavailable' });
    expect(await blocks.contents(device)).toBe('ext4');
  });

  it('says that a device is not there', async () => {
    const absent = join(base, 'absent');
    await expect(blocks.contents(absent)).rejects.toMatchObject({ code: 'NotFound' });
    await expect(blocks.format(absent, 'ext4')).rejects.toThrow(absent);
  });
});
