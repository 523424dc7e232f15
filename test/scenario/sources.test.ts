import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '../../src/model/pod.ts';
import type { PodSources } from '../../src/pods/sources/port.ts';
import { PodWorld } from './pod-world.ts';

/** Sources that speak when the test says so. */
class Sources implements PodSources {
  complete = false;
  private readonly judged = new Set<string>();
  private readonly listeners = new Set<() => void>();

  judges(uid: string): boolean {
    return this.complete || this.judged.has(uid);
  }

  judge(uid: string): void {
    this.judged.add(uid);
  }

  finish(): void {
    this.complete = true;
    for (const listener of this.listeners) listener();
  }

  onComplete(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

function fixed(uid: string, image = 'app:1'): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'fixed',
      namespace: 'ns',
      uid,
      annotations: { 'kubernetes.io/config.source': 'file', 'kubernetes.io/config.hash': uid },
    },
    spec: { containers: [{ name: 'app', image }], restartPolicy: 'Always', terminationGracePeriodSeconds: 20 },
    status: { phase: 'Pending' },
  };
}

describe('pods of several sources', () => {
  let sources: Sources;
  let world: PodWorld;

  beforeEach(async () => {
    sources = new Sources();
    // Each container takes its whole grace to end.
    world = new PodWorld({ sources });
    world.cri.program('app', { ignoresTerm: true });
    world.cri.addImage('app:1');
    await world.start();
  });

  afterEach(() => world.stop());

  const running = async (): Promise<string[]> =>
    (await world.cri.listContainers())
      .filter(({ state }) => state === 'RUNNING')
      .map(({ labels }) => labels['io.kubernetes.pod.uid'] ?? '');

  it('nothing is ended because of a source that has not spoken', async () => {
    world.apply('p');
    world.pods.put(fixed('one'));
    await world.pass(100);
    const before = await running();
    expect(before).toHaveLength(2);
    await world.stop();
    world.pods.drop('ns/p');
    world.pods.drop('ns/fixed');
    await world.start();
    await world.pass(300_000);
    expect((await running()).sort()).toEqual(before.sort());
    sources.finish();
    await world.pass(60_000);
    expect(await running()).toEqual([]);
    expect(world.isClean()).toBe(true);
  });

  it('a pod that leaves its source stays until all have spoken', async () => {
    world.pods.put(fixed('one'));
    await world.pass(100);
    world.pods.drop('ns/fixed');
    await world.pass(120_000);
    expect(await running()).toEqual(['one']);
    sources.finish();
    await world.pass(60_000);
    expect(world.isClean()).toBe(true);
  });

  it('static pods need no API to be ended', async () => {
    world.pods.put(fixed('one'));
    await world.pass(100);
    sources.judge('one');
    world.pods.drop('ns/fixed');
    await world.pass(60_000);
    expect(world.isClean()).toBe(true);
  });

  it('a new version waits until the old one has ended, and so do those after it, in their order', async () => {
    sources.finish();
    world.pods.put(fixed('one'));
    await world.pass(100);
    const order: string[] = [];
    const note = async (): Promise<void> => {
      const now = await running();
      expect(now.length).toBeLessThanOrEqual(1);
      if (now[0] !== undefined && order.at(-1) !== now[0]) order.push(now[0]);
    };
    await note();
    world.pods.put(fixed('two'));
    await world.pass(5000);
    await note();
    world.pods.put(fixed('three'));
    for (let second = 0; second < 90; second++) {
      await world.pass(1000);
      await note();
    }
    // "two" was over before it had begun.
    expect(order).toEqual(['one', 'three']);
    expect(world.errors).toEqual([]);
  });

  it('a new version waits for the old one that only the runtime remembers', async () => {
    sources.finish();
    world.pods.put(fixed('one'));
    await world.pass(100);
    await world.stop();
    world.pods.put(fixed('two'));
    await world.start();
    await world.pass(10_000);
    expect(await running()).toEqual(['one']);
    await world.pass(30_000);
    expect(await running()).toEqual(['two']);
  });

  it('one that comes back under its UID while it is being ended begins anew', async () => {
    sources.finish();
    world.pods.put(fixed('one'));
    await world.pass(100);
    const before = world.cri.container('fixed', 'app')?.id;
    world.pods.drop('ns/fixed');
    await world.pass(2000);
    world.pods.put(fixed('one'));
    await world.pass(60_000);
    expect(await running()).toEqual(['one']);
    expect(world.cri.container('fixed', 'app')?.id).not.toBe(before);
    expect(world.errors).toEqual([]);
  });

  it('two sources that have pods of one name do not stop each other from being looked at', async () => {
    sources.finish();
    world.pods.put(fixed('one'));
    await world.pass(100);
    expect(world.isReady('fixed')).toBe(true);
    world.pods.put({
      ...fixed('one'),
      spec: { ...fixed('one').spec, containers: [{ name: 'app', image: 'app:1', env: [{ name: 'A' }] }] },
    });
    await world.pass(1000);
    expect(await running()).toEqual(['one']);
  });
});
