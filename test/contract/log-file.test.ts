import { appendFile, mkdtemp, realpath, rename, rm, truncate, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeLogFiles } from '../../src/host/log-file/fake.ts';
import type { LogFiles } from '../../src/host/log-file/port.ts';
import { RealLogFiles } from '../../src/host/log-file/real.ts';

interface Hand {
  append(path: string, text: string): unknown;
  truncate(path: string): unknown;
  rename(from: string, to: string): unknown;
  remove(path: string): unknown;
}

describe.each(['fake', 'real'])('LogFiles (%s)', (kind) => {
  let files: LogFiles;
  let hand: Hand;
  let base: string;

  beforeEach(async () => {
    if (kind === 'fake') {
      const fake = new FakeLogFiles();
      [files, hand, base] = [fake, fake, '/logs'];
    } else {
      base = await realpath(await mkdtemp(join(tmpdir(), 'dhlog-')));
      files = new RealLogFiles();
      hand = { append: appendFile, truncate: (path) => truncate(path, 0), rename, remove: unlink };
    }
  });
  afterEach(async () => {
    if (kind === 'real') await rm(base, { recursive: true });
  });

  it('reads from a position, and what is added later', async () => {
    const path = `${base}/0.log`;
    await hand.append(path, 'hello');
    const file = await files.open(path);
    const into = Buffer.alloc(3);
    expect([await file.read(into, 0), into.toString()]).toEqual([3, 'hel']);
    expect([await file.read(into, 3), into.toString('utf8', 0, 2)]).toEqual([2, 'lo']);
    expect(await file.read(into, 5)).toBe(0);
    await hand.append(path, '!');
    expect([await file.read(into, 5), into.toString('utf8', 0, 1)]).toEqual([1, '!']);
    expect(await file.size()).toBe(6);
    await hand.truncate(path);
    expect([await file.size(), await file.read(into, 0)]).toEqual([0, 0]);
    expect(await file.read(into, 6)).toBe(0);
    await file.close();
  });

  it('keeps a file that lost its name, and tells when another has it', async () => {
    const path = `${base}/0.log`;
    await hand.append(path, 'a');
    const file = await files.open(path);
    expect(await files.inode(path)).toBe(file.inode);
    await hand.rename(path, `${path}.1`);
    expect(await files.inode(path)).toBeUndefined();
    await hand.append(`${path}.1`, 'b');
    await hand.append(path, 'new');
    expect(await files.inode(path)).not.toBe(file.inode);
    expect(await files.inode(`${path}.1`)).toBe(file.inode);
    await hand.remove(`${path}.1`);
    const into = Buffer.alloc(9);
    expect([await file.read(into, 0), into.toString('utf8', 0, 2)]).toEqual([2, 'ab']);
    await file.close();
  });

  it('says that there is none', async () => {
    await expect(files.open(`${base}/none`)).rejects.toMatchObject({ code: 'NotFound' });
    expect(await files.inode(`${base}/none`)).toBeUndefined();
  });
});
