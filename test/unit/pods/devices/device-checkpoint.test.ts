import { describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { DeviceCheckpoint, type DeviceData } from '../../../../src/pods/devices/device-checkpoint.ts';

const FILE = '/d/kubelet_internal_checkpoint';
const SOME: DeviceData = {
  PodDeviceEntries: [
    {
      PodUID: 'u1',
      ContainerName: 'c',
      ResourceName: 'test.io/gpu',
      DeviceIDs: { '10': ['d'], '-1': ['b', 'a'], '2': [] },
      AllocResp: 'CgUKAWESAWI=',
    },
    { PodUID: 'u2', ContainerName: 'c', ResourceName: 'r', DeviceIDs: {}, AllocResp: '' },
  ],
  RegisteredDevices: { 'test.io/gpu': ['a', 'b'], 'a.io/x': [] },
};

describe('the checkpoint of devices', () => {
  // The numbers are those of Go: spew 1.1.1 and hash/fnv over kubelet's structs, read back from this JSON.
  it.each([
    ['nothing', { PodDeviceEntries: [], RegisteredDevices: {} }, 2932075448],
    ['devices', SOME, 173273003],
  ])('of %s has kubelet’s checksum', async (_, data, checksum) => {
    const files = new FakeFiles();
    await files.makeDirectory('/d', 0o755);
    const checkpoint = new DeviceCheckpoint('/d', files);
    await checkpoint.write(data);
    expect(JSON.parse((await files.read(FILE)).toString())).toEqual({ Data: data, Checksum: checksum });
    expect(await checkpoint.read()).toEqual(data);
  });

  it('is refused where it was changed; one without a checksum, as earlier versions wrote it, is not', async () => {
    const files = new FakeFiles();
    await files.makeDirectory('/d', 0o755);
    const checkpoint = new DeviceCheckpoint('/d', files);
    const write = (Checksum: number): Promise<void> =>
      files.write(FILE, JSON.stringify({ Data: SOME, Checksum }), 0o600);
    await write(7);
    await expect(checkpoint.read()).rejects.toThrow(`${FILE} is corrupt: its checksum is 173273003, it says 7`);
    await write(0);
    expect(await checkpoint.read()).toEqual(SOME);
    // As kubelet writes it while no pod has devices.
    const nil = { Data: { PodDeviceEntries: null, RegisteredDevices: {} }, Checksum: 3467439661 };
    await files.write(FILE, JSON.stringify(nil), 0o600);
    expect(await checkpoint.read()).toEqual({ PodDeviceEntries: [], RegisteredDevices: {} });
  });
});
