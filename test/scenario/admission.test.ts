import { describe, expect, it } from 'vitest';
import type { PodSpec } from '../../src/model/pod.ts';
import { PodWorld } from './pod-world.ts';

const asks = (cpu: string, more: Partial<PodSpec> = {}): Partial<PodSpec> => ({
  containers: [{ name: 'app', image: 'app:1', resources: { requests: { cpu } } }],
  ...more,
});
const critical = (cpu: string): Partial<PodSpec> => asks(cpu, { priority: 2_000_001_000 });

async function world(cpu = '2'): Promise<PodWorld> {
  const made = new PodWorld();
  made.node = { metadata: { name: 'n' }, status: { allocatable: { cpu, memory: '8Gi', pods: '20' } } };
  await made.start();
  return made;
}

describe('a pod that does not fit', () => {
  it('fails with the reason, nothing of it ever runs, and it is never let in later', async () => {
    const w = await world('1');
    w.apply('first', asks('800m'));
    w.apply('second', asks('800m'));
    await w.pass(5000);
    expect(w.isReady('first')).toBe(true);
    expect(w.status('second')).toMatchObject({
      phase: 'Failed',
      reason: 'OutOfcpu',
      message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 800, used: 800, capacity: 1000",
    });
    expect(w.status('second')?.containerStatuses).toBeUndefined();
    expect(w.events.filter(({ pod }) => pod === 'second')).toMatchObject([
      { type: 'Warning', reason: 'OutOfcpu', message: expect.stringMatching(/^Node didn't have enough resource: cpu/) },
    ]);
    w.delete('first');
    await w.pass(60_000);
    expect(w.status('second')?.phase).toBe('Failed');
    await w.stop();
    w.pods.patches.length = 0;
    await w.start();
    await w.pass(60_000);
    expect(w.pods.patches).toEqual([]);
    expect(w.cri.containersNamed('second', 'app')).toEqual([]);
    w.delete('second');
    await w.pass(1000);
    expect(w.pods.size).toBe(0);
    expect(w.isClean()).toBe(true);
    await w.stop();
  });

  it('fits as soon as what was there is over, not before', async () => {
    const w = await world('1');
    w.cri.program('job/app', { ignoresTerm: true });
    w.apply('job', asks('800m', { restartPolicy: 'Never' }));
    await w.pass(500);
    w.delete('job', 5);
    await w.pass(0);
    w.apply('early', asks('800m'));
    await w.pass(20_000);
    w.apply('late', asks('800m'));
    await w.pass(5000);
    expect(w.status('early')?.reason).toBe('OutOfcpu');
    expect(w.isReady('late')).toBe(true);
    await w.stop();
  });

  it('waits while the Node is not known', async () => {
    const w = await world();
    const known = w.node;
    w.node = undefined;
    w.apply('p', asks('1'));
    await w.pass(30_000);
    expect(w.status('p')).toBeUndefined();
    w.node = known;
    await w.pass(2000);
    expect(w.isReady('p')).toBe(true);
    await w.stop();
  });

  it('has the Node read anew when only its labels are wrong', async () => {
    const w = await world();
    w.nodeInApi = { ...w.node, metadata: { name: 'n', labels: { zone: 'a' } } };
    w.apply('p', asks('1', { nodeSelector: { zone: 'a' } }));
    w.apply('q', asks('1m', { nodeSelector: { zone: 'b' } }));
    await w.pass(2000);
    expect(w.isReady('p')).toBe(true);
    expect(w.status('q')?.reason).toBe('NodeAffinity');
    await w.stop();
  });
});

describe('an agent that starts', () => {
  it('keeps what runs although it would not be let in now, and gives it its place before anything new', async () => {
    const w = await world('2');
    w.apply('a', asks('1'));
    w.apply('b', asks('1'));
    await w.pass(2000);
    await w.stop();
    w.node = { metadata: { name: 'n' }, status: { allocatable: { cpu: '1500m', memory: '8Gi', pods: '20' } } };
    w.apply('c', asks('100m'));
    await w.start();
    await w.pass(60_000);
    expect(['a', 'b'].map((name) => w.isReady(name))).toEqual([true, true]);
    expect(w.containerStatus('a')?.restartCount).toBe(0);
    expect(w.status('c')).toMatchObject({ reason: 'OutOfcpu', phase: 'Failed' });
    await w.stop();
  });

  it('lets the older pods in first', async () => {
    const w = await world('1');
    await w.stop();
    const born = (name: string, at: string): void => {
      w.apply(name, asks('800m'));
      const pod = w.pods.get(`ns/${name}`);
      if (pod !== undefined) w.pods.put({ ...pod, metadata: { ...pod.metadata, creationTimestamp: at } });
    };
    born('young', '2026-01-01T00:00:10Z');
    born('old', '2026-01-01T00:00:05Z');
    await w.start();
    await w.pass(2000);
    expect(w.isReady('old')).toBe(true);
    expect(w.status('young')?.reason).toBe('OutOfcpu');
    await w.stop();
  });
});

describe('a critical pod without room', () => {
  it('starts when its victims have ended, within their grace', async () => {
    const w = await world('2');
    w.cri.program('victim/app', { ignoresTerm: true });
    w.apply('victim', asks('1500m', { terminationGracePeriodSeconds: 4 }));
    w.apply('spared', asks('400m'));
    await w.pass(2000);
    w.apply('critical', critical('1500m'));
    await w.pass(1000);
    expect(w.cri.containersNamed('critical', 'app')).toEqual([]);
    // What comes meanwhile does not take the room that is being made.
    w.apply('greedy', asks('1'));
    await w.pass(10_000);
    expect(w.status('victim')).toMatchObject({
      phase: 'Failed',
      reason: 'Preempting',
      message: 'Preempted in order to admit critical pod',
    });
    expect(w.status('victim')?.conditions?.find(({ type }) => type === 'DisruptionTarget')).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
      message: 'Pod was preempted by Kubelet to accommodate a critical pod.',
    });
    expect(w.events.find(({ reason }) => reason === 'Preempting')).toMatchObject({ pod: 'victim', type: 'Warning' });
    expect(w.isReady('critical')).toBe(true);
    expect(w.isReady('spared')).toBe(true);
    expect(w.status('greedy')?.reason).toBe('OutOfcpu');
    expect(await w.metrics.text()).toContain('kubelet_preemptions{preemption_signal="cpu"} 1\n');
    const ended = w.pods.patches.find(({ name, status }) => name === 'victim' && status.phase === 'Failed');
    const told = w.pods.patches.find(({ status }) =>
      status.conditions?.some(({ type }) => type === 'DisruptionTarget'),
    );
    expect(told).toBe(ended);
    await w.stop();
  });

  it('is let in all the same when a victim does not end far beyond its grace', async () => {
    const w = await world('1');
    w.apply('victim', asks('1', { terminationGracePeriodSeconds: 1 }));
    await w.pass(2000);
    w.cri.hold('stopContainer');
    w.apply('critical', critical('1'));
    await w.pass(9000);
    expect(w.cri.containersNamed('critical', 'app')).toEqual([]);
    await w.pass(3000);
    expect(w.reasons('victim')).toContain('ExceededGracePeriod');
    expect(w.isReady('critical')).toBe(true);
    await w.stop();
  });

  it('that is deleted while it waits ends at once', async () => {
    const w = await world('1');
    w.apply('victim', asks('1', { terminationGracePeriodSeconds: 30 }));
    w.cri.program('victim/app', { ignoresTerm: true });
    await w.pass(2000);
    w.apply('critical', critical('1'));
    await w.pass(500);
    w.delete('critical', 0);
    await w.pass(500);
    expect(w.pods.get('ns/critical')).toBeUndefined();
    await w.stop();
  });
});
