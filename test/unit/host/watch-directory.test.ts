import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { watchDirectory } from '../../../src/host/watch/real.ts';
import { waitFor } from '../../harness/wait-for.ts';

describe('watching a directory', () => {
  let folder: string;
  let names: (string | undefined)[];
  let ends: unknown[];
  let watcher: { close(): void };
  const watch = (directory: string): void => {
    watcher = watchDirectory(
      directory,
      (name) => names.push(name),
      (error) => ends.push(error),
    );
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'dhwatch-'));
    mkdirSync(join(folder, 'm'));
    names = [];
    ends = [];
  });
  afterEach(() => {
    watcher.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('names files that are written, moved into place and removed', async () => {
    watch(join(folder, 'm'));
    writeFileSync(join(folder, 'm', 'a'), 'x');
    await waitFor('a', () => names.includes('a'));
    writeFileSync(join(folder, 'b'), 'x');
    renameSync(join(folder, 'b'), join(folder, 'm', 'b'));
    await waitFor('b', () => names.includes('b'));
    names = [];
    rmSync(join(folder, 'm', 'a'));
    await waitFor('a', () => names.includes('a'));
    expect(ends).toEqual([]);
  });

  it('ends once when another directory takes its place', async () => {
    watch(join(folder, 'm'));
    renameSync(join(folder, 'm'), join(folder, 'old'));
    mkdirSync(join(folder, 'm'));
    await waitFor('the end', () => ends.length > 0);
    writeFileSync(join(folder, 'old', 'late'), 'x');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(ends).toHaveLength(1);
    expect(names).not.toContain('late');
  });

  it('ends at once when there is nothing to watch, and says nothing after it was closed', async () => {
    watch(join(folder, 'absent'));
    await waitFor('the end', () => ends.length === 1);
    watch(join(folder, 'm'));
    watcher.close();
    writeFileSync(join(folder, 'm', 'a'), 'x');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(names).toEqual([]);
  });
});
