import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import type { Files } from '../../../../src/host/files/port.ts';
import { atomicWrite } from '../../../../src/pods/volumes/atomic-writer.ts';
import type { Payload } from '../../../../src/pods/volumes/payload.ts';

const V = '/volume';
const NOW = Date.UTC(2026, 4, 6, 7, 8, 9);
const WRITES = new Set([
  'makeDirectory',
  'makeTemporaryDirectory',
  'write',
  'createFile',
  'setMode',
  'setOwner',
  'symlink',
  'rename',
  'remove',
  'removeDirectory',
  'removeTree',
  'giveToGroup',
]);

function payloadOf(contents: Readonly<Record<string, string>>, mode = 0o644): Payload {
  return new Map(Object.entries(contents).map(([path, text]) => [path, { data: Buffer.from(text), mode }]));
}

/** Passes calls on and counts those that change something; throws instead of making the one after `allowed`. */
function limited(files: FakeFiles, allowed: number): { files: Files; changes: () => number } {
  let changes = 0;
  const proxy = new Proxy(files, {
    get(target, name) {
      const member = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        if (WRITES.has(String(name)) && changes++ >= allowed) throw new Error('killed');
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { files: proxy, changes: () => changes };
}

/** What a reader sees: every visible name that can be read, with its contents. */
async function view(files: Files, directory = V): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  const walk = async (path: string, shown: string): Promise<void> => {
    const info = await files.stat(path);
    if (info?.kind === 'file') seen[shown] = (await files.read(path)).toString();
    if (info?.kind === 'directory') {
      for (const name of (await files.list(path)) ?? []) await walk(`${path}/${name}`, `${shown}/${name}`);
    }
  };
  for (const name of (await files.list(directory)) ?? []) {
    if (!name.startsWith('..')) await walk(`${directory}/${name}`, name);
  }
  return seen;
}

describe('atomicWrite', () => {
  let files: FakeFiles;

  beforeEach(async () => {
    files = new FakeFiles();
    await files.makeDirectory(V, 0o777);
  });

  it('shows files through ..data, with modes, owner and group', async () => {
    const payload: Payload = new Map([
      ['a', { data: Buffer.from('1'), mode: 0o400, uid: 7 }],
      ['dir/b', { data: Buffer.from('2'), mode: 0o644 }],
    ]);
    expect(await atomicWrite(files, V, payload, { now: NOW, gid: 99 })).toBe(true);
    expect(await files.readLink(`${V}/a`)).toBe('..data/a');
    expect(await files.readLink(`${V}/dir`)).toBe('..data/dir');
    expect(await files.readLink(`${V}/..data`)).toMatch(/^\.\.2026_05_06_07_08_09\./);
    expect(await view(files)).toEqual({ a: '1', 'dir/b': '2' });
    expect(await files.stat(`${V}/a`)).toMatchObject({ mode: 0o440, uid: 7, gid: 99 });
    expect(await files.stat(`${V}/dir/b`)).toMatchObject({ mode: 0o644, uid: 0, gid: 99 });
    expect(await files.stat(`${V}/dir`)).toMatchObject({ mode: 0o2755, gid: 99 });
  });

  it('writes nothing when nothing changed, and all at once when something did', async () => {
    const options = { now: NOW };
    await atomicWrite(files, V, payloadOf({ a: '1', 'd/x': '2', gone: '3' }), options);
    const first = await files.readLink(`${V}/..data`);
    const idle = limited(files, 0);
    expect(await atomicWrite(idle.files, V, payloadOf({ a: '1', 'd/x': '2', gone: '3' }), options)).toBe(false);
    expect(idle.changes()).toBe(0);
    for (const next of [
      { a: '1', 'd/x': '2' },
      { a: '1', 'd/x': '2', 'd/y': '' },
      { a: '12', 'd/x': '2' },
      { a: '1' },
      {},
    ]) {
      expect(await atomicWrite(files, V, payloadOf(next as Record<string, string>), options)).toBe(true);
      expect(await view(files)).toEqual(next);
    }
    expect(await files.readLink(`${V}/..data`)).not.toBe(first);
    expect((await files.list(V))?.length).toBe(2);
  });

  it('leaves a whole set to see after a kill at any step, and the next write repairs', async () => {
    const before = { a: 'old', same: 's', gone: 'x', 'd/one': '1' };
    const after = { a: 'new', same: 's', more: 'y', 'd/two': '2' };
    const set = async (from: Files, contents: Readonly<Record<string, string>>): Promise<boolean> =>
      atomicWrite(from, V, payloadOf(contents), { now: NOW, gid: 5 });
    let steps = 0;
    for (let allowed = 0; ; allowed++) {
      files = new FakeFiles();
      await files.makeDirectory(V, 0o777);
      await set(files, before);
      const killed = limited(files, allowed);
      const finished = await set(killed.files, after).then(
        () => true,
        () => false,
      );
      const seen = await view(files);
      const source = seen['a'] === 'new' ? after : before;
      // Never a mixture: each visible name has the contents of one and the same set.
      for (const [name, text] of Object.entries(seen)) expect(source).toHaveProperty([name], text);
      expect(seen['same']).toBe('s');
      if (source === before) expect(Object.keys(seen).sort()).toEqual(Object.keys(before).sort());
      await set(files, after);
      expect(await view(files)).toEqual(after);
      expect((await files.list(V))?.filter((name) => name.startsWith('..')).length).toBe(2);
      steps = allowed;
      if (finished) break;
    }
    expect(steps).toBeGreaterThan(10);
  });

  it('also after a kill during the very first write', async () => {
    for (let allowed = 0; allowed < 12; allowed++) {
      files = new FakeFiles();
      await files.makeDirectory(V, 0o777);
      const killed = limited(files, allowed);
      await atomicWrite(killed.files, V, payloadOf({ a: '1', b: '2' }), { now: NOW }).catch(() => {});
      const seen = await view(files);
      for (const [name, text] of Object.entries(seen)) expect({ a: '1', b: '2' }).toHaveProperty(name, text);
      await atomicWrite(files, V, payloadOf({ a: '1', b: '2' }), { now: NOW });
      expect(await view(files)).toEqual({ a: '1', b: '2' });
      expect((await files.list(V))?.length).toBe(4);
    }
  });

  it('puts a key in the place of an empty directory that a subPath left', async () => {
    await atomicWrite(files, V, payloadOf({ a: '1' }), { now: NOW });
    await files.makeDirectory(`${V}/late`, 0o755);
    await atomicWrite(files, V, payloadOf({ a: '1' }), { now: NOW });
    expect((await files.lstat(`${V}/late`))?.kind).toBe('directory');
    await atomicWrite(files, V, payloadOf({ a: '1', late: '2' }), { now: NOW });
    expect(await view(files)).toEqual({ a: '1', late: '2' });
  });
});
