import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where each cgroup hierarchy (v1 controllers, v2 unified) is mounted, from mountinfo (proc_pid_mountinfo(5)). */
export function cgroupHierarchies(): string[] {
  const mounts: string[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const type = after.split(' ')[0];
    const mountPoint = before.split(' ')[4];
    if ((type === 'cgroup' || type === 'cgroup2') && mountPoint !== undefined) mounts.push(mountPoint);
  }
  return mounts;
}

/** The cgroup directory and all below it, deepest first; empty when there is none. */
export function cgroupTree(directory: string): string[] {
  const found: string[] = [];
  const walk = (path: string): void => {
    let entries: string[];
    try {
      entries = readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name);
    } catch {
      return;
    }
    for (const name of entries) walk(join(path, name));
    found.push(path);
  };
  if (existsSync(directory)) walk(directory);
  return found;
}

/** Every directory of this path in every hierarchy, deepest first. */
export function cgroupDirectories(path: string): string[] {
  return cgroupHierarchies().flatMap((mount) => cgroupTree(join(mount, path)));
}

export function pidsIn(directories: readonly string[]): number[] {
  const pids = new Set<number>();
  for (const directory of directories) {
    try {
      for (const line of readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n')) {
        if (line !== '' && line !== '0') pids.add(Number(line));
      }
    } catch {
      // A threaded cgroup or one that has just gone.
    }
  }
  return [...pids];
}

export function removeDirectories(directories: readonly string[]): string[] {
  const left: string[] = [];
  for (const directory of directories) {
    try {
      rmdirSync(directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') left.push(directory);
    }
  }
  return left;
}
