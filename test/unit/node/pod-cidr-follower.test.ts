import { describe, expect, it } from 'vitest';
import { FakeCri } from '../../../src/host/cri/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { PodCIDRFollower } from '../../../src/node/pod-cidr-follower.ts';

describe('the pod CIDR', () => {
  it('is told to the runtime when it is known and when it changes, until the runtime has taken it', async () => {
    const clock = new ManualClock();
    const cri = new FakeCri({}, { clock });
    const follower = new PodCIDRFollower({ cri, clock, logger: silent });
    follower.set([]);
    await clock.advance(10);
    expect(cri.configuredPodCIDR).toBe('');
    cri.failNext('updateRuntimeConfig', 'Unavailable', { times: 2 });
    follower.set(['10.244.1.0/24', 'fd00:10::/64']);
    await clock.advance(10);
    expect(cri.configuredPodCIDR).toBe('');
    await clock.advance(5000);
    expect(cri.configuredPodCIDR).toBe('10.244.1.0/24,fd00:10::/64');
    follower.set(['10.244.2.0/24']);
    await clock.advance(10);
    expect(cri.configuredPodCIDR).toBe('10.244.2.0/24');
    await follower.close();
  });
});
