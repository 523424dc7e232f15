import { mkdir, mkdtemp, realpath, rm, statfs, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RealBlockDevices } from '../../src/host/block/real.ts';
import { RealMounts } from '../../src/host/mount/real.ts';
import { FilesystemSpaceReader } from '../../src/host/stats/filesystem-space.ts';
import { MountPoints } from '../../src/host/stats/mount-points.ts';
import { RealStats } from '../../src/host/stats/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { SilentFuse } from '../host/node/support/silent-fuse.ts';

const clock = new SystemClock();
const mounts = new RealMounts({}, { clock });

describe.runIf(process.getuid?.() === 0)('how much room there is', () => {
  let base: string;
  let stats: RealStats;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhspace-')));
    stats = new RealStats({ clock, mounts });
  });
  afterEach(async () => {
    for (const { mountPoint } of (await mounts.list(base)).reverse()) await mounts.unmount(mountPoint, { lazy: true });
    await rm(base, { recursive: true });
  });

  it('on a file system of this host, also behind a symlink of the root directory', async () => {
    await mkdir(join(base, 'root', 'v'), { recursive: true });
    await symlink(join(base, 'root'), join(base, 'alias'));
    await mounts.tmpfs(join(base, 'root', 'v'), { name: 'dhspace', mode: 0o700, sizeBytes: 1 << 20 });
    await writeFile(join(base, 'root', 'v', 'file'), Buffer.alloc(8192));
    const found = await stats.space(join(base, 'alias', 'v'));
    expect(found).toMatchObject({ capacityBytes: 1 << 20, usedBytes: 8192, availableBytes: (1 << 20) - 8192 });
    expect(found.inodesUsed).toBe(2);
    await expect(stats.space(join(base, 'absent'))).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('is asked of a server by a process, with the same answer', async () => {
    const server = { real: base, server: (await mounts.list())[0], below: new Set<string>() };
    const reader = new FilesystemSpaceReader({}, { clock, mountPoints: { of: async () => server } });
    const { bsize, blocks, files } = await statfs(base);
    const found = await reader.read(base);
    expect(found).toMatchObject({ capacityBytes: bsize * blocks, inodes: files });
    expect(found.usedBytes).toBeGreaterThan(0);
    const absent = { ...server, real: join(base, 'absent') };
    const other = new FilesystemSpaceReader({}, { clock, mountPoints: { of: async () => absent } });
    await expect(other.read(absent.real)).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('is not waited for where a server is silent, and what is mounted in a directory is not touched', async () => {
    const fuse = await SilentFuse.mount(join(base, 'silent'));
    try {
      const mountPoints = new MountPoints({ mounts, clock });
      const reader = new FilesystemSpaceReader({ deadlineMs: 200 }, { clock, mountPoints });
      await expect(reader.read(fuse.path)).rejects.toThrow('no answer within 200 ms');
      await expect(reader.read(fuse.path)).rejects.toMatchObject({ code: 'DeadlineExceeded' });
      await expect(stats.disk(fuse.path)).rejects.toThrow('a server is mounted there (fuse)');
      // What lies beside it is counted; what is mounted there is not touched.
      expect(await stats.disk(base)).toMatchObject({ inodes: 1 });
    } finally {
      await fuse.close();
    }
  });

  it('on a block device is its size', async () => {
    const blocks = new RealBlockDevices({ clock });
    await writeFile(join(base, 'disk'), '');
    await truncate(join(base, 'disk'), 3 << 20);
    const device = await blocks.attachLoop(join(base, 'disk'));
    try {
      expect(await stats.deviceBytes(device)).toBe(3 << 20);
    } finally {
      await blocks.detachLoop(device);
    }
    await expect(stats.deviceBytes(join(base, 'disk'))).rejects.toMatchObject({ code: 'Internal' });
  });
});
