import { readdir, readFile } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';
import { parseCpus } from '../../model/cpu-set.ts';

const CPUS = '/sys/devices/system/cpu';

/**
 * The CPUs that are online, with core, socket and NUMA node (Documentation/admin-guide/cputopology.rst). A core's number is
 * that of its lowest CPU. Throws NotFound where the kernel does not tell.
 */
export async function readCpuTopology(root: string = CPUS): Promise<
  {
    readonly id: number;
    readonly core: number;
    readonly socket: number;
    readonly numaNode: number;
    /** That of the lowest CPU that it shares its L3 cache with; without such a cache, of its socket. */
    readonly uncoreCache: number;
  }[]
> {
  const text = async (path: string): Promise<string | undefined> =>
    (await readFile(`${root}/${path}`, 'utf8').catch(() => undefined))?.trim();
  const online = parseCpus((await text('online')) ?? '');
  if (online === undefined || online.size === 0) {
    throw new CodedError('NotFound', `${root}/online does not tell which CPUs there are`);
  }
  const cpus = await Promise.all(
    [...online]
      .sort((a, b) => a - b)
      .map(async (id) => {
        const siblings = parseCpus((await text(`cpu${id}/topology/thread_siblings_list`)) ?? '');
        const node = (await readdir(`${root}/cpu${id}`).catch(() => [])).find((name) => /^node\d+$/.test(name));
        const socket = Number((await text(`cpu${id}/topology/physical_package_id`)) ?? 0);
        const lowest = (list: ReadonlySet<number> | undefined): number | undefined => {
          const there = [...(list ?? [])].filter((cpu) => online.has(cpu));
          return there.length === 0 ? undefined : Math.min(...there);
        };
        const isL3 = (await text(`cpu${id}/cache/index3/level`)) === '3';
        const cached = isL3 ? parseCpus((await text(`cpu${id}/cache/index3/shared_cpu_list`)) ?? '') : undefined;
        return {
          id,
          core: lowest(siblings) ?? id,
          // -1 where the machine has no such thing.
          socket: Math.max(socket, 0),
          numaNode: node === undefined ? 0 : Number(node.slice('node'.length)),
          uncoreCache: lowest(cached),
        };
      }),
  );
  return cpus.map(({ uncoreCache, ...cpu }) => ({
    ...cpu,
    uncoreCache: uncoreCache ?? cpus.find(({ socket }) => socket === cpu.socket)?.id ?? cpu.id,
  }));
}
