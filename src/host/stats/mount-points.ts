import { realpath } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { holderOf } from '../mount/holder.ts';
import { isAtOrBelow, type MountEntry } from '../mount/mount-info.ts';
import type { Mounts } from '../mount/port.ts';
import { isRemoteType } from '../mount/remote-types.ts';

/** A pass over the volumes of a hundred pods reads the table once. */
const FRESH_MS = 1000;

export interface PlaceInTable {
  /** The path as the mount table spells it. */
  readonly real: string;
  /** What it lies on, where that depends on a server. */
  readonly server: MountEntry | undefined;
  /** What is mounted in it. */
  readonly below: ReadonlySet<string>;
}

/** Where paths lie, by the mount table alone: no path is touched itself, only the directory that it is in. */
export class MountPoints {
  private readonly deps: { readonly mounts: Pick<Mounts, 'list'>; readonly clock: Pick<Clock, 'monotonic'> };
  private table: readonly MountEntry[] = [];
  private readAt = Number.NEGATIVE_INFINITY;

  constructor(deps: { readonly mounts: Pick<Mounts, 'list'>; readonly clock: Pick<Clock, 'monotonic'> }) {
    this.deps = deps;
  }

  async of(path: string): Promise<PlaceInTable> {
    // The root directory may be reached through a symlink, and the table has real paths. What is not there has no place.
    const parent = await realpath(dirname(path)).catch(() => dirname(path));
    const real = parent === '/' ? `/${basename(path)}` : `${parent}/${basename(path)}`;
    const table = await this.read();
    const holder = holderOf(table, real);
    const below = table.filter(({ mountPoint }) => mountPoint !== real && isAtOrBelow(mountPoint, real));
    return {
      real,
      server: isRemoteType(holder.type) ? holder : undefined,
      below: new Set(below.map(({ mountPoint }) => mountPoint)),
    };
  }

  private async read(): Promise<readonly MountEntry[]> {
    const now = this.deps.clock.monotonic();
    if (now - this.readAt >= FRESH_MS) {
      this.table = await this.deps.mounts.list();
      this.readAt = now;
    }
    return this.table;
  }
}
