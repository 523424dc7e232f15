import { isAtOrBelow, type MountEntry } from './mount-info.ts';

/** The mount that a path (absolute, without symlinks) lies on. A mount table always has a root. */
export function holderOf<T extends Pick<MountEntry, 'mountPoint'>>(table: readonly T[], path: string): T {
  return table.reduce((best, entry) =>
    isAtOrBelow(path, entry.mountPoint) && entry.mountPoint.length >= best.mountPoint.length ? entry : best,
  );
}
