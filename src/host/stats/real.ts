import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { nodeCgroupFiles } from '../cgroup/cgroup-files.ts';
import { parseCgroupMounts } from '../cgroup/mounts.ts';
import type { Mounts } from '../mount/port.ts';
import { CgroupUsageReader } from './cgroup-usage.ts';
import { diskUsage } from './disk-usage.ts';
import { FilesystemSpaceReader } from './filesystem-space.ts';
import { MountPoints } from './mount-points.ts';
import type { CgroupUsage, DiskUsage, FilesystemSpace, StatsPort } from './port.ts';

const SECTOR_BYTES = 512;

/** Usage from the kernel's cgroup files, lstat(2) and statfs(2). */
export class RealStats implements StatsPort {
  private readonly clock: Clock;
  private readonly mountPoints: MountPoints;
  private readonly spaces: FilesystemSpaceReader;
  private reader: Promise<CgroupUsageReader> | undefined;

  constructor(deps: { readonly clock: Clock; readonly mounts: Pick<Mounts, 'list'> }) {
    this.clock = deps.clock;
    this.mountPoints = new MountPoints(deps);
    this.spaces = new FilesystemSpaceReader({}, { ...deps, mountPoints: this.mountPoints });
  }

  async cgroup(path: string): Promise<CgroupUsage | undefined> {
    this.reader ??= this.open();
    return (await this.reader).read(path);
  }

  async disk(path: string, signal?: AbortSignal): Promise<DiskUsage | undefined> {
    const { real, server, below } = await this.mountPoints.of(path);
    // What lies deeper in such a file system has been reached through it already.
    if (server?.mountPoint === real) {
      const why = `a server is mounted there (${server.type})`;
      throw new CodedError('Conflict', `what ${path} takes is not asked: ${why}`, { path, type: server.type });
    }
    return diskUsage(real, () => this.clock.now(), signal, below);
  }

  space(path: string): Promise<FilesystemSpace> {
    return this.spaces.read(path);
  }

  async deviceBytes(path: string): Promise<number> {
    try {
      const { rdev } = await stat(path);
      // The kernel's numbering (makedev(3)) in reverse; a device's files lie in devtmpfs, which waits for nobody.
      const [major, minor] = [((rdev >> 8) & 0xfff) | 0, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)];
      return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES;
    } catch (error) {
      throw new CodedError('Internal', `ask how large ${path} is: ${messageOf(error)}`, { path }, error);
    }
  }

  private async open(): Promise<CgroupUsageReader> {
    const mounts = parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
    return new CgroupUsageReader(mounts, nodeCgroupFiles, () => this.clock.now());
  }
}
