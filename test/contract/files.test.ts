import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../src/host/files/fake.ts';
import type { Files } from '../../src/host/files/port.ts';
import { RealFiles } from '../../src/host/files/real.ts';

const guard = { answers: async (): Promise<void> => {} };

describe.each(['fake', 'real'])('Files (%s)', (kind) => {
  let files: Files;
  let base: string;

  beforeEach(async () => {
    if (kind === 'fake') {
      files = new FakeFiles();
      base = '/base';
      await files.makeDirectory(base, 0o755);
    } else {
      files = new RealFiles({ guard });
      base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-files-')));
    }
  });

  afterEach(async () => {
    if (kind === 'real') await rm(base, { recursive: true });
  });

  it('makes directories with exact modes whatever the umask', async () => {
    expect(await files.makeDirectory(`${base}/p/q`, 0o777)).toBe(true);
    expect(await files.makeDirectory(`${base}/p/q`, 0o700)).toBe(false);
    expect(await files.lstat(`${base}/p/q`)).toMatchObject({ kind: 'directory', mode: 0o777 });
    expect(await files.lstat(`${base}/p`)).toMatchObject({ kind: 'directory', mode: 0o750 });
    await files.write(`${base}/f`, 'x', 0o600);
    await expect(files.makeDirectory(`${base}/f`, 0o755)).rejects.toMatchObject({ code: 'AlreadyExists' });
    const made = await files.makeTemporaryDirectory(`${base}/t.`, 0o755);
    expect(made).toMatch(/\/t\..{6}$/);
    expect(await files.lstat(made)).toMatchObject({ kind: 'directory', mode: 0o755 });
  });

  it('writes in place and reads from either end', async () => {
    await files.write(`${base}/f`, 'hello', 0o666);
    const before = await files.lstat(`${base}/f`);
    expect(before).toMatchObject({ kind: 'file', mode: 0o666, size: 5 });
    await files.write(`${base}/f`, 'goodbye', 0o666);
    expect((await files.lstat(`${base}/f`))?.inode).toBe(before?.inode);
    expect((await files.read(`${base}/f`)).toString()).toBe('goodbye');
    expect((await files.read(`${base}/f`, { maxBytes: 4 })).toString()).toBe('good');
    expect((await files.read(`${base}/f`, { maxBytes: 3, fromEnd: true })).toString()).toBe('bye');
    expect((await files.read(`${base}/f`, { maxBytes: 99, fromEnd: true })).toString()).toBe('goodbye');
    await expect(files.read(`${base}/absent`)).rejects.toMatchObject({ code: 'NotFound' });
    await files.createFile(`${base}/f`, 0o644);
    expect((await files.read(`${base}/f`)).toString()).toBe('goodbye');
    await files.createFile(`${base}/new`, 0o644);
    expect(await files.lstat(`${base}/new`)).toMatchObject({ mode: 0o644, size: 0 });
  });

  it('compresses a file piece by piece, and no symlink', async () => {
    const text = 'a line of a log\n'.repeat(20_000);
    await files.write(`${base}/log`, text, 0o640);
    await files.symlink(`${base}/log`, `${base}/link`);
    await files.compress(`${base}/log`, `${base}/log.gz`);
    expect(gunzipSync(await files.read(`${base}/log.gz`)).toString()).toBe(text);
    expect(await files.lstat(`${base}/log.gz`)).toMatchObject({ kind: 'file', mode: 0o640 });
    expect((await files.lstat(`${base}/log.gz`))?.size).toBeLessThan(text.length / 10);
    await files.compress(`${base}/log`, `${base}/log.gz`);
    await expect(files.compress(`${base}/absent`, `${base}/none`)).rejects.toMatchObject({ code: 'NotFound' });
    await expect(files.compress(`${base}/link`, `${base}/none`)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(files.compress(`${base}/log`, `${base}/link`)).rejects.toMatchObject({ code: 'InvalidArgument' });
    expect(await files.lstat(`${base}/none`)).toBeUndefined();
    expect((await files.read(`${base}/log`)).toString()).toBe(text);
  });

  it('tells symlinks from what they link to', async () => {
    await files.write(`${base}/f`, 'x', 0o600);
    await files.symlink('f', `${base}/l`);
    await files.symlink('absent', `${base}/dangling`);
    expect((await files.lstat(`${base}/l`))?.kind).toBe('symlink');
    expect((await files.stat(`${base}/l`))?.kind).toBe('file');
    expect(await files.stat(`${base}/dangling`)).toBeUndefined();
    expect(await files.readLink(`${base}/l`)).toBe('f');
    expect(await files.readLink(`${base}/absent`)).toBeUndefined();
    expect(await files.realPath(`${base}/l`)).toBe(`${base}/f`);
    await expect(files.read(`${base}/l`, { noFollow: true })).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(files.write(`${base}/l`, 'y', 0o600)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(files.symlink('x', `${base}/l`)).rejects.toMatchObject({ code: 'AlreadyExists' });
    await expect(files.readLink(`${base}/f`)).rejects.toMatchObject({ code: 'InvalidArgument' });
  });

  it('renames over what is there, and removes', async () => {
    await files.symlink('one', `${base}/l`);
    await files.symlink('two', `${base}/l2`);
    await files.rename(`${base}/l2`, `${base}/l`);
    expect(await files.readLink(`${base}/l`)).toBe('two');
    await files.remove(`${base}/l`);
    await files.remove(`${base}/l`);
    await files.makeDirectory(`${base}/d/e`, 0o755);
    await expect(files.removeDirectory(`${base}/d`)).rejects.toMatchObject({ code: 'Conflict' });
    await files.removeDirectory(`${base}/d/e`);
    await files.removeDirectory(`${base}/d/e`);
    await files.symlink(`${base}/d`, `${base}/to-d`);
    await files.write(`${base}/d/f`, 'x', 0o600);
    await files.makeDirectory(`${base}/tree/deep`, 0o755);
    await files.symlink(`${base}/d`, `${base}/tree/deep/link`);
    await expect(files.removeTree(`${base}/to-d`)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await files.removeTree(`${base}/tree`);
    await files.removeTree(`${base}/tree`);
    expect(await files.list(`${base}/tree`)).toBeUndefined();
    expect(await files.list(`${base}/d`)).toEqual(['f']);
  });

  it('gives a tree to a group once', async () => {
    await files.makeDirectory(`${base}/v`, 0o755);
    await files.makeDirectory(`${base}/v/sub`, 0o700);
    await files.write(`${base}/v/sub/f`, 'x', 0o600);
    await files.symlink('/nowhere', `${base}/v/link`);
    await files.giveToGroup(`${base}/v`, 4321, { readOnly: false, changePolicy: 'OnRootMismatch' });
    expect(await files.lstat(`${base}/v`)).toMatchObject({ gid: 4321, mode: 0o2775 });
    expect(await files.lstat(`${base}/v/sub`)).toMatchObject({ gid: 4321, mode: 0o2770 });
    expect(await files.lstat(`${base}/v/sub/f`)).toMatchObject({ gid: 4321, mode: 0o660 });
    expect(await files.lstat(`${base}/v/link`)).toMatchObject({ gid: 4321 });
    await files.setMode(`${base}/v/sub/f`, 0o600);
    await files.giveToGroup(`${base}/v`, 4321, { readOnly: false, changePolicy: 'OnRootMismatch' });
    expect(await files.lstat(`${base}/v/sub/f`)).toMatchObject({ mode: 0o600 });
    await files.giveToGroup(`${base}/v`, 4321, { readOnly: true, changePolicy: 'Always' });
    expect(await files.lstat(`${base}/v/sub/f`)).toMatchObject({ mode: 0o640 });
  });

  it('opens below a root without following symlinks', async () => {
    await files.makeDirectory(`${base}/r`, 0o2775);
    await files.makeDirectory(`${base}/r/real`, 0o755);
    await files.write(`${base}/r/real/f`, 'x', 0o600);
    await files.symlink('real', `${base}/r/link`);
    await files.symlink('f', `${base}/r/real/lf`);
    const held = await files.openBeneath(`${base}/r`, 'real/./f');
    expect(held.info).toMatchObject({ kind: 'file', size: 1 });
    await held.close();
    for (const bad of ['link', 'link/f', 'real/lf', '../r/real', '/etc', 'real/f/x']) {
      await expect(files.openBeneath(`${base}/r`, bad)).rejects.toMatchObject({ code: 'InvalidArgument' });
    }
    await expect(files.openBeneath(`${base}/r`, 'absent/x')).rejects.toMatchObject({ code: 'NotFound' });
    await files.setOwner(`${base}/r`, -1, 4321);
    await files.setMode(`${base}/r`, 0o2775);
    const made = await files.openBeneath(`${base}/r`, 'new/deeper', { createMode: 0o777 });
    await made.close();
    expect(await files.lstat(`${base}/r/new/deeper`)).toMatchObject({ kind: 'directory', mode: 0o2777, gid: 4321 });
    const root = await files.openBeneath(`${base}/r`, '');
    expect(root.info.kind).toBe('directory');
    await root.close();
  });

  it('resolves symlinks below a root and nowhere else', async () => {
    const root = `${base}/r`;
    await files.makeDirectory(`${root}/a/b`, 0o755);
    await files.write(`${root}/a/f`, 'x', 0o600);
    await files.symlink('a', `${root}/to-a`);
    await files.symlink('../a/f', `${root}/a/up`);
    await files.symlink(`${root}/a/b`, `${root}/absolute`);
    await files.symlink('/etc', `${root}/etc`);
    await files.symlink('../../..', `${root}/out`);
    await files.symlink('loop', `${root}/loop`);
    await files.symlink(`${root}x`, `${root}/sibling`);
    expect(await files.resolveBeneath(root, 'to-a/f')).toBe('a/f');
    expect(await files.resolveBeneath(root, 'to-a/up')).toBe('a/f');
    expect(await files.resolveBeneath(root, 'absolute/new/x')).toBe('a/b/new/x');
    expect(await files.resolveBeneath(root, '')).toBe('');
    for (const bad of ['etc', 'etc/passwd', 'out', 'out/x', 'loop', 'sibling', 'to-a/../../x']) {
      await expect(files.resolveBeneath(root, bad)).rejects.toMatchObject({ code: 'InvalidArgument' });
    }
  });
});
