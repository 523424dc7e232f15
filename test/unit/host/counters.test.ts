import { describe, expect, it } from 'vitest';
import type { CgroupMount } from '../../../src/host/cgroup/mounts.ts';
import { CgroupCounterReader } from '../../../src/host/counters/cgroup-counters.ts';
import { deviceName, interfaces, pressure } from '../../../src/host/counters/kernel-text.ts';

const V1: CgroupMount[] = [
  { mountPoint: '/c/cpu', version: 1, controllers: ['cpu', 'cpuacct'] },
  { mountPoint: '/c/memory', version: 1, controllers: ['memory'] },
  { mountPoint: '/c/pids', version: 1, controllers: ['pids'] },
  { mountPoint: '/c/blkio', version: 1, controllers: ['blkio'] },
  { mountPoint: '/c/unified', version: 2, controllers: [] },
];
const V2: CgroupMount[] = [{ mountPoint: '/c', version: 2, controllers: [] }];

function reader(mounts: readonly CgroupMount[], files: Readonly<Record<string, string>>) {
  const asked: string[] = [];
  const read = (path: string): string | undefined => {
    asked.push(path);
    return files[path];
  };
  return { reader: new CgroupCounterReader(mounts, { read, now: () => 5 }), asked };
}

const V1_FILES = {
  '/c/cpu/p/cpuacct.usage': '2000000000\n',
  '/c/cpu/p/cpuacct.stat': 'user 150\nsystem 50\n',
  '/c/cpu/p/cpu.stat': 'nr_periods 9\nnr_throttled 3\nthrottled_time 7000\n',
  '/c/cpu/p/cpu.shares': '512\n',
  '/c/cpu/p/cpu.cfs_quota_us': '-1\n',
  '/c/cpu/p/cpu.cfs_period_us': '100000\n',
  '/c/cpu/p/cgroup.procs': '12\n13\n',
  '/c/memory/p/cgroup.procs': '12\n13\n',
  '/c/memory/p/memory.usage_in_bytes': '1000\n',
  '/c/memory/p/memory.stat':
    'total_rss 300\ntotal_inactive_file 400\ntotal_pgfault 8\ntotal_pgmajfault 1\ntotal_swap 20\n',
  '/c/memory/p/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
  '/c/memory/p/memory.limit_in_bytes': '9223372036854771712\n',
  '/c/pids/p/pids.current': '4\n',
  '/c/blkio/p/blkio.throttle.io_service_bytes_recursive': '8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n',
  '/c/blkio/p/blkio.throttle.io_serviced_recursive': '8:0 Read 1\n8:0 Write 2\nTotal 3\n',
};
const V2_FILES = {
  '/c/p/cpu.stat': 'usage_usec 2000\nuser_usec 1500\nsystem_usec 500\nnr_periods 9\nnr_throttled 3\nthrottled_usec 7\n',
  '/c/p/memory.current': '1000\n',
  '/c/p/memory.stat': 'anon 300\nfile 600\nkernel 50\ninactive_file 1200\npgfault 8\npgmajfault 1\n',
  '/c/p/memory.events': 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n',
  '/c/p/memory.max': '4096\n',
  '/c/p/memory.swap.current': '20\n',
  '/c/p/memory.swap.max': 'max\n',
  '/c/p/cpu.max': '50000 100000\n',
  '/c/p/cpu.weight': '100\n',
  '/c/p/pids.current': '4\n',
  '/c/p/cgroup.procs': '12\n',
  '/c/p/io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n',
  '/c/p/memory.pressure':
    'some avg10=1.50 avg60=0.10 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n',
};

it('names a block device as dashboards look for it', () => {
  expect(deviceName('MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n')).toBe('/dev/sda');
  expect(deviceName('MAJOR=252\nDEVNAME=mapper/root\n')).toBe('/dev/mapper/root');
  expect([deviceName(''), deviceName(undefined)]).toEqual([undefined, undefined]);
});

describe('the counters of a cgroup', () => {
  it('are read on v1', () => {
    expect(reader(V1, V1_FILES).reader.counters('/p')).toMatchObject({
      atMs: 5,
      cpuNanoseconds: 2e9,
      userNanoseconds: 1.5e9,
      systemNanoseconds: 5e8,
      throttledPeriods: 3,
      throttledNanoseconds: 7000,
      memoryBytes: 1000,
      workingSetBytes: 600,
      rssBytes: 300,
      swapBytes: 20,
      oomKills: 2,
      memoryLimitBytes: undefined,
      cpuShares: 512,
      cpuQuota: undefined,
      processes: 2,
      threads: 4,
      pid: 12,
      devices: [{ device: '8:0', readBytes: 10, writeBytes: 20, reads: 1, writes: 2 }],
    });
  });

  it('are not looked at for devices where the kernel counts none', () => {
    const root = { '/c/cpu/cpuacct.usage': '1\n', '/c/blkio/blkio.throttle.io_service_bytes_recursive': 'Total 0\n' };
    const { reader: of, asked } = reader(V1, { ...V1_FILES, ...root });
    const devices = (path: string) => of.counters(path)?.devices;
    expect(devices('/p')).toHaveLength(1);
    expect(devices('/')).toEqual([]);
    asked.splice(0);
    expect(devices('/p')).toEqual([]);
    expect(asked.filter((path) => path.includes('blkio'))).toEqual([]);
    // The root is asked each time: the first disk may come later.
    expect(devices('/')).toEqual([]);
    expect(asked.filter((path) => path.includes('blkio'))).toHaveLength(2);
  });

  it('are read on v2', () => {
    expect(reader(V2, V2_FILES).reader.counters('/p')).toMatchObject({
      cpuNanoseconds: 2_000_000,
      throttledNanoseconds: 7000,
      memoryBytes: 1000,
      // Never below zero, although page cache is counted a little later than memory.
      workingSetBytes: 0,
      kernelBytes: 50,
      oomKills: 2,
      memoryLimitBytes: 4096,
      swapLimitBytes: undefined,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      devices: [{ device: '8:0', readBytes: 10, writeBytes: 20, reads: 1, writes: 2 }],
      memoryPressure: { some: { avg10: 1.5, totalNanoseconds: 12_000 }, full: { totalNanoseconds: 3000 } },
    });
  });

  it.each([
    ['v1', V1, V1_FILES],
    ['v2', V2, V2_FILES],
  ] as const)(
    'of %s cost a few files where CPU and memory are enough, and no look twice for what the kernel lacks',
    (_, mounts, files) => {
      const { reader: of, asked } = reader(mounts, files);
      of.counters('/p');
      asked.splice(0);
      const all = of.counters('/p');
      expect(asked.filter((path) => !(path in files))).toEqual([]);
      const length = asked.splice(0).length;
      const usage = of.counters('/p', 'usage');
      expect(asked.length).toBeLessThan(length / 1.5);
      const known = Object.fromEntries(Object.entries(usage ?? {}).filter(([, value]) => value !== undefined));
      expect(known).toHaveProperty('workingSetBytes');
      expect(all).toMatchObject(known);
      expect(of.counters('/none')).toBeUndefined();
    },
  );

  it('says nothing of what is no text of the kernel', () => {
    expect(pressure('')).toBeUndefined();
    expect(
      interfaces(
        'Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\n',
      ),
    ).toEqual([
      {
        name: 'eth0',
        rxBytes: 100,
        rxPackets: 2,
        rxErrors: 3,
        rxDropped: 4,
        txBytes: 200,
        txPackets: 5,
        txErrors: 6,
        txDropped: 7,
      },
    ]);
  });
});
