import { describe, expect, it } from 'vitest';
import { FakeCri } from '../../../../src/host/cri/fake.ts';
import type { PodSandboxConfig } from '../../../../src/host/cri/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { unguarded } from '../../../../src/pods/images/image-access.ts';
import { ImageMetrics } from '../../../../src/pods/images/image-metrics.ts';
import { ImagePuller } from '../../../../src/pods/images/image-puller.ts';
import { ImageCredentials } from '../../../../src/pods/images/pull-credentials.ts';
import { container, pod } from '../builders.ts';

const never = new AbortController().signal;

/** Asks for so many images at once; tells when each was there, in milliseconds, with pulls that take a second each. */
async function arrivals(
  options: { maxParallelPulls: number; pullQPS: number; pullBurst: number },
  count: number,
  takesMs = 1000,
): Promise<number[]> {
  const clock = new ManualClock();
  const cri = new FakeCri({}, { clock });
  const objects = { get: () => Promise.reject(new Error('no Secrets here')) };
  const puller = new ImagePuller(options, {
    cri,
    credentials: new ImageCredentials({ objects, places: [], event: () => {}, log: silent }),
    guard: unguarded,
    metrics: new ImageMetrics(new Metrics()),
    clock,
    event: () => {},
  });
  if (takesMs > 0) cri.delay('pullImage', takesMs);
  const times: number[] = [];
  const began = clock.now();
  for (let index = 0; index < count; index++) {
    const image = `r.example.com/app:${index}`;
    cri.publishImage(image);
    const config = { metadata: { name: 'p', namespace: 'ns', uid: 'u1', attempt: 0 } } as PodSandboxConfig;
    void puller.ensure(pod(), container('a', { image }), config, never).then(() => times.push(clock.now() - began));
  }
  await clock.advance(60_000);
  return times;
}

const unlimited = { pullQPS: 0, pullBurst: 0 };

describe('the pace of pulls', () => {
  it('serializeImagePulls: one after the other', async () => {
    expect(await arrivals({ maxParallelPulls: 1, ...unlimited }, 3)).toEqual([1000, 2000, 3000]);
  });

  it('maxParallelImagePulls: so many at once', async () => {
    expect(await arrivals({ maxParallelPulls: 2, ...unlimited }, 5)).toEqual([1000, 1000, 2000, 2000, 3000]);
  });

  it('all at once where nothing limits them', async () => {
    expect(await arrivals({ maxParallelPulls: Number.POSITIVE_INFINITY, ...unlimited }, 3)).toEqual([1000, 1000, 1000]);
  });

  it('registryPullQPS after registryBurst', async () => {
    const times = await arrivals({ maxParallelPulls: Number.POSITIVE_INFINITY, pullQPS: 5, pullBurst: 2 }, 5, 0);
    expect(times.map((ms) => Math.round(ms / 100) * 100)).toEqual([0, 0, 200, 400, 600]);
  });
});
