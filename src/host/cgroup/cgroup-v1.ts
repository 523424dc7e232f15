import { join } from 'node:path';
import { CodedError } from '../../kit/errors.ts';
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
import { killAndRemove, type RemoveDeps, treeOf } from './kill-and-remove.ts';
import type { CgroupMount } from './mounts.ts';
import type { CgroupLimits, CgroupPort, CgroupReading } from './port.ts';

/** The hierarchies in which pods get cgroups from us; the runtime makes them in the others and remove() clears those too. */
const MADE_IN = ['cpu', 'cpuset', 'memory', 'pids', 'hugetlb'] as const;
// What memory.limit_in_bytes reads when nothing limits: the largest page count in bytes (PAGE_COUNTER_MAX).
const NO_LIMIT_BYTES = 2 ** 62;

/** cgroup v1: one directory tree per controller, some of them perhaps mounted together, some missing. */
export class CgroupV1 implements CgroupPort {
  readonly version = 1;
  readonly controllers: ReadonlySet<string>;
  private readonly mounts: readonly CgroupMount[];
  private readonly deps: RemoveDeps;

  /** `mounts` as in mountinfo; those of cgroup v2 (a hybrid host) are only ever cleared. */
  constructor(mounts: readonly CgroupMount[], deps: RemoveDeps) {
    this.mounts = mounts;
    this.deps = deps;
    this.controllers = new Set(
      mounts
        .filter(({ version }) => version === 1)
        .flatMap(({ controllers }) => controllers.filter((name) => !name.startsWith('name='))),
    );
  }

  async exists(path: string): Promise<boolean> {
    const parts = cgroupParts(path);
    const there = await Promise.all(
      this.madeIn().map((mount) => directoryExists(this.deps.files, join(mount, ...parts))),
    );
    return there.length > 0 && there.every(Boolean);
  }

  async apply(path: string, limits: CgroupLimits): Promise<void> {
    const parts = cgroupParts(path);
    if (limits.unified !== undefined && Object.keys(limits.unified).length > 0) {
      throw new CodedError('InvalidArgument', `set ${path}: unified values need cgroup v2, this host has v1`);
    }
    const cpuset = this.mountOf('cpuset');
    for (const mount of this.madeIn()) await this.make(mount, parts, mount === cpuset);
    await this.applyCpu(parts, limits);
    if (limits.memoryLimit !== undefined)
      await this.write('memory', parts, 'memory.limit_in_bytes', limits.memoryLimit);
    if (limits.pidsLimit !== undefined) {
      await this.write('pids', parts, 'pids.max', limits.pidsLimit < 0 ? 'max' : limits.pidsLimit);
    }
    for (const [size, bytes] of Object.entries(limits.hugepages ?? {})) {
      await this.write('hugetlb', parts, `hugetlb.${size}.limit_in_bytes`, bytes);
    }
  }

  async accountsSwap(): Promise<boolean> {
    return (await this.text('memory', [], 'memory.memsw.limit_in_bytes')) !== undefined;
  }

  async remove(path: string): Promise<void> {
    const parts = cgroupParts(path);
    const freezer = this.mountOf('freezer');
    if (freezer !== undefined) {
      // A frozen process dies only once it is thawed.
      for (const directory of await treeOf(this.deps.files, join(freezer, ...parts))) {
        await this.deps.files.write(join(directory, 'freezer.state'), 'THAWED').catch(() => {});
      }
    }
    await killAndRemove(
      this.mounts.map(({ mountPoint }) => join(mountPoint, ...parts)),
      this.deps,
    );
  }

  async children(path: string): Promise<string[]> {
    const parts = cgroupParts(path);
    const lists = await Promise.all(
      this.mounts.map(({ mountPoint }) => directoriesIfThere(this.deps.files, join(mountPoint, ...parts))),
    );
    return [...new Set(lists.flatMap((list) => list ?? []))].sort();
  }

