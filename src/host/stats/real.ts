import { readFile } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { nodeCgroupFiles } from '../cgroup/cgroup-files.ts';
import { parseCgroupMounts } from '../cgroup/mounts.ts';
import { CgroupUsageReader } from './cgroup-usage.ts';
import { diskUsage } from './disk-usage.ts';
import type { CgroupUsage, DiskUsage, StatsPort } from './port.ts';

/** Usage from the kernel's cgroup files and lstat(2). */
export class RealStats implements StatsPort {
  private readonly clock: Pick<Clock, 'now'>;
  private reader: Promise<CgroupUsageReader> | undefined;

  constructor(deps: { readonly clock: Pick<Clock, 'now'> }) {
    this.clock = deps.clock;
  }

  async cgroup(path: string): Promise<CgroupUsage | undefined> {
    this.reader ??= this.open();
    return (await this.reader).read(path);
  }

  disk(path: string, signal?: AbortSignal): Promise<DiskUsage | undefined> {
    return diskUsage(path, () => this.clock.now(), signal);
  }

  private async open(): Promise<CgroupUsageReader> {
    const mounts = parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
    return new CgroupUsageReader(mounts, nodeCgroupFiles, () => this.clock.now());
  }
}
