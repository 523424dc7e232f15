import { join } from 'node:path';
import { CodedError } from '../../kit/errors.ts';
import { weightFromShares } from '../../model/cpu.ts';
import {
  cgroupError,
  directoriesIfThere,
  directoryExists,
  errnoOf,
  makeDirectory,
  readIfThere,
  statValue,
  writeFileOf,
} from './cgroup-files.ts';
import { cgroupParts, readableParts } from './cgroup-path.ts';
import { defined } from './cgroup-v1.ts';
import { killAndRemove, processesIn, type RemoveDeps, treeOf } from './kill-and-remove.ts';
import type { CgroupLimits, CgroupPort, CgroupReading } from './port.ts';

const DEFAULT_PERIOD_US = 100_000;

/** cgroup v2: one tree for all controllers, which each level hands down by cgroup.subtree_control. */
export class CgroupV2 implements CgroupPort {
  readonly version = 2;
  readonly controllers: ReadonlySet<string>;
  private readonly mountPoint: string;
  private readonly deps: RemoveDeps;

  private constructor(mountPoint: string, controllers: ReadonlySet<string>, deps: RemoveDeps) {
    this.mountPoint = mountPoint;
    this.controllers = controllers;
    this.deps = deps;
  }

  static async open(mountPoint: string, deps: RemoveDeps): Promise<CgroupV2> {
    const text = await readIfThere(deps.files, join(mountPoint, 'cgroup.controllers'));
    if (text === undefined)
      throw new CodedError('NotFound', `${mountPoint} is no cgroup v2 hierarchy: it has no cgroup.controllers`);
    return new CgroupV2(mountPoint, new Set(text.split(' ').filter(Boolean)), deps);
  }

  exists(path: string): Promise<boolean> {
    return directoryExists(this.deps.files, this.directory(path));
  }

  async apply(path: string, limits: CgroupLimits): Promise<void> {
    const { files } = this.deps;
    let directory = this.mountPoint;
    for (const part of cgroupParts(path)) {
      await this.handDown(directory);
      directory = join(directory, part);
      await makeDirectory(files, directory);
    }
    const write = (file: string, value: string | number): Promise<void> =>
      writeFileOf(files, join(directory, file), String(value));
    if (limits.cpuShares !== undefined && this.controllers.has('cpu')) {
      if (limits.cpuShares < 2 || limits.cpuShares > 262_144) {
        throw new CodedError('InvalidArgument', `set ${path}: cpu shares are ${limits.cpuShares}, need 2 to 262144`);
      }
      await write('cpu.weight', weightFromShares(limits.cpuShares));
    }
    if ((limits.cpuQuota !== undefined || limits.cpuPeriod !== undefined) && this.controllers.has('cpu')) {
      const now = await this.cpuMax(directory);
      const quota = limits.cpuQuota ?? now.quota;
      await write('cpu.max', `${quota < 0 ? 'max' : quota} ${limits.cpuPeriod ?? now.period}`);
    }
    if (limits.memoryLimit !== undefined && this.controllers.has('memory')) {
      await this.writeMemoryMax(directory, limits.memoryLimit);
    }
    if (limits.pidsLimit !== undefined && this.controllers.has('pids')) {
      await write('pids.max', limits.pidsLimit < 0 ? 'max' : limits.pidsLimit);
    }
    if (this.controllers.has('hugetlb')) {
      for (const [size, bytes] of Object.entries(limits.hugepages ?? {})) {
        await write(`hugetlb.${size}.max`, bytes);
        // Reservations count on their own since Linux 5.7 and would fail late, at the page fault, if left open.
        await files.write(join(directory, `hugetlb.${size}.rsvd.max`), String(bytes)).catch((error) => {
          if (errnoOf(error) !== 'ENOENT')
            throw cgroupError(error, `write ${bytes} to ${directory}/hugetlb.${size}.rsvd.max`);
        });
      }
    }
    for (const [file, text] of Object.entries(limits.unified ?? {})) {
      if (!/^[a-z0-9_.]+$/.test(file))
        throw new CodedError('InvalidArgument', `set ${path}: ${JSON.stringify(file)} is no cgroup file`);
      await write(file, text);
    }
  }

