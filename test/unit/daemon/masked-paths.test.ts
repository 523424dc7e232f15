import { describe, expect, it } from 'vitest';
import { machineMaskedPaths } from '../../../src/daemon/masked-paths.ts';
import { FakeFiles } from '../../../src/host/files/fake.ts';

describe('machineMaskedPaths', () => {
  it('is the thermal throttling of each CPU that has one', async () => {
    const files = new FakeFiles();
    expect(await machineMaskedPaths(files)).toEqual([]);
    for (const path of ['cpu1/thermal_throttle', 'cpu0/thermal_throttle', 'cpu2/cache', 'cpufreq/thermal_throttle']) {
      await files.makeDirectory(`/sys/devices/system/cpu/${path}`, 0o755);
    }
    expect(await machineMaskedPaths(files)).toEqual([
      '/sys/devices/system/cpu/cpu0/thermal_throttle',
      '/sys/devices/system/cpu/cpu1/thermal_throttle',
    ]);
  });
});
