import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeDevicePlugin, FakeDevicePluginHost } from '../../src/host/devices/fake.ts';
import type { DeviceGrant, DevicePluginHost, DeviceRegistration, PluginDevice } from '../../src/host/devices/port.ts';
import { RealDevicePluginHost } from '../../src/host/devices/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { DevicePlugin } from '../harness/devices/device-plugin.ts';
import { waitFor } from '../harness/wait-for.ts';

const GRANT: DeviceGrant = {
  envs: { A: 'b' },
  mounts: [{ containerPath: '/c', hostPath: '/h', readOnly: true }],
  devices: [{ containerPath: '/dev/x', hostPath: '/dev/y', permissions: 'rwm' }],
  annotations: { note: 'n' },
  cdiDevices: ['vendor.com/gpu=0'],
};
const RESOURCE = 'example.com/gpu';

interface Opened {
  readonly host: DevicePluginHost;
  readonly socket: string;
  start(): Promise<void>;
  setDevices(devices: readonly PluginDevice[]): void;
  stop(): void;
}

function fake(base: string): Opened {
  const host = new FakeDevicePluginHost();
  const plugin = new FakeDevicePlugin([], { preStartRequired: true, preferredAllocation: true });
  plugin.grant = () => GRANT;
  plugin.preferredIds = ['b'];
  const socket = `${base}/example-com-gpu.sock`;
  host.plugins.set(socket, plugin);
  return {
    host,
    socket,
    start: () => host.register({ version: 'v1beta1', endpoint: 'example-com-gpu.sock', resource: RESOURCE }),
    setDevices: (devices) => plugin.setDevices(devices),
    stop: () => plugin.end(),
  };
}

function real(base: string): Opened {
  const { cdiDevices, ...rest } = GRANT;
  const plugin = new DevicePlugin(
    {
      directory: base,
      resource: RESOURCE,
      preStart: true,
      preferred: () => ['b'],
      grant: () => ({ ...rest, cdiDevices: cdiDevices.map((name) => ({ name })) }),
    },
    [],
  );
  return {
    host: new RealDevicePluginHost({ clock: new SystemClock() }),
    socket: `${base}/example-com-gpu.sock`,
    start: () => plugin.start(),
    setDevices: (devices) =>
      plugin.setDevices(
        devices.map(({ id, healthy, numaNodes }) => ({
          ID: id,
          health: healthy ? 'Healthy' : 'Unhealthy',
          topology: { nodes: numaNodes.map((ID) => ({ ID })) },
        })),
      ),
    stop: () => plugin.stop(),
  };
}

describe.each([
  ['fake', fake],
  ['real', real],
] as const)('DevicePluginHost (%s)', (_, open) => {
  let base: string;
  let opened: Opened;
  let registrations: DeviceRegistration[];
  let server: { close(): Promise<void> };

  beforeEach(async () => {
    base = mkdtempSync(join(tmpdir(), 'dhdev-'));
    opened = open(base);
    registrations = [];
    server = await opened.host.serve(`${base}/kubelet.sock`, async (registration) => {
      registrations.push(registration);
    });
    await opened.start();
  });

  afterEach(async () => {
    opened.stop();
    await server.close();
    rmSync(base, { recursive: true, force: true });
  });

  it('hears of plugins and asks them', async () => {
    expect(registrations).toEqual([{ version: 'v1beta1', endpoint: 'example-com-gpu.sock', resource: RESOURCE }]);
    const plugin = opened.host.connect(opened.socket);
    opened.setDevices([{ id: 'a', healthy: true, numaNodes: [] }]);
    expect(await plugin.options()).toEqual({ preStartRequired: true, preferredAllocation: true });
    expect(await plugin.preferred({ available: ['a', 'b'], mustInclude: [], size: 1 })).toEqual(['b']);
    expect(await plugin.allocate(['a'])).toEqual(GRANT);
    await plugin.preStart(['a']);
    plugin.close();
  });

  it('follows the devices of a plugin until it ends', async () => {
    const plugin = opened.host.connect(opened.socket);
    const seen: PluginDevice[][] = [];
    const watched = plugin.watch((devices) => seen.push([...devices]), new AbortController().signal);
    watched.catch(() => {});
    await waitFor('the first list', () => seen.length > 0);
    const devices = [
      { id: 'a', healthy: true, numaNodes: [0, 1] },
      { id: 'b', healthy: false, numaNodes: [] },
    ];
    opened.setDevices(devices);
    await waitFor('the second list', () => seen.length > 1);
    expect(seen).toEqual([[], devices]);
    opened.stop();
    await watched.catch(() => {});
    plugin.close();
  });

  it('keeps grants as text', async () => {
    const text = await opened.host.grantToText(GRANT);
    expect(await opened.host.grantFromText(text)).toEqual(GRANT);
  });
});

it("writes a grant as kubelet's checkpoint has it", async () => {
  const host = new RealDevicePluginHost({ clock: new SystemClock() });
  // {envs: {A: "b"}} on the wire: field 1, a map entry of fields 1 and 2.
  const text = Buffer.from([0x0a, 0x06, 0x0a, 0x01, 0x41, 0x12, 0x01, 0x62]).toString('base64');
  const grant = { envs: { A: 'b' }, mounts: [], devices: [], annotations: {}, cdiDevices: [] };
  expect(await host.grantToText(grant)).toBe(text);
  expect(await host.grantFromText(text)).toEqual(grant);
});
