import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeCgroups } from '../../src/host/cgroup/fake.ts';
import { SystemdCgroups } from '../../src/host/cgroup/systemd-cgroups.ts';
import { openDBus } from '../../src/host/dbus/real.ts';
import { RealSystemd } from '../../src/host/systemd-units/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import type { Pod } from '../../src/model/pod.ts';
import { PodCgroups } from '../../src/pods/resources/pod-cgroups.ts';
import { PrivateBus } from '../harness/private-bus.ts';
import { SmallSystemd } from '../harness/small-systemd.ts';
import { waitFor } from '../harness/wait-for.ts';

const MIB = 2 ** 20;
const clock = new SystemClock();
const pod: Pod = {
  metadata: { name: 'p', uid: '0a-1b' },
  spec: {
    containers: [{ name: 'c', resources: { requests: { cpu: '100m' }, limits: { cpu: '155m', memory: '64Mi' } } }],
  },
};

describe('systemd as the owner of the cgroup tree, over a real message bus', () => {
  let bus: PrivateBus;
  let manager: SmallSystemd;
  let systemd: RealSystemd;
  beforeEach(async () => {
    bus = await PrivateBus.start();
    manager = await SmallSystemd.start(bus.address);
    systemd = new RealSystemd({ clock, open: () => openDBus({ address: bus.address }, { clock }) });
  });
  afterEach(async () => {
    await systemd.close();
    manager.close();
    await bus.stop();
  });

  it('starts slices once, sets properties, and takes them down', async () => {
    const description = { name: 'Description', signature: 's', value: 'x' };
    await systemd.startTransientUnit('a.slice', [description]);
    await systemd.startTransientUnit('a.slice', [description]);
    await systemd.setUnitProperties('a.slice', [{ name: 'TasksMax', signature: 't', value: 7n }]);
    expect(Object.fromEntries(manager.units.get('a.slice') ?? [])).toEqual({ Description: 'x', TasksMax: 7n });
    await systemd.stopUnit('a.slice');
    await systemd.stopUnit('a.slice');
    expect([...manager.units]).toEqual([]);
    expect(manager.calls.filter((call) => call.startsWith('Start'))).toHaveLength(2);
  });

  it('says what systemd says', async () => {
    manager.result = 'failed';
    await expect(systemd.startTransientUnit('b.slice', [])).rejects.toThrow(
      'error creating systemd unit b.slice: got failed',
    );
    expect(manager.calls.at(-1)).toBe('ResetFailedUnit b.slice');
    await expect(systemd.setUnitProperties('none.slice', [])).rejects.toThrow('Unit none.slice not found.');
  });

  it('connects again after systemd or the bus has gone', async () => {
    await systemd.startTransientUnit('c.slice', []);
    manager.close();
    await expect(systemd.startTransientUnit('d.slice', [])).rejects.toMatchObject({ code: 'Unavailable' });
    manager = await SmallSystemd.start(bus.address);
    await systemd.startTransientUnit('d.slice', []);
    await bus.stop();
    await waitFor('the end of the connection', async () => {
      const error: unknown = await systemd.startTransientUnit('e.slice', []).catch((reason: unknown) => reason);
      return error instanceof Error && error.message.includes('no message bus at');
    });
  });

  it.each([1, 2] as const)(
    'gives each pod a slice with its limits, and finds it again (cgroup v%i)',
    async (version) => {
      const files = new FakeCgroups({ version });
      const cgroups = new SystemdCgroups({ cgroups: files, systemd });
      const node = {
        memoryBytes: 4096 * MIB,
        cgroupVersion: version,
        cfsQuota: true,
        cfsPeriodUs: 100_000,
        hugepageSizes: [],
        swapAccounting: false,
        singleProcessOomKill: false,
        podPidsLimit: -1,
      };
      const pods = new PodCgroups(
        { cgroupRoot: '/', node, rootLimits: { memoryLimit: 2048 * MIB } },
        { cgroups, clock, log: silent },
      );
      await pods.ensureRoot();
      await pods.ensure(pod);
      const path = '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a_1b.slice';
      expect(pods.pathOf(pod)).toBe(path);
      expect(await files.read(path)).toMatchObject({ memoryLimit: 64 * MIB, cpuQuota: 16_000 });
      const unit = Object.fromEntries(manager.units.get('kubepods-burstable-pod0a_1b.slice') ?? []);
      expect(unit).toMatchObject({
        Wants: ['kubepods-burstable.slice'],
        DefaultDependencies: false,
        MemoryAccounting: true,
        CPUQuotaPerSecUSec: 160_000n,
        CPUQuotaPeriodUSec: 100_000n,
        TasksMax: 2n ** 64n - 1n,
        ...(version === 1
          ? { MemoryLimit: BigInt(64 * MIB), CPUShares: 102n, BlockIOAccounting: true }
          : { MemoryMax: BigInt(64 * MIB), CPUWeight: 4n, IOAccounting: true }),
      });
      expect([...manager.units.keys()].sort()).toEqual([
        'kubepods-besteffort.slice',
        'kubepods-burstable-pod0a_1b.slice',
        'kubepods-burstable.slice',
        'kubepods.slice',
      ]);
      expect(await pods.orphans(new Set())).toEqual(['0a-1b']);
      await pods.remove('0a-1b');
      expect(manager.units.has('kubepods-burstable-pod0a_1b.slice')).toBe(false);
      expect(await files.exists(path)).toBe(false);
      await pods.close();
    },
  );
});