  async accountsSwap(): Promise<boolean> {
    const { files } = this.deps;
    // The root itself has no limits.
    for (const name of (await directoriesIfThere(files, this.mountPoint)) ?? []) {
      if ((await readIfThere(files, join(this.mountPoint, name, 'memory.swap.max'))) !== undefined) return true;
    }
    return false;
  }

  async remove(path: string): Promise<void> {
    const directory = this.directory(path);
    const { files } = this.deps;
    const tree = await treeOf(files, directory);
    if (tree.length === 0) return;
    // cgroup.kill (Linux 5.14) takes the whole tree at once and cannot be outrun by forks; without it, one by one.
    if ((await processesIn(files, tree)).length > 0)
      await files.write(join(directory, 'cgroup.kill'), '1').catch(() => {});
    await killAndRemove([directory], this.deps);
  }

  async children(path: string): Promise<string[]> {
    return ((await directoriesIfThere(this.deps.files, this.directory(path))) ?? []).sort();
  }

  async read(path: string): Promise<CgroupReading> {
    const directory = join(this.mountPoint, ...readableParts(path));
    const text = (file: string): Promise<string | undefined> => readIfThere(this.deps.files, join(directory, file));
    const number = async (file: string): Promise<number | undefined> => {
      const value = await text(file);
      return value === undefined ? undefined : value === 'max' ? -1 : Number(value);
    };
    const max = (await text('cpu.max')) === undefined ? undefined : await this.cpuMax(directory);
    return defined({
      cpuShares: undefined,
      cpuWeight: await number('cpu.weight'),
      cpuQuota: max?.quota,
      cpuPeriod: max?.period,
      memoryLimit: await number('memory.max'),
      memoryUsage: await number('memory.current'),
      memoryInactiveFile: statValue(await text('memory.stat'), 'inactive_file'),
      pidsLimit: await number('pids.max'),
      pids: (await text('cgroup.procs'))?.split('\n').filter(Boolean).map(Number),
    });
  }

  async memoryPeak(path: string): Promise<number | undefined> {
    const text = await readIfThere(this.deps.files, join(this.directory(path), 'memory.peak'));
    return text === undefined ? undefined : Number(text);
  }

  private directory(path: string): string {
    return join(this.mountPoint, ...cgroupParts(path));
  }

  /** Gives the children of a directory every controller that it has itself. */
  private async handDown(directory: string): Promise<void> {
    const { files } = this.deps;
    const words = async (file: string): Promise<string[]> =>
      ((await readIfThere(files, join(directory, file))) ?? '').split(' ').filter(Boolean);
    const given = new Set(await words('cgroup.subtree_control'));
    for (const controller of await words('cgroup.controllers')) {
      if (given.has(controller)) continue;
      try {
        await files.write(join(directory, 'cgroup.subtree_control'), `+${controller}`);
      } catch (error) {
        // EBUSY: processes sit in an inner cgroup. Those of the few controllers that limit pods are worth an error.
        if (['cpu', 'memory', 'pids'].includes(controller)) {
          throw cgroupError(error, `hand controller ${controller} down from ${directory}`);
        }
      }
    }
  }

  private async cpuMax(directory: string): Promise<{ quota: number; period: number }> {
    const [quota = 'max', period] = ((await readIfThere(this.deps.files, join(directory, 'cpu.max'))) ?? '').split(' ');
    return { quota: quota === 'max' || quota === '' ? -1 : Number(quota), period: Number(period ?? DEFAULT_PERIOD_US) };
  }

  /**
   * Unlike v1, v2 takes a limit below what is used and kills at once; kubelet's rule is that lowering a limit never
   * kills a running pod, so that is refused here with v1's answer.
   */
  private async writeMemoryMax(directory: string, limit: number): Promise<void> {
    const current = Number((await readIfThere(this.deps.files, join(directory, 'memory.current'))) ?? 0);
    if (limit >= 0 && current > limit) {
      throw new CodedError('Conflict', `write ${limit} to ${directory}/memory.max: ${current} bytes are used now`, {
        errno: 'EBUSY',
      });
    }
    await writeFileOf(this.deps.files, join(directory, 'memory.max'), limit < 0 ? 'max' : String(limit));
  }
}
