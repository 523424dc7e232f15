import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readCpuTopology } from '../../../../src/host/machine/cpu-topology.ts';
import { FakeMachine } from '../../../../src/host/machine/fake.ts';
import type { MachinePort } from '../../../../src/host/machine/port.ts';
import {
  countOfRanges,
  defaultInterfaces4,
  defaultInterfaces6,
  hugepageSize,
  meminfoBytes,
  openFilesOf,
  osReleaseValue,
  swapsOf,
} from '../../../../src/host/machine/proc-text.ts';
import { RealMachine } from '../../../../src/host/machine/real.ts';
import type { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';

describe('texts of the kernel', () => {
  it('meminfo', () => {
    const text = 'MemTotal:       24683024 kB\nSwapTotal:             0 kB\nHugePages_Total:       0\n';
    expect(meminfoBytes(text, 'MemTotal')).toBe(24_683_024 * 1024);
    expect(meminfoBytes(text, 'SwapTotal')).toBe(0);
    expect(meminfoBytes(text, 'Nothing')).toBe(0);
  });

  it.each([
    ['0\n', 1],
    ['0-3', 4],
    ['0-1,4,8-11', 7],
    ['', 0],
  ])('range list %j has %i', (text, count) => {
    expect(countOfRanges(text)).toBe(count);
  });

  it('swaps and limits', () => {
    const heading = 'Filename\t\t\t\tType\t\tSize\n';
    expect(swapsOf(heading)).toEqual([]);
    expect(swapsOf(`${heading}/dev/dm-1   partition\t1\n/swapfile file 2\n`)).toEqual(['/dev/dm-1', '/swapfile']);
    const limits =
      'Max processes             1    2    processes\nMax open files            1024                 524288               files\n';
    expect(openFilesOf(limits)).toBe(524_288);
    expect(openFilesOf(limits.replace('524288', 'unlimited'))).toBe(Number.POSITIVE_INFINITY);
  });

  it('os-release, quoted or not', () => {
    const text = 'NAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 \\"x\\""\nID=\'debian\'\n';
    expect(osReleaseValue(text, 'PRETTY_NAME')).toBe('Debian GNU/Linux 12 "x"');
    expect(osReleaseValue(text, 'NAME')).toBe('Debian');
    expect(osReleaseValue(text, 'ID')).toBe('debian');
    expect(osReleaseValue(text, 'VERSION')).toBeUndefined();
  });

  it('huge page directories', () => {
    expect(
      ['hugepages-2048kB', 'hugepages-1048576kB', 'hugepages-64kB', 'x'].map((name) => hugepageSize(name)?.size),
    ).toEqual(['2Mi', '1Gi', '64Ki', undefined]);
  });

  it('default routes', () => {
    const four = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
      'eth1\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0',
      'down\t00000000\t0102A8C0\t0002\t0\t0\t100\t00000000\t0\t0\t0',
    ].join('\n');
    expect([...defaultInterfaces4(four)]).toEqual(['eth0']);
    const zero = '0'.repeat(32);
    const six = `${zero} 00 ${zero} 00 fe80 00000400 1 0 00450003 eth0\n${zero} 00 ${zero} 00 ${zero} ffffffff 1 0 00200200 lo\n`;
    expect([...defaultInterfaces6(six)]).toEqual(['eth0']);
  });
});

