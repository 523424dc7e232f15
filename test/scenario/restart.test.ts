import { describe, expect, it } from 'vitest';
import { PodWorld } from './pod-world.ts';

describe('an agent that is killed and started again', () => {
  it('adopts what runs: no restart, no status that changes anything', async () => {
    const world = new PodWorld();
    await world.start();
    world.apply('p', {
      containers: [
        {
          name: 'app',
          image: 'app:1',
          readinessProbe: { exec: { command: ['r'] }, periodSeconds: 10 },
          startupProbe: { exec: { command: ['s'] }, periodSeconds: 10 },
        },
      ],
    });
    await world.pass(30_000);
    expect(world.isReady('p')).toBe(true);
    const id = world.cri.container('p', 'app')?.id;
    await world.stop();
    world.pods.patches.length = 0;
    await world.start();
    await world.pass(60_000);
    expect(world.cri.container('p', 'app')?.id).toBe(id);
    expect(world.containerStatus('p')?.restartCount).toBe(0);
    expect(
      world.pods.patches.map(({ status }) => status.conditions?.find(({ type }) => type === 'Ready')?.status),
    ).toEqual([]);
    await world.stop();
  });

  // Killed at every millisecond of a pod's start, and started again: one container, never restarted.
  it.each(Array.from({ length: 40 }, (_, ms) => ms))('killed %i ms into a start', async (ms) => {
    const world = new PodWorld();
    world.cri.delay('runPodSandbox', 5);
    world.cri.delay('createContainer', 4);
    world.cri.delay('startContainer', 4);
    await world.start();
    world.apply('p', {
      initContainers: [{ name: 'side', image: 'app:1', restartPolicy: 'Always' }],
    });
    await world.pass(ms);
    await world.stop();
    await world.pass(30);
    await world.start();
    await world.pass(20_000);
    expect(world.isReady('p')).toBe(true);
    expect(world.containerStatus('p')?.restartCount).toBe(0);
    expect(world.cri.containersNamed('p', 'app').length).toBe(1);
    world.delete('p');
    await world.pass(1000);
    expect(world.isClean()).toBe(true);
    await world.stop();
  });

  it.each(Array.from({ length: 20 }, (_, ms) => ms * 2))('killed %i ms into a deletion', async (ms) => {
    const world = new PodWorld();
    world.cri.delay('stopContainer', 6);
    world.cri.delay('stopPodSandbox', 6);
    world.cri.delay('removePodSandbox', 6);
    await world.start();
    world.apply('p');
    await world.pass(100);
    world.delete('p');
    await world.pass(ms);
    await world.stop();
    await world.pass(50);
    await world.start();
    await world.pass(40_000);
    expect(world.pods.get('ns/p')).toBeUndefined();
    const { sandboxes, containers } = world.cri.counts;
    expect({ sandboxes, containers }).toEqual({ sandboxes: 0, containers: 0 });
    await world.stop();
  });

  it('a runtime that goes away and comes back loses nothing', async () => {
    const world = new PodWorld();
    await world.start();
    world.apply('p');
    await world.pass(100);
    const id = world.cri.container('p', 'app')?.id;
    world.cri.stopRuntime();
    await world.pass(5000);
    world.apply('q');
    await world.pass(1000);
    expect(world.isReady('p')).toBe(true);
    world.cri.startRuntime();
    await world.pass(10_000);
    expect(world.cri.container('p', 'app')?.id).toBe(id);
    expect(world.isReady('q')).toBe(true);
    await world.stop();
  });

  it('a reboot starts every pod again in a new sandbox', async () => {
    const world = new PodWorld();
    await world.start();
    world.apply('p');
    await world.pass(100);
    await world.stop();
    world.cri.rebootNode();
    await world.start();
    await world.pass(10_000);
    expect(world.isReady('p')).toBe(true);
    expect(world.containerStatus('p')?.restartCount).toBe(1);
    await world.stop();
  });
});
