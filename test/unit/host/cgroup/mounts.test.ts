import { describe, expect, it } from 'vitest';
import { parseCgroupMounts } from '../../../../src/host/cgroup/mounts.ts';

describe('parseCgroupMounts', () => {
  it('reads v1 with controllers mounted together, a named hierarchy and the hybrid v2 mount', () => {
    const text = [
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro',
      '33 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct',
      '34 24 0:29 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory',
      '35 24 0:30 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd',
      '36 24 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate',
      '37 24 0:29 / /mnt/again\\040here rw - cgroup cgroup rw,memory',
      '',
    ].join('\n');
    expect(parseCgroupMounts(text)).toEqual([
      { mountPoint: '/sys/fs/cgroup/cpu,cpuacct', version: 1, controllers: ['cpu', 'cpuacct'] },
      { mountPoint: '/sys/fs/cgroup/memory', version: 1, controllers: ['memory'] },
      { mountPoint: '/sys/fs/cgroup/systemd', version: 1, controllers: ['name=systemd'] },
      { mountPoint: '/sys/fs/cgroup/unified', version: 2, controllers: [] },
    ]);
  });

  it('undoes the octal escapes of mount points', () => {
    const [mount] = parseCgroupMounts('30 23 0:26 / /a\\040b\\134c rw - cgroup2 none rw');
    expect(mount?.mountPoint).toBe('/a b\\c');
  });
});
