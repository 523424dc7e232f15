import { link, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RealMounts } from '../../../../src/host/mount/real.ts';
import { RealStats } from '../../../../src/host/stats/real.ts';
import { SystemClock } from '../../../../src/kit/clock.ts';

describe('what a directory takes', () => {
  const clock = new SystemClock();
  const stats = new RealStats({ clock, mounts: new RealMounts({}, { clock }) });
  let base: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'dhdu-'));
  });
  afterEach(() => rm(base, { recursive: true }));

  it('is blocks and inodes of everything in it, a file with two links once, and nothing behind a symlink', async () => {
    await mkdir(join(base, 'a/b'), { recursive: true });
    await writeFile(join(base, 'a/b/file'), 'x'.repeat(10_000));
    await link(join(base, 'a/b/file'), join(base, 'a/again'));
    await symlink('/usr', join(base, 'a/away'));
    let bytes = 0;
    for (const name of ['', 'a', 'a/b', 'a/b/file', 'a/away']) bytes += (await lstat(join(base, name))).blocks * 512;
    expect(await stats.disk(base)).toMatchObject({ usedBytes: bytes, inodes: 5 });
  });

  it('counts a hole for nothing', async () => {
    const file = join(base, 'hole');
    const { open } = await import('node:fs/promises');
    const handle = await open(file, 'w');
    await handle.truncate(50 * 1024 * 1024);
    await handle.close();
    expect((await stats.disk(file))?.usedBytes).toBeLessThan(1024 * 1024);
  });

  it('is nothing where there is nothing', async () => {
    expect(await stats.disk(join(base, 'absent'))).toBeUndefined();
  });

  it('is left off when the signal aborts', async () => {
    await writeFile(join(base, 'file'), '');
    await expect(stats.disk(base, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});
