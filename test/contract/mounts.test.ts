import { mkdir, mkdtemp, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeMounts } from '../../src/host/mount/fake.ts';
import { makeShared } from '../../src/host/mount/make-shared.ts';
import type { Mounts } from '../../src/host/mount/port.ts';
import { RealMounts } from '../../src/host/mount/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;
const refuses = ({ type, target }: { type: string; target: string }): string | undefined =>
  type === 'nosuchfs' ? `mount: ${target}: unknown filesystem type 'nosuchfs'.` : undefined;
const adapters: [string, () => Mounts][] = [['fake', () => new FakeMounts({ exists, refuses })]];
if (process.getuid?.() === 0) adapters.push(['real', () => new RealMounts({}, { clock: new SystemClock() })]);

describe.each(adapters)('Mounts (%s)', (_, make) => {
  let mounts: Mounts;
  let base: string;

  beforeEach(async () => {
    mounts = make();
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-mounts-')));
    for (const name of ['a', 'b', 'with space']) await mkdir(join(base, name));
    await writeFile(join(base, 'file'), 'x');
  });

  afterEach(async () => {
    for (const { mountPoint } of (await mounts.list(base)).reverse()) await mounts.unmount(mountPoint, { lazy: true });
    expect(await mounts.list(base)).toEqual([]);
    await rm(base, { recursive: true });
  });

  it('mounts a tmpfs with size and mode, and takes it away', async () => {
    const target = join(base, 'with space');
    await mounts.tmpfs(target, { name: 'dhvol', sizeBytes: 65536, mode: 0o2777, gid: 1234, restricted: true });
    const [entry, ...more] = await mounts.list(target);
    expect(more).toEqual([]);
    expect(entry).toMatchObject({ mountPoint: target, type: 'tmpfs', source: 'dhvol', root: '/' });
    expect(entry?.options).toContain('nosuid,nodev');
    expect(entry?.superOptions).toContain('size=64k');
    expect(entry?.superOptions).toContain('mode=2777');
    expect(entry?.superOptions).toContain('gid=1234');
    await mounts.unmount(target);
    expect(await mounts.list(target)).toEqual([]);
    await mounts.unmount(target);
  });

  it('binds directories and files, and makes them read-only', async () => {
    await mkdir(join(base, 'target'));
    await writeFile(join(base, 'file-target'), '');
    await mounts.bind(join(base, 'a'), join(base, 'target'));
    await mounts.bind(join(base, 'file'), join(base, 'file-target'));
    await mounts.remountReadOnly(join(base, 'target'));
    const entries = await mounts.list(base);
    expect(entries.map(({ mountPoint }) => mountPoint)).toEqual([join(base, 'target'), join(base, 'file-target')]);
    expect(entries[0]?.root.endsWith('/a')).toBe(true);
    expect(entries[0]?.options.startsWith('ro')).toBe(true);
    expect(entries[1]?.options.startsWith('rw')).toBe(true);
  });

  it('refuses targets and sources that do not exist, and relative paths', async () => {
    await expect(mounts.tmpfs(join(base, 'absent'), { name: 'x', mode: 0o755 })).rejects.toMatchObject({
      code: 'NotFound',
    });
    await expect(mounts.bind(join(base, 'absent'), join(base, 'a'))).rejects.toMatchObject({ code: 'NotFound' });
    await expect(mounts.bind(join(base, 'a'), join(base, 'absent'))).rejects.toMatchObject({ code: 'NotFound' });
    await expect(mounts.bind('a', join(base, 'a'))).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(mounts.remountReadOnly(join(base, 'a'))).rejects.toMatchObject({ code: 'CommandFailed' });
  });

  it('keeps a mount that has another one in it, unless told to detach lazily', async () => {
    const outer = join(base, 'a');
    await mounts.tmpfs(outer, { name: 'outer', mode: 0o755 });
    await mkdir(join(outer, 'inner'));
    await mounts.tmpfs(join(outer, 'inner'), { name: 'inner', mode: 0o755 });
    await expect(mounts.unmount(outer)).rejects.toMatchObject({ code: 'Conflict' });
    expect(await mounts.list(base)).toHaveLength(2);
    await mounts.unmount(outer, { lazy: true });
    expect(await mounts.list(base)).toEqual([]);
  });

  it('takes away the topmost of two mounts at one place', async () => {
    const target = join(base, 'a');
    await mounts.tmpfs(target, { name: 'first', mode: 0o755 });
    await mounts.tmpfs(target, { name: 'second', mode: 0o755 });
    await mounts.unmount(target);
    expect((await mounts.list(target)).map(({ source }) => source)).toEqual(['first']);
  });

  it('shares a directory with its mounts', async () => {
    const target = join(base, 'b');
    await mounts.shareRecursively(target);
    await mounts.shareRecursively(target);
    const entries = await mounts.list(target);
    expect(entries).toHaveLength(1);
    expect(entries[0]?.propagation.some((field) => field.startsWith('shared:'))).toBe(true);
  });

  it('mounts filesystems by type and options, and tells the words of mount(8) when it cannot', async () => {
    const target = join(base, 'a');
    await mounts.mount({ type: 'tmpfs', source: 'dhvol', target, options: ['ro', 'size=64k'] });
    const [entry] = await mounts.list(target);
    expect(entry).toMatchObject({ mountPoint: target, type: 'tmpfs', source: 'dhvol' });
    expect(entry?.options).toMatch(/^ro/);
    expect(entry?.superOptions).toContain('size=64k');
    expect(await mounts.isRemote(target)).toBe(false);
    const refused = mounts.mount({
      type: 'nosuchfs',
      source: '/dev/zero',
      target: join(base, 'b'),
      options: ['noatime'],
    });
    await expect(refused).rejects.toMatchObject({ code: 'CommandFailed' });
    await expect(refused).rejects.toThrow(
      `mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nosuchfs -o noatime /dev/zero ${join(base, 'b')}\nOutput: `,
    );
    expect(await mounts.list(join(base, 'b'))).toEqual([]);
  });

  it('shares a directory once, and not where it is shared already', async () => {
    const directory = join(base, 'a');
    await makeShared(mounts, directory);
    const once = await mounts.list(directory);
    expect(once.at(-1)?.propagation.join()).toContain('shared:');
    await mkdir(join(directory, 'deep'));
    await makeShared(mounts, join(directory, 'deep'));
    await makeShared(mounts, directory);
    expect(await mounts.list(base)).toEqual(once);
  });
});