  async read(path: string): Promise<CgroupReading> {
    const parts = readableParts(path);
    const number = async (controller: string, file: string): Promise<number | undefined> => {
      const text = await this.text(controller, parts, file);
      return text === undefined ? undefined : text === 'max' ? -1 : Number(text);
    };
    const memory = await number('memory', 'memory.limit_in_bytes');
    const procs =
      (await this.text('pids', parts, 'cgroup.procs')) ?? (await this.text('memory', parts, 'cgroup.procs'));
    return defined({
      cpuShares: await number('cpu', 'cpu.shares'),
      cpuQuota: await number('cpu', 'cpu.cfs_quota_us'),
      cpuPeriod: await number('cpu', 'cpu.cfs_period_us'),
      memoryLimit: memory !== undefined && memory >= NO_LIMIT_BYTES ? -1 : memory,
      memoryUsage: await number('memory', 'memory.usage_in_bytes'),
      memoryInactiveFile: statValue(await this.text('memory', parts, 'memory.stat'), 'total_inactive_file'),
      pidsLimit: await number('pids', 'pids.max'),
      pids: procs?.split('\n').filter(Boolean).map(Number),
    });
  }

  async memoryPeak(path: string): Promise<number | undefined> {
    const text = await this.text('memory', cgroupParts(path), 'memory.max_usage_in_bytes');
    return text === undefined ? undefined : Number(text);
  }

  /** The mount points of the hierarchies we make cgroups in, each once. */
  private madeIn(): string[] {
    return [...new Set(MADE_IN.flatMap((controller) => this.mountOf(controller) ?? []))];
  }

  private mountOf(controller: string): string | undefined {
    return this.mounts.find((mount) => mount.version === 1 && mount.controllers.includes(controller))?.mountPoint;
  }

  private async make(mount: string, parts: readonly string[], cpuset: boolean): Promise<void> {
    let directory = mount;
    for (const part of parts) {
      const parent = directory;
      directory = join(directory, part);
      await makeDirectory(this.deps.files, directory);
      if (!cpuset) continue;
      // A new cpuset is empty and admits no process, and so do all below it.
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        if ((await readIfThere(this.deps.files, join(directory, file))) !== '') continue;
        const inherited = await readIfThere(this.deps.files, join(parent, file));
        if (inherited !== undefined && inherited !== '')
          await writeFileOf(this.deps.files, join(directory, file), inherited);
      }
    }
  }

  private async applyCpu(parts: readonly string[], { cpuShares, cpuQuota, cpuPeriod }: CgroupLimits): Promise<void> {
    if (cpuShares !== undefined) await this.write('cpu', parts, 'cpu.shares', cpuShares);
    if (cpuPeriod !== undefined && cpuQuota !== undefined) {
      // The kernel checks each write against parent and children; with a new period the old quota may be too much, or
      // the new quota with the old period. One of the two orders works.
      const mount = this.mountOf('cpu');
      if (mount === undefined) return;
      const file = join(mount, ...parts, 'cpu.cfs_period_us');
      try {
        await this.deps.files.write(file, String(cpuPeriod));
      } catch (error) {
        if (errnoOf(error) !== 'EINVAL') throw cgroupError(error, `write ${cpuPeriod} to ${file}`);
        await this.write('cpu', parts, 'cpu.cfs_quota_us', cpuQuota);
        await this.write('cpu', parts, 'cpu.cfs_period_us', cpuPeriod);
        return;
      }
    } else if (cpuPeriod !== undefined) {
      await this.write('cpu', parts, 'cpu.cfs_period_us', cpuPeriod);
    }
    if (cpuQuota !== undefined) await this.write('cpu', parts, 'cpu.cfs_quota_us', cpuQuota);
  }

  /** A controller that this host does not have limits nothing: that is told once by `controllers`, not at each write. */
  private async write(
    controller: string,
    parts: readonly string[],
    file: string,
    value: number | string,
  ): Promise<void> {
    const mount = this.mountOf(controller);
    if (mount !== undefined) await writeFileOf(this.deps.files, join(mount, ...parts, file), String(value));
  }

  private async text(controller: string, parts: readonly string[], file: string): Promise<string | undefined> {
    const mount = this.mountOf(controller);
    return mount === undefined ? undefined : readIfThere(this.deps.files, join(mount, ...parts, file));
  }
}

/** Without the fields that are undefined. */
export function defined(reading: { readonly [K in keyof CgroupReading]: CgroupReading[K] | undefined }): CgroupReading {
  return Object.fromEntries(Object.entries(reading).filter(([, value]) => value !== undefined));
}
