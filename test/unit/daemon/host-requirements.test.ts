import { describe, expect, test } from 'vitest';
import type { Config } from '../../../src/config/config.ts';
import { cgroupDriver, ensureHost } from '../../../src/daemon/host-requirements.ts';
import { FakeCri } from '../../../src/host/cri/fake.ts';
import { FakeMachine } from '../../../src/host/machine/fake.ts';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

const HOST: Config['host'] = {
  failSwapOn: true,
  failCgroupV1: false,
  protectKernelDefaults: false,
  oomScoreAdj: -999,
  maxOpenFiles: undefined,
  lockFile: undefined,
  exitOnLockContention: false,
};
const UNTUNED = {
  'vm.overcommit_memory': '0',
  'vm.panic_on_oom': '0',
  'kernel.panic': '0',
  'kernel.panic_on_oops': '1',
  'kernel.keys.root_maxkeys': '200',
  'kernel.keys.root_maxbytes': '20000',
};

/** A logger that remembers its warnings. */
function listening(): { readonly log: Logger; readonly warnings: string[] } {
  const warnings: string[] = [];
  const log = {
    ...silent,
    warn: (fields: object, message: string) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  return { log, warnings };
}

async function ensured(
  host: Partial<Config['host']>,
  { machine = new FakeMachine(), net = new FakeNet(), cgroupVersion = 2 as 1 | 2 } = {},
): Promise<string[]> {
  const { log, warnings } = listening();
  await ensureHost({ host: { ...HOST, ...host }, cgroupVersion }, { machine, net, log });
  return warnings;
}

describe('ensureHost', () => {
  test('swap is refused with kubelet’s words and the names of what is swapped to, unless it is allowed', async () => {
    const machine = new FakeMachine();
    machine.swaps = ['/dev/sda2', '/swapfile'];
    await expect(ensured({}, { machine })).rejects.toThrow(
      /running with swap on is not supported, please disable swap or set --fail-swap-on flag to false: .*\/dev\/sda2, \/swapfile/,
    );
    expect(await ensured({ failSwapOn: false }, { machine })).toEqual([]);
  });

  test('cgroup v1 is a warning, or refused', async () => {
    expect(await ensured({}, { cgroupVersion: 1 })).toEqual([expect.stringContaining('this host uses cgroup v1')]);
    await expect(ensured({ failCgroupV1: true }, { cgroupVersion: 1 })).rejects.toThrow(/expected cgroup v2/);
    expect(await ensured({ failCgroupV1: true }, { cgroupVersion: 2 })).toEqual([]);
  });

  test('kernel tunables are set; those that may not be are warnings; those that a kernel lacks are left', async () => {
    const { 'kernel.panic': _absent, ...some } = UNTUNED;
    const net = new FakeNet(some, [], ['kernel.keys.root_maxkeys']);
    expect(await ensured({}, { net })).toEqual([
      expect.stringMatching(/cannot set a sysctl .*kernel\.keys\.root_maxkeys/),
    ]);
    expect(Object.fromEntries(net.sysctls)).toEqual({
      'vm.overcommit_memory': '1',
      'vm.panic_on_oom': '0',
      'kernel.panic_on_oops': '1',
      'kernel.keys.root_maxkeys': '200',
      'kernel.keys.root_maxbytes': '25000000',
    });
  });

  test('protectKernelDefaults names all that differ and sets none', async () => {
    const net = new FakeNet(UNTUNED);
    const refused = ensured({ protectKernelDefaults: true }, { net });
    await expect(refused).rejects.toThrow(
      'invalid kernel flag: vm.overcommit_memory, expected value: 1, actual value: 0',
    );
    await expect(refused).rejects.toThrow('kernel.keys.root_maxbytes, expected value: 25000000, actual value: 20000');
    expect(net.writes).toBe(0);
    await ensured({}, { net });
    expect(await ensured({ protectKernelDefaults: true }, { net })).toEqual([]);
  });

  test('the own oom_score_adj, as far as it is permitted', async () => {
    const machine = new FakeMachine();
    await ensured({ oomScoreAdj: -500 }, { machine });
    expect(machine.oomScoreAdj).toBe(-500);
    machine.mayLowerScore = false;
    expect(await ensured({}, { machine })).toEqual([expect.stringContaining('may end deckhand')]);
    expect(machine.oomScoreAdj).toBe(-500);
  });

  test('a limit of open files that is asked for and not there', async () => {
    const machine = new FakeMachine();
    machine.openFiles = 1024;
    expect(await ensured({}, { machine })).toEqual([]);
    expect(await ensured({ maxOpenFiles: 4096 }, { machine })).toEqual([
      expect.stringMatching(/LimitNOFILE=.*4096.*1024/),
    ]);
    expect(await ensured({ maxOpenFiles: 1024 }, { machine })).toEqual([]);
  });
});

describe('cgroupDriver', () => {
  const cri = (driver: 'cgroupfs' | 'systemd') => ({ runtimeConfig: async () => ({ cgroupDriver: driver }) });
  // containerd 1.7
  const silentCri = new FakeCri({ unimplemented: ['runtimeConfig'] }, { clock: new ManualClock() });
  const onSystemd = new FakeMachine();
  const elsewhere = new FakeMachine();
  elsewhere.systemd = false;

  test.each<
    [
      string,
      'cgroupfs' | 'systemd',
      Parameters<typeof cgroupDriver>[1]['cri'],
      FakeMachine,
      'cgroupfs' | 'systemd',
      number,
    ]
  >([
    ['as configured', 'cgroupfs', cri('cgroupfs'), onSystemd, 'cgroupfs', 0],
    ["kubeadm's file, a runtime that says cgroupfs", 'systemd', cri('cgroupfs'), onSystemd, 'cgroupfs', 1],
    ['a runtime with systemd', 'cgroupfs', cri('systemd'), onSystemd, 'systemd', 1],
    ['an old runtime, cgroupfs', 'cgroupfs', silentCri, onSystemd, 'cgroupfs', 0],
    ["kubeadm's file, an old runtime, systemd is PID 1", 'systemd', silentCri, onSystemd, 'systemd', 0],
    ["kubeadm's file, an old runtime, no systemd", 'systemd', silentCri, elsewhere, 'cgroupfs', 1],
  ])('%s', async (_name, configured, runtime, machine, driver, warned) => {
    const { log, warnings } = listening();
    expect(await cgroupDriver(configured, { cri: runtime, machine, log })).toBe(driver);
    expect(warnings).toHaveLength(warned);
  });
});
