import { readdir, readFile } from 'node:fs/promises';
import type { MachineFacts, NumaNode } from './port.ts';
import { hugepageSize, meminfoBytes } from './proc-text.ts';

/** What a folder such as /sys/kernel/mm/hugepages tells, the smallest pages first; empty without it. */
export async function readHugepages(directory: string): Promise<MachineFacts['hugepages']> {
  const names = await readdir(directory).catch(() => []);
  const found: { size: string; bytes: number; pageBytes: number }[] = [];
  for (const name of names) {
    const size = hugepageSize(name);
    if (size === undefined) continue;
    const count = Number((await text(`${directory}/${name}/nr_hugepages`)) ?? 0);
    found.push({ size: size.size, bytes: count * size.pageBytes, pageBytes: size.pageBytes });
  }
  return found.sort((a, b) => a.pageBytes - b.pageBytes).map(({ size, bytes }) => ({ size, bytes }));
}

/** The nodes of a folder such as /sys/devices/system/node; empty where the kernel has no NUMA. */
export async function readNumaNodes(directory: string): Promise<readonly NumaNode[]> {
  const ids = (await readdir(directory).catch(() => []))
    .flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  return Promise.all(
    ids.map(async (id) => {
      const folder = `${directory}/node${id}`;
      // "Node 0 MemTotal:  16345292 kB"; a node of CPUs only has no memory.
      const meminfo = ((await text(`${folder}/meminfo`)) ?? '').replace(/^Node \d+ /gm, '');
      const far = ((await text(`${folder}/distance`)) ?? '').split(/\s+/).filter((each) => each !== '');
      return {
        id,
        memoryBytes: /^MemTotal:/m.test(meminfo) ? meminfoBytes(meminfo, 'MemTotal') : 0,
        hugepages: await readHugepages(`${folder}/hugepages`),
        // One number for each node that is online, in their order.
        distances: new Map(far.length === ids.length ? ids.map((to, at) => [to, Number(far[at])] as const) : []),
      };
    }),
  );
}

async function text(path: string): Promise<string | undefined> {
  return (await readFile(path, 'utf8').catch(() => undefined))?.trim();
}
