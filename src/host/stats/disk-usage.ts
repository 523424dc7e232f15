import type { BigIntStats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { DiskUsage } from './port.ts';

/** st_blocks counts in these, whatever the file system's own blocks are (stat(2)). */
const BLOCK_BYTES = 512n;

/**
 * Walks a tree without opening more than one directory at a time and without following anything. Device and inode numbers
 * are 64 bits wide, so that they are compared as bigints.
 */
export async function diskUsage(
  path: string,
  now: () => number,
  signal: AbortSignal | undefined,
  /** What is mounted below. Nothing there counts, and a server that hangs behind it would keep the thread that asks. */
  mounted: ReadonlySet<string> = new Set(),
): Promise<DiskUsage | undefined> {
  const root = await ifThere(path);
  if (root === undefined) return undefined;
  const linked = new Set<string>();
  let bytes = root.blocks * BLOCK_BYTES;
  let inodes = 1;
  const open = root.isDirectory() ? [path] : [];
  for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
    for (const name of await namesIn(directory)) {
      signal?.throwIfAborted();
      if (mounted.has(`${directory}/${name}`)) continue;
      const found = await ifThere(`${directory}/${name}`);
      if (found === undefined || found.dev !== root.dev) continue;
      if (found.nlink > 1n && !found.isDirectory()) {
        const key = `${found.ino}`;
        if (linked.has(key)) continue;
        linked.add(key);
      }
      bytes += found.blocks * BLOCK_BYTES;
      inodes++;
      if (found.isDirectory()) open.push(`${directory}/${name}`);
    }
  }
  return { atMs: now(), usedBytes: Number(bytes), inodes };
}

async function ifThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isGone(error)) return undefined;
    throw failure(path, error);
  }
}

async function namesIn(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of await opendir(path)) names.push(name);
  } catch (error) {
    if (!isGone(error)) throw failure(path, error);
  }
  return names;
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function failure(path: string, error: unknown): CodedError {
  return new CodedError('Internal', `ask what ${path} takes: ${messageOf(error)}`, { path }, error);
}
