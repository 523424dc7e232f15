import { join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { type CgroupFiles, cgroupError, directoriesIfThere, errnoOf, readIfThere } from './cgroup-files.ts';

/** How the processes of a cgroup are killed; the tests' processes are not real. */
export type Kill = (pid: number) => void;

export const sigkill: Kill = (pid) => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw cgroupError(error, `kill process ${pid}`);
  }
};

export interface RemoveDeps {
  readonly files: CgroupFiles;
  readonly clock: Clock;
  readonly kill: Kill;
}

// A killed process leaves its cgroup when it is reaped or at least dead; under memory pressure that takes a while.
const GIVE_UP_AFTER_MS = 5000;
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 100;

/** The directory and all below it, deepest first; empty when it is not there. */
export async function treeOf(files: CgroupFiles, directory: string): Promise<string[]> {
  const names = await directoriesIfThere(files, directory);
  if (names === undefined) return [];
  const below = await Promise.all(names.map((name) => treeOf(files, join(directory, name))));
  return [...below.flat(), directory];
}

/** The processes in these directories. Refuses when this process is one of them. */
export async function processesIn(files: CgroupFiles, directories: readonly string[]): Promise<number[]> {
  const pids = new Set<number>();
  for (const directory of directories) {
    const text = (await readIfThere(files, join(directory, 'cgroup.procs'))) ?? '';
    for (const line of text.split('\n')) {
      // 0 is a process of another PID namespace: nobody we could signal.
      if (line !== '' && line !== '0') pids.add(Number(line));
    }
  }
  if (pids.has(process.pid)) {
    throw new CodedError(
      'InvalidArgument',
      `remove cgroup ${directories.at(-1)}: deckhand itself (process ${process.pid}) is in it`,
    );
  }
  return [...pids];
}

/**
 * Kills what runs in the trees and removes them, again and again until they are gone: a process may fork between two
 * looks. Throws DeadlineExceeded after five seconds.
 */
export async function killAndRemove(roots: readonly string[], deps: RemoveDeps): Promise<void> {
  const { files, clock, kill } = deps;
  const deadline = clock.monotonic() + GIVE_UP_AFTER_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const trees = (await Promise.all(roots.map((root) => treeOf(files, root)))).flat();
    if (trees.length === 0) return;
    const pids = await processesIn(files, trees);
    for (const pid of pids) kill(pid);
    let busy: string | undefined;
    for (const directory of trees) {
      try {
        await files.rmdir(directory);
      } catch (error) {
        const code = errnoOf(error);
        if (code === 'ENOENT' || code === 'ENODEV') continue;
        if (code !== 'EBUSY' && code !== 'ENOTEMPTY') throw cgroupError(error, `remove cgroup ${directory}`);
        busy ??= directory;
      }
    }
    if (busy === undefined) return;
    if (clock.monotonic() >= deadline) {
      throw new CodedError(
        'DeadlineExceeded',
        `remove cgroup ${busy}: still in use after ${GIVE_UP_AFTER_MS} ms by processes ${pids.join(', ') || 'that cannot be seen'}`,
      );
    }
    await clock.sleep(pause);
  }
}