describe.each<[string, () => MachinePort]>([
  ['fake', () => new FakeMachine()],
  ['real, this host', () => new RealMachine({}, { log: silent })],
])('MachinePort (%s)', (_, make) => {
  it('knows the facts that a node reports', async () => {
    const facts = await make().facts();
    expect(facts.cpuCount).toBeGreaterThan(0);
    expect(facts.memoryBytes).toBeGreaterThan(64 * 2 ** 20);
    expect(facts.swapBytes).toBeGreaterThanOrEqual(0);
    expect(facts.machineID).toMatch(/^[0-9a-f]{32}$/);
    expect(facts.systemUUID).not.toBe('');
    expect(facts.bootID).toMatch(/^[0-9a-f-]{36}$/);
    expect(facts.kernelVersion).toMatch(/^\d+\.\d+/);
    expect(facts.osImage).not.toBe('');
    expect(facts.operatingSystem).toBe('linux');
    expect(facts.architecture).not.toBe('x64');
    expect(facts.maxPids).toBeGreaterThan(100);
    expect(facts.hostname).not.toBe('');
  });

  it('knows file systems, and what is not there', async () => {
    const machine = make();
    const { capacityBytes, availableBytes, inodes, inodesFree } = await machine.filesystem('/');
    expect(capacityBytes).toBeGreaterThan(availableBytes);
    expect(inodes).toBeGreaterThanOrEqual(inodesFree);
    await expect(machine.filesystem('nowhere/at-all')).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('knows its NUMA nodes', async () => {
    const machine = make();
    const nodes = await machine.numaNodes();
    const { memoryBytes } = await machine.facts();
    expect(nodes.map(({ id }) => id)).toContain(0);
    const sum = nodes.reduce((so, node) => so + node.memoryBytes, 0);
    // A hypervisor may plug in memory that no node owns.
    expect(sum).toBeGreaterThan(64 * 2 ** 20);
    expect(sum).toBeLessThanOrEqual(memoryBytes * 1.02);
    expect(nodes[0]?.distances.get(0)).toBe(10);
  });

  it('sets its own oom_score_adj, or says what it lacks', async () => {
    const machine = make();
    await machine.setOwnOomScoreAdj(1);
    // Down again needs a capability that not every host of these tests has.
    const lowered = await machine.setOwnOomScoreAdj(-999).then(
      () => 'lowered',
      (error: CodedError) => error.code,
    );
    expect(['lowered', 'Forbidden']).toContain(lowered);
    await expect(machine.setOwnOomScoreAdj(1001)).rejects.toMatchObject({ code: 'Internal' });
  });

  it('knows addresses with their interfaces', () => {
    for (const { address, cidr, family, interface: name } of make().addresses()) {
      expect(name).not.toBe('');
      expect(cidr.startsWith(`${address}/`)).toBe(true);
      expect(address.includes(':')).toBe(family === 6);
    }
  });
});

describe('RealMachine', () => {
  let root = '';
  afterEach(() => {
    if (root !== '') rmSync(root, { recursive: true, force: true });
  });

  it('agrees with Node about this host', async () => {
    const facts = await new RealMachine({}, { log: silent }).facts();
    expect(facts.memoryBytes).toBe(totalmem());
    expect(new RealMachine({}, { log: silent }).addresses()).toContainEqual(
      expect.objectContaining({
        interface: 'lo',
        address: '127.0.0.1',
        cidr: '127.0.0.1/8',
        loopback: true,
        defaultRoute: false,
      }),
    );
  });

  it('asks for details once, whatever there is to find', async () => {
    const machine = new RealMachine({}, { log: silent });
    const details = machine.details();
    expect(machine.details()).toBe(details);
    const { physicalCores } = await details;
    expect(physicalCores).toBeGreaterThan(0);
  });

  it('reads another machine’s files', async () => {
    root = mkdtempSync(join(tmpdir(), 'dhprb-machine-'));
    const put = (path: string, text: string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    };
    put('/proc/meminfo', 'MemTotal: 1024 kB\nSwapTotal: 512 kB\n');
    put('/sys/devices/system/cpu/online', '0-1,3\n');
    put('/var/lib/dbus/machine-id', 'f00\n');
    put('/sys/class/dmi/id/product_uuid', 'ABC-DEF\n');
    put('/usr/lib/os-release', 'PRETTY_NAME="Talos (v1)"\n');
    put('/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages', '2\n');
    put('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '3\n');
    put('/proc/sys/kernel/pid_max', '4194304\n');
    put('/proc/sys/kernel/threads-max', '15000\n');
    put('/proc/sys/kernel/hostname', 'other\n');
    expect(await new RealMachine({ root }, { log: silent }).facts()).toMatchObject({
      hostname: 'other',
      cpuCount: 3,
      memoryBytes: 1_048_576,
      swapBytes: 524_288,
      hugepages: [
        { size: '2Mi', bytes: 3 * 2 ** 21 },
        { size: '1Gi', bytes: 2 ** 31 },
      ],
      machineID: 'f00',
      systemUUID: 'ABC-DEF',
      osImage: 'Talos (v1)',
      maxPids: 15_000,
    });
    expect(await new RealMachine({ root }, { log: silent }).numaNodes()).toEqual([
      { id: 0, memoryBytes: 1_048_576, hugepages: [expect.anything(), expect.anything()], distances: new Map() },
    ]);
    const folder = '/sys/devices/system/node';
    for (const [id, kib, far] of [
      [0, 800, '10 32 20'],
      [10, 0, '20 32 10'],
      [2, 224, '32 10 32'],
    ] as const) {
      put(`${folder}/node${id}/meminfo`, `Node ${id} MemTotal:       ${kib} kB\nNode ${id} MemFree:  1 kB\n`);
      put(`${folder}/node${id}/distance`, `${far}\n`);
      put(`${folder}/node${id}/hugepages/hugepages-2048kB/nr_hugepages`, `${id}\n`);
    }
    put(`${folder}/online`, '0,2,10\n');
    expect(await new RealMachine({ root }, { log: silent }).numaNodes()).toEqual(
      [
        { id: 0, kib: 800, far: [10, 32, 20] },
        { id: 2, kib: 224, far: [32, 10, 32] },
        { id: 10, kib: 0, far: [20, 32, 10] },
      ].map(({ id, kib, far }) => ({
        id,
        memoryBytes: kib * 1024,
        hugepages: [{ size: '2Mi', bytes: id * 2 ** 21 }],
        distances: new Map([0, 2, 10].map((to, at) => [to, far[at]])),
      })),
    );
    rmSync(join(root, 'proc/meminfo'));
    await expect(new RealMachine({ root }, { log: silent }).facts()).rejects.toThrow(/meminfo/);
  });
});

it('CPUs with their core, socket, NUMA node and last cache', async () => {
  const root = mkdtempSync(join(tmpdir(), 'dhprb-cpus-'));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  };
  try {
    await expect(readCpuTopology(root)).rejects.toMatchObject({ code: 'NotFound' });
    put('online', '0-2,4');
    for (const [id, siblings, socket, node, cached] of [
      [0, '0,2', 0, 0, '0-3'],
      [1, '1,3', 0, 0, '0-3'],
      [2, '0,2', 0, 0, '0-3'],
      [4, '4', 1, 1, undefined],
    ] as const) {
      put(`cpu${id}/topology/thread_siblings_list`, siblings);
      put(`cpu${id}/topology/physical_package_id`, String(socket));
      put(`cpu${id}/node${node}/online`, '');
      if (cached === undefined) continue;
      put(`cpu${id}/cache/index3/level`, '3');
      put(`cpu${id}/cache/index3/shared_cpu_list`, cached);
    }
    expect(await readCpuTopology(root)).toEqual([
      { id: 0, core: 0, socket: 0, numaNode: 0, uncoreCache: 0 },
      { id: 1, core: 1, socket: 0, numaNode: 0, uncoreCache: 0 },
      { id: 2, core: 0, socket: 0, numaNode: 0, uncoreCache: 0 },
      { id: 4, core: 4, socket: 1, numaNode: 1, uncoreCache: 4 },
    ]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

it('what a start depends on, of a made-up root and of this machine', async () => {
  const root = mkdtempSync(join(tmpdir(), 'dhcfg-setup-'));
  try {
    mkdirSync(join(root, 'proc/self'), { recursive: true });
    writeFileSync(join(root, 'proc/swaps'), 'Filename\n/dev/vda2 partition 1 0 -2\n');
    writeFileSync(
      join(root, 'proc/self/limits'),
      'Max open files            1024                 4096                 files\n',
    );
    const machine = new RealMachine({ root }, { log: silent });
    expect(await machine.setup()).toEqual({ swaps: ['/dev/vda2'], openFiles: 4096, systemd: false });
    mkdirSync(join(root, 'run/systemd/system'), { recursive: true });
    expect((await machine.setup()).systemd).toBe(true);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const { openFiles } = await new RealMachine({}, { log: silent }).setup();
  expect(openFiles).toBeGreaterThan(100);
});
