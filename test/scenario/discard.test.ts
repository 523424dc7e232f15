import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PodWorld } from './pod-world.ts';

describe('pods of which nothing is kept', () => {
  let world: PodWorld;

  beforeEach(async () => {
    world = new PodWorld();
    await world.start();
  });

  afterEach(async () => {
    await world.stop();
  });

  const uidOf = (name: string): string => world.pods.get(`ns/${name}`)?.metadata.uid ?? '';

  it('an evicted pod fails, tells how its containers ended, and leaves nothing but its object', async () => {
    world.apply('p');
    await world.pass(50);
    let reclaimed = false;
    const end = { reason: 'Evicted', message: 'The node was low on resource: memory. ', graceSeconds: 1 };
    const done = world.loop.evict(uidOf('p'), { ...end, evicted: true, disruption: end.message }).then(() => {
      reclaimed = world.loop.isReclaimed(uidOf('p'));
    });
    await world.pass(5000);
    await done;
    expect(world.status('p')).toMatchObject({ phase: 'Failed', reason: 'Evicted', message: end.message });
    expect(world.status('p')?.conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', status: 'True', reason: 'TerminationByKubelet' }),
    );
    expect(world.containerStatus('p')?.state?.terminated).toMatchObject({ exitCode: 143, reason: 'Error' });
    expect(reclaimed).toBe(false);
    expect(world.loop.isReclaimed(uidOf('p'))).toBe(true);
    expect(world.cri.counts).toMatchObject({ sandboxes: 0, containers: 0 });
    expect(world.parts.logs.size).toBe(0);
    world.delete('p');
    await world.pass(1000);
    expect(world.pods.size).toBe(0);
    expect(world.isClean()).toBe(true);
  });

  it('short of disk, containers of pods that have ended go, of others not, and no status changes', async () => {
    world.apply('done', { restartPolicy: 'Never' });
    world.apply('runs');
    await world.pass(50);
    world.cri.exit(world.cri.container('done', 'app')?.id ?? '', 3);
    await world.pass(1000);
    const before = world.status('done');
    expect(before?.phase).toBe('Failed');
    expect(world.cri.containersNamed('done', 'app')).toHaveLength(1);
    const discarded = world.loop.discardEnded(10_000);
    await world.pass(500);
    await discarded;
    expect(world.cri.containersNamed('done', 'app')).toEqual([]);
    expect(world.isReady('runs')).toBe(true);
    await world.pass(120_000);
    expect(world.status('done')).toEqual(before);
    // A restarted agent does not bring it back either.
    await world.stop();
    await world.start();
    await world.pass(120_000);
    expect(world.status('done')).toEqual(before);
    expect(world.cri.containersNamed('done', 'app')).toEqual([]);
  });

  it('waits no longer than it is told for a runtime that removes nothing', async () => {
    world.apply('done', { restartPolicy: 'Never' });
    await world.pass(50);
    world.cri.exit(world.cri.container('done', 'app')?.id ?? '', 0);
    await world.pass(1000);
    world.cri.delay('removePodSandbox', 600_000);
    let over = false;
    void world.loop.discardEnded(10_000).then(() => {
      over = true;
    });
    await world.pass(9000);
    expect(over).toBe(false);
    await world.pass(2000);
    expect(over).toBe(true);
  });
});
