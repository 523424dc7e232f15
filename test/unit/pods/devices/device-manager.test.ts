import { beforeEach, describe, expect, it } from 'vitest';
import { FakeDevicePlugin, FakeDevicePluginHost, NO_GRANT } from '../../../../src/host/devices/fake.ts';
import type { PluginDevice } from '../../../../src/host/devices/port.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Container, Pod } from '../../../../src/model/pod.ts';
import { mergeGrants } from '../../../../src/pods/devices/device-ledger.ts';
import { DeviceManager } from '../../../../src/pods/devices/device-manager.ts';

const DIRECTORY = '/var/lib/kubelet/device-plugins';
const GPU = 'example.com/gpu';
const healthy = (...ids: string[]): PluginDevice[] => ids.map((id) => ({ id, healthy: true, numaNodes: [] }));

describe('DeviceManager', () => {
  let files: FakeFiles;
  let clock: ManualClock;
  let host: FakeDevicePluginHost;
  let active: Set<string>;
  let changes: number;
  let manager: DeviceManager;

  beforeEach(async () => {
    files = new FakeFiles();
    clock = new ManualClock();
    host = new FakeDevicePluginHost();
    active = new Set();
    changes = 0;
    manager = await open();
  });

  async function open(): Promise<DeviceManager> {
    const made = new DeviceManager(
      { directory: DIRECTORY },
      {
        host,
        files,
        isExtendedResource: (name) => name.includes('/'),
        isActive: (uid) => active.has(uid),
        changed: () => changes++,
        clock,
        log: silent,
        metrics: new Metrics(),
        numaNodes: [0, 1],
      },
    );
    await made.start();
    return made;
  }

  async function plug(plugin: FakeDevicePlugin, resource = GPU): Promise<FakeDevicePlugin> {
    const endpoint = `${resource.replaceAll('/', '-')}.sock`;
    host.plugins.set(`${DIRECTORY}/${endpoint}`, plugin);
    await host.register({ version: 'v1beta1', endpoint, resource });
    return plugin;
  }

  const wants = (name: string, limits: Record<string, string>, more: Partial<Container> = {}): Container => ({
    name,
    resources: { limits },
    ...more,
  });
  const podOf = (uid: string, containers: Container[], initContainers: Container[] = []): Pod => {
    active.add(uid);
    return { metadata: { name: uid, namespace: 'ns', uid }, spec: { containers, initContainers } };
  };
  const idsOf = (uid: string, container: string): string[] =>
    manager.devicesOf(uid, container).flatMap(({ deviceIds }) => deviceIds);

  it('counts devices, healthy ones apart, and forgets a plugin that stays away', async () => {
    const plugin = await plug(new FakeDevicePlugin(healthy('a', 'b')));
    expect(manager.resources()).toEqual({ capacity: { [GPU]: '2' }, allocatable: { [GPU]: '2' }, removed: [] });
    plugin.setDevices([...healthy('a'), { id: 'b', healthy: false, numaNodes: [] }]);
    expect(manager.resources()).toMatchObject({ capacity: { [GPU]: '2' }, allocatable: { [GPU]: '1' } });
    plugin.end();
    await clock.advance(0);
    expect(manager.resources()).toMatchObject({ capacity: { [GPU]: '2' }, allocatable: { [GPU]: '0' } });
    const before = changes;
    await clock.advance(5 * 60_000);
    expect(changes).toBeGreaterThan(before);
    expect(manager.resources()).toEqual({ capacity: {}, allocatable: {}, removed: [GPU] });
    await plug(new FakeDevicePlugin(healthy('a')));
    expect(manager.resources()).toEqual({ capacity: { [GPU]: '1' }, allocatable: { [GPU]: '1' }, removed: [] });
  });

  it('does not concern itself with pods that want no devices', () => {
    expect(manager.reserve(podOf('u', [wants('c', { cpu: '1', 'other.com/x': '1' })]))).toBeUndefined();
  });

  it('gives each container its own, those that the plugin prefers, and says so to the checkpoint', async () => {
    const plugin = await plug(new FakeDevicePlugin(healthy('a', 'b', 'c'), { preferredAllocation: true }));
    plugin.preferredIds = ['c'];
    plugin.grant = (ids) => ({ ...NO_GRANT, envs: { IDS: ids.join() } });
    const pod = podOf('u1', [wants('one', { [GPU]: '1' }), wants('two', { [GPU]: '1' })]);
    await manager.reserve(pod);
    expect([idsOf('u1', 'one'), idsOf('u1', 'two')]).toEqual([['c'], ['a']]);
    expect(plugin.calls).toContain('GetPreferredAllocation 1 of a,b,c');
    expect((await manager.grantFor(pod, wants('one', { [GPU]: '1' })))?.envs).toEqual({ IDS: 'c' });
    const { Data } = JSON.parse((await files.read(`${DIRECTORY}/kubelet_internal_checkpoint`)).toString());
    expect(Data.RegisteredDevices).toEqual({ [GPU]: ['a', 'b', 'c'] });
    expect(Data.PodDeviceEntries).toMatchObject([
      { PodUID: 'u1', ContainerName: 'one', ResourceName: GPU, DeviceIDs: { '-1': ['c'] } },
      { PodUID: 'u1', ContainerName: 'two', ResourceName: GPU, DeviceIDs: { '-1': ['a'] } },
    ]);
    await manager.reserve(pod);
    expect(plugin.calls.filter((call) => call.startsWith('Allocate'))).toHaveLength(2);
  });

  it('lets containers reuse what init containers had, but not what sidecars have', async () => {
    await plug(new FakeDevicePlugin(healthy('a', 'b')));
    const limits = { [GPU]: '1' };
    const init = [wants('init', limits), wants('side', limits, { restartPolicy: 'Always' })];
    await manager.reserve(podOf('u1', [wants('main', limits)], init));
    expect(idsOf('u1', 'init')).toEqual(['a']);
    expect(idsOf('u1', 'side')).toEqual(['a']);
    expect(idsOf('u1', 'main')).toEqual(['b']);
  });

  it('refuses in kubelet’s words, and leaves nothing given', async () => {
    const plugin = await plug(new FakeDevicePlugin(healthy('a', 'b')));
    await expect(manager.reserve(podOf('u1', [wants('c', { [GPU]: '3' })]))).rejects.toThrow(
      `Allocate failed due to requested number of devices unavailable for ${GPU}. Requested: 3, Available: 2, which is unexpected`,
    );
    plugin.faults.set('Allocate', new CodedError('Internal', 'x', { grpcCode: 13, runtimeMessage: 'on fire' }));
    await expect(manager.reserve(podOf('u1', [wants('c', { [GPU]: '1' })]))).rejects.toThrow(
      'Allocate failed due to rpc error: code = Internal desc = on fire, which is unexpected',
    );
    expect(idsOf('u1', 'c')).toEqual([]);
    plugin.faults.clear();
    plugin.setDevices([{ id: 'a', healthy: false, numaNodes: [] }]);
    await expect(manager.reserve(podOf('u1', [wants('c', { [GPU]: '1' })]))).rejects.toThrow(
      `no healthy devices present; cannot allocate unhealthy devices ${GPU}`,
    );
  });

  it('takes devices back from pods that have ended, told or not', async () => {
    await plug(new FakeDevicePlugin(healthy('a')));
    await manager.reserve(podOf('u1', [wants('c', { [GPU]: '1' })]));
    await expect(manager.reserve(podOf('u2', [wants('c', { [GPU]: '1' })]))).rejects.toThrow('Available: 0');
    active.delete('u1');
    await manager.reserve(podOf('u2', [wants('c', { [GPU]: '1' })]));
    expect(idsOf('u2', 'c')).toEqual(['a']);
    manager.release('u2');
    expect(idsOf('u2', 'c')).toEqual([]);
  });

  it('knows after a restart who has what, and waits for the plugin with new pods', async () => {
    const plugin = await plug(new FakeDevicePlugin([{ id: 'a', healthy: true, numaNodes: [1] }, ...healthy('b')]));
    plugin.grant = () => ({ ...NO_GRANT, envs: { X: 'y' } });
    const pod = podOf('u1', [wants('c', { [GPU]: '1' })]);
    await manager.reserve(pod);
    await manager.close();
    await files.write(`${DIRECTORY}/old.sock`, '', 0o600);
    manager = await open();
    expect((await files.list(DIRECTORY))?.sort()).toEqual(['kubelet_internal_checkpoint']);
    expect(manager.resources()).toEqual({ capacity: { [GPU]: '0' }, allocatable: { [GPU]: '0' }, removed: [] });
    expect(manager.devicesOf('u1', 'c')).toEqual([{ resourceName: GPU, deviceIds: ['a'], numaNodes: [1] }]);
    expect((await manager.grantFor(pod, wants('c', { [GPU]: '1' })))?.envs).toEqual({ X: 'y' });
    await expect(manager.reserve(podOf('u2', [wants('c', { [GPU]: '1' })]))).rejects.toThrow('cannot allocate');
    await plug(new FakeDevicePlugin(healthy('a', 'b')));
    await manager.reserve(podOf('u3', [wants('c', { [GPU]: '1' })]));
    expect(idsOf('u3', 'c')).toEqual(['b']);
  });

  it('starts with a checkpoint that cannot be read', async () => {
    await files.write(`${DIRECTORY}/kubelet_internal_checkpoint`, '{"Data": ', 0o600);
    manager = await open();
    expect(manager.resources()).toEqual({ capacity: {}, allocatable: {}, removed: [] });
  });

  it('has a container’s devices made ready before it starts, where the plugin wants that', async () => {
    const plugin = await plug(new FakeDevicePlugin(healthy('a'), { preStartRequired: true }));
    const container = wants('c', { [GPU]: '1' });
    const pod = podOf('u1', [container]);
    await manager.reserve(pod);
    await manager.grantFor(pod, container);
    expect(plugin.calls.at(-1)).toBe('PreStartContainer a');
    plugin.faults.set('PreStartContainer', new CodedError('Internal', 'x', { grpcCode: 13, runtimeMessage: 'no' }));
    await expect(manager.grantFor(pod, container)).rejects.toThrow(
      'device plugin PreStartContainer rpc failed with err: rpc error: code = Internal desc = no',
    );
  });
});

it('of two grants of the same thing the first counts', () => {
  const mount = (hostPath: string) => ({ containerPath: '/c', hostPath, readOnly: false });
  const device = (hostPath: string) => ({ containerPath: '/dev/x', hostPath, permissions: 'rw' });
  expect(
    mergeGrants([
      { ...NO_GRANT, envs: { A: '1' }, mounts: [mount('/1')], devices: [device('/dev/1')], cdiDevices: ['v/c=1'] },
      {
        envs: { A: '2', B: '2' },
        mounts: [mount('/2')],
        devices: [device('/dev/2')],
        annotations: { n: '2' },
        cdiDevices: ['v/c=1', 'v/c=2'],
      },
    ]),
  ).toEqual({
    envs: { A: '1', B: '2' },
    mounts: [mount('/1')],
    devices: [device('/dev/1')],
    annotations: { n: '2' },
    cdiDevices: ['v/c=1', 'v/c=2'],
  });
});
