import { describe, expect, it } from 'vitest';
import type { CgroupFiles } from '../../../../src/host/cgroup/cgroup-files.ts';
import { CgroupUsageReader } from '../../../../src/host/stats/cgroup-usage.ts';

/** A folder of texts, as a cgroup file system would show it. */
function filesOf(texts: Readonly<Record<string, string>>): CgroupFiles {
  const missing = (path: string): Error => Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
  const refuse = (): never => {
    throw new Error('stats only read');
  };
  return {
    mkdir: refuse,
    rmdir: refuse,
    write: refuse,
    read: async (path) => {
      const text = texts[path];
      if (text === undefined) throw missing(path);
      return `${text}\n`;
    },
    directories: async (path) => {
      const below = Object.keys(texts).filter((name) => name.startsWith(`${path}/`));
      if (below.length === 0) throw missing(path);
      const names = below.map((name) => name.slice(path.length + 1).split('/'));
      return [...new Set(names.filter((parts) => parts.length > 1).map(([first = '']) => first))];
    },
  };
}

const V1 = ['memory', 'cpuacct'].map((name) => ({
  mountPoint: `/cg/${name}`,
  version: 1 as const,
  controllers: [name],
}));
const V2 = [{ mountPoint: '/cg', version: 2 as const, controllers: [] }];

describe('CgroupUsageReader', () => {
  it('adds up what v1 keeps in one hierarchy per controller, the cgroups below included', async () => {
    const reader = new CgroupUsageReader(
      V1,
      filesOf({
        '/cg/cpuacct/kubepods/pod1/cpuacct.usage': '123456789',
        '/cg/memory/kubepods/pod1/memory.usage_in_bytes': '5000',
        '/cg/memory/kubepods/pod1/memory.limit_in_bytes': '9223372036854771712',
        '/cg/memory/kubepods/pod1/memory.stat':
          'rss 1\ninactive_file 7\ntotal_rss 3000\ntotal_inactive_file 1200\ntotal_pgfault 40\ntotal_pgmajfault 2',
        '/cg/memory/kubepods/pod1/cgroup.procs': '',
        '/cg/memory/kubepods/pod1/c1/cgroup.procs': '11\n12',
        '/cg/memory/kubepods/pod1/c2/deep/cgroup.procs': '13',
      }),
      () => 77,
    );
    expect(await reader.read('/kubepods/pod1')).toEqual({
      atMs: 77,
      cpuNanoseconds: 123456789,
      memoryBytes: 5000,
      workingSetBytes: 3800,
      rssBytes: 3000,
      memoryLimitBytes: -1,
      pageFaults: 40,
      majorPageFaults: 2,
      processes: 3,
    });
    expect(await reader.read('/kubepods/pod2')).toBeUndefined();
  });

  it('reads v2, with its pressure', async () => {
    const reader = new CgroupUsageReader(
      V2,
      filesOf({
        '/cg/kubepods/pod1/cpu.stat': 'usage_usec 12\nuser_usec 8',
        '/cg/kubepods/pod1/memory.current': '100',
        '/cg/kubepods/pod1/memory.max': '4096',
        '/cg/kubepods/pod1/memory.stat': 'anon 60\ninactive_file 200',
        '/cg/kubepods/pod1/memory.swap.current': '5',
        '/cg/kubepods/pod1/cpu.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=9',
        '/cg/kubepods/pod1/cgroup.procs': '11',
      }),
      () => 77,
    );
    expect(await reader.read('/kubepods/pod1')).toEqual({
      atMs: 77,
      cpuNanoseconds: 12_000,
      memoryBytes: 100,
      // More may be inactive than is charged: the two are not read at one instant.
      workingSetBytes: 0,
      rssBytes: 60,
      memoryLimitBytes: 4096,
      swapBytes: 5,
      processes: 1,
      pressure: { cpu: 'some avg10=0.00 avg60=0.00 avg300=0.00 total=9' },
    });
  });

  it('takes a hybrid host for v1', async () => {
    const files = filesOf({ '/cg/memory/a/memory.usage_in_bytes': '1', '/cg2/a/cpu.stat': 'usage_usec 1' });
    const reader = new CgroupUsageReader(
      [{ ...V2[0], mountPoint: '/cg2', version: 2, controllers: [] }, ...V1],
      files,
      () => 0,
    );
    expect(await reader.read('/a')).toMatchObject({ memoryBytes: 1 });
  });

  it('never leaves the hierarchy', async () => {
    const reader = new CgroupUsageReader(V1, filesOf({}), () => 0);
    await expect(reader.read('/kubepods/../../etc')).rejects.toThrow(/needs the form/);
  });
});
