import { readFileSync } from 'node:fs';
import { tryCommand } from './run-command.ts';

export interface MountEntry {
  readonly mountPoint: string;
  readonly type: string;
}

// mountinfo writes blank, tab, newline and backslash as three octal digits.
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** All mounts of this mount namespace in the order of mounting (proc_pid_mountinfo(5)). */
export function listMounts(): MountEntry[] {
  const mounts: MountEntry[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4];
    if (mountPoint !== undefined)
      mounts.push({ mountPoint: unescapeOctal(mountPoint), type: after.split(' ')[0] ?? '' });
  }
  return mounts;
}

export function mountsBelow(directory: string): MountEntry[] {
  return listMounts().filter(
    ({ mountPoint }) => mountPoint === directory || mountPoint.startsWith(`${directory}/`), //
  );
}

/** Unmounts everything at and below a directory, last mounted first; what is busy is detached. */
export async function unmountBelow(directory: string): Promise<void> {
  for (let round = 0; round < 5; round++) {
    const mounts = mountsBelow(directory).reverse();
    if (mounts.length === 0) return;
    for (let start = 0; start < mounts.length; start += 100) {
      const targets = mounts.slice(start, start + 100).map(({ mountPoint }) => mountPoint);
      const result = await tryCommand(['umount', ...targets]);
      if (result.code !== 0) await tryCommand(['umount', '-l', ...targets]);
    }
  }
  const left = mountsBelow(directory);
  if (left.length > 0) {
    throw new Error(`cannot unmount ${left.map((mount) => mount.mountPoint).join(', ')}`);
  }
}
