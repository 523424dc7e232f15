import { describe, expect, it } from 'vitest';
import type { Image } from '../../../src/host/cri/port.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { PodState } from '../../../src/pods/pod-state.ts';
import { container, NOW, pod } from './builders.ts';

const image: Image = { id: 'sha256:1', repoTags: [], repoDigests: [], size: 1, username: '', pinned: false };
const retry = { baseMs: 500, maxMs: 10_000 };

function version(of: Pod, resourceVersion: string): Pod {
  return { ...of, metadata: { ...of.metadata, resourceVersion } };
}

describe('PodState', () => {
  it('what is known of an image ends with the image', () => {
    const before = version(pod({ containers: [container('a'), container('b')] }), '1');
    const state = new PodState(before, 'run', NOW);
    for (const name of ['a', 'b']) {
      state.imageReady(name, 'sha256:1', image);
      state.stepFailed(`image/${name}`, 'ErrImagePull', 'no', NOW, retry);
      state.stepFailed(`start/${name}`, 'RunContainerError', 'no', NOW, retry);
      state.restarting(name, NOW, NOW, 300_000);
    }
    state.adopt(version(pod({ containers: [container('a', { image: 'a:2' }), container('b')] }), '2'));
    expect([...state.failures.keys()]).toEqual(['image/b', 'start/b']);
    expect([...state.images.keys()]).toEqual(['b']);
    expect(state.containers.get('a')).toMatchObject({ imageRef: undefined, crash: undefined });
    expect(state.containers.get('b')).toMatchObject({ imageRef: 'sha256:1', crash: { delayMs: 10_000 } });
  });

  it('a new status in the API changes nothing', () => {
    const before = version(pod(), '1');
    const state = new PodState(before, 'run', NOW);
    state.imageReady('a', 'sha256:1', image);
    state.adopt(version({ ...before, status: { phase: 'Running' } }, '2'));
    expect(state.containers.get('a')?.imageRef).toBe('sha256:1');
    expect(state.volumesStale).toBe(false);
  });

  it('new labels and annotations reach the volumes', () => {
    const state = new PodState(version(pod(), '1'), 'run', NOW);
    state.adopt(version(pod({}, { labels: { a: 'b' } }), '2'));
    expect(state.volumesStale).toBe(true);
  });

  it('crash back-off doubles up to its maximum and starts over after ten minutes', () => {
    const state = new PodState(pod(), 'run', NOW);
    const delays: number[] = [];
    let now = NOW;
    for (let crash = 0; crash < 5; crash++) {
      state.restarting('a', now, now, 60_000);
      delays.push(state.containers.get('a')?.crash?.delayMs ?? 0);
      now += 1000;
    }
    state.restarting('a', now + 599_000, now + 599_000, 60_000);
    delays.push(state.containers.get('a')?.crash?.delayMs ?? 0);
    state.restarting('a', now + 1_300_000, now + 1_300_000, 60_000);
    delays.push(state.containers.get('a')?.crash?.delayMs ?? 0);
    expect(delays).toEqual([10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 10_000]);
  });

  it('retryNow lets go of those failures that it is asked for', () => {
    const state = new PodState(pod(), 'run', NOW);
    state.stepFailed('image/a', 'ErrImagePull', 'no', NOW, retry);
    state.stepFailed('prepare', 'FailedMount', 'no', NOW, retry);
    state.retryNow((key) => !key.startsWith('image/'));
    expect(state.failures.get('image/a')?.backoff.failedAt).toBe(NOW);
    expect(state.failures.get('prepare')?.backoff.failedAt).toBe(0);
  });

  it('its end has begun when what starts it was cut off', () => {
    const state = new PodState(pod(), 'run', NOW);
    expect(state.ending).toBe(false);
    state.starting.abort();
    expect(state.ending).toBe(true);
  });
});
