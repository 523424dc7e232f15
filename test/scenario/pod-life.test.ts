import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Container } from '../../src/model/pod.ts';
import { PodWorld } from './pod-world.ts';

const app = (more: Partial<Container> = {}): Container => ({ name: 'app', image: 'app:1', ...more });

describe('the life of a pod', () => {
  let world: PodWorld;

  beforeEach(async () => {
    world = new PodWorld();
    await world.start();
  });

  afterEach(async () => {
    await world.stop();
  });

  it('starts, is ready, is deleted, leaves nothing', async () => {
    world.apply('p');
    await world.pass(50);
    expect(world.isReady('p')).toBe(true);
    expect(world.reasons('p')).toEqual(['Pulled', 'Created', 'Started']);
    world.delete('p');
    await world.pass(100);
    expect(world.pods.get('ns/p')).toBeUndefined();
    expect(world.isClean()).toBe(true);
  });

  it('a container gets its SIGTERM once this node sends no connection to its pod any more, and not before', async () => {
    const told: string[] = [];
    let left: () => void = () => {};
    const leaving = new PodWorld({
      endpointsLeft: () => {
        told.push(`${leaving.localReadiness.get(leaving.status('p')?.podIP ?? '')}`);
        return new Promise((resolve) => {
          left = resolve;
        });
      },
    });
    await leaving.start();
    leaving.apply('p');
    await leaving.pass(50);
    leaving.delete('p');
    await leaving.pass(200);
    // Whoever is waited for knows already that the pod is being ended.
    expect(told).toEqual(['terminating']);
    expect(leaving.cri.container('p', 'app')?.state).toBe('RUNNING');
    left();
    await leaving.pass(100);
    expect(leaving.isClean()).toBe(true);
    await leaving.stop();
  });

  it('a container that crashes comes back, later each time', async () => {
    world.apply('p');
    await world.pass(50);
    const starts: number[] = [];
    for (let crash = 0; crash < 4; crash++) {
      const before = world.containerStatus('p')?.restartCount ?? 0;
      world.cri.exit(world.cri.container('p', 'app')?.id ?? '', 1);
      const at = world.clock.now();
      for (let waited = 0; waited < 200_000 && world.containerStatus('p')?.restartCount === before; waited += 500) {
        await world.pass(500);
      }
      starts.push(Math.round((world.clock.now() - at) / 10_000) * 10);
      expect(world.containerStatus('p')?.restartCount).toBe(before + 1);
    }
    expect(starts).toEqual([0, 10, 20, 40]);
    expect(world.containerStatus('p')?.lastState?.terminated?.exitCode).toBe(1);
    expect(world.reasons('p')).toContain('BackOff');
  });

  it('sees an exit at once', async () => {
    world.apply('p', { restartPolicy: 'Never' });
    await world.pass(50);
    world.cri.exit(world.cri.container('p', 'app')?.id ?? '', 0);
    await world.pass(50);
    expect(world.status('p')?.phase).toBe('Succeeded');
    expect(world.containerStatus('p')?.state?.terminated?.reason).toBe('Completed');
  });

  it('tells of a SIGKILL at once, and of one near a memory limit when the runtime has had time to say that it was for that', async () => {
    const exitOf = (name: string): unknown => world.containerStatus(name)?.state?.terminated?.exitCode;
    const names = ['unlimited', 'far', 'near', 'untold'];
    for (const name of names) {
      const resources = name === 'unlimited' ? {} : { limits: { memory: '64Mi' } };
      world.apply(name, { restartPolicy: 'Never', containers: [app({ resources })] });
    }
    world.memoryPeaks.set('far', 20 * 2 ** 20);
    world.memoryPeaks.set('near', 63 * 2 ** 20);
    await world.pass(50);
    for (const name of names) world.cri.exit(world.cri.container(name, 'app')?.id ?? '', 137);
    await world.pass(100);
    expect(names.map(exitOf)).toEqual([137, 137, undefined, undefined]);
    await world.pass(1000);
    expect(names.map(exitOf)).toEqual([137, 137, 137, 137]);
  });

  it('sees an exit by lists where the runtime has no events', async () => {
    await world.stop();
    world = new PodWorld({ events: false });
    await world.start();
    world.apply('p', { restartPolicy: 'Never' });
    await world.pass(50);
    world.cri.exit(world.cri.container('p', 'app')?.id ?? '', 3);
    await world.pass(1100);
    expect(world.status('p')?.phase).toBe('Failed');
  });

  it('init containers run in order, one at a time, before the app', async () => {
    world.cri.program('i1', { exitAfterMs: 1000 });
    world.cri.program('i2', { exitAfterMs: 1000 });
    world.apply('p', {
      initContainers: [
        { name: 'i1', image: 'app:1' },
        { name: 'i2', image: 'app:1' },
      ],
    });
    await world.pass(500);
    expect(world.cri.container('p', 'i1')?.state).toBe('RUNNING');
    expect(world.cri.container('p', 'i2')).toBeUndefined();
    await world.pass(1000);
    expect(world.cri.container('p', 'i2')?.state).toBe('RUNNING');
    expect(world.cri.container('p', 'app')).toBeUndefined();
    await world.pass(1000);
    expect(world.isReady('p')).toBe(true);
  });

  it('sidecars start before the app and stop after it, the last one first', async () => {
    world.apply('p', {
      initContainers: [
        { name: 's1', image: 'app:1', restartPolicy: 'Always' },
        { name: 's2', image: 'app:1', restartPolicy: 'Always' },
      ],
    });
    await world.pass(100);
    expect(world.isReady('p')).toBe(true);
    world.cri.signals.length = 0;
    world.delete('p');
    await world.pass(200);
    expect(world.cri.signals.map(({ containerName }) => containerName)).toEqual(['app', 's2', 's1']);
    expect(world.isClean()).toBe(true);
  });

  it('a container that ignores SIGTERM is killed at the end of its grace', async () => {
    world.cri.program('app', { ignoresTerm: true });
    world.apply('p');
    await world.pass(50);
    world.delete('p', 5);
    await world.pass(4900);
    expect(world.pods.get('ns/p')).toBeDefined();
    await world.pass(300);
    expect(world.isClean()).toBe(true);
  });

  it('a second, shorter deletion cuts the grace', async () => {
    world.cri.program('app', { ignoresTerm: true });
    world.apply('p');
    await world.pass(50);
    world.delete('p', 30);
    await world.pass(1000);
    world.delete('p', 2);
    await world.pass(2500);
    expect(world.isClean()).toBe(true);
  });

  it('preStop runs inside the grace, before SIGTERM', async () => {
    world.cri.setExec(() => ({ takesMs: 2000 }));
    world.apply('p', { containers: [app({ lifecycle: { preStop: { exec: { command: ['drain'] } } } })] });
    await world.pass(50);
    const deletedAt = world.clock.now();
    world.delete('p', 10);
    await world.pass(5000);
    const term = world.cri.signals.find(({ signal }) => signal === 'SIGTERM');
    expect((term?.atMs ?? 0) - deletedAt).toBeGreaterThanOrEqual(2000);
    expect(world.isClean()).toBe(true);
  });

  it('a postStart hook holds the containers behind it', async () => {
    world.cri.setExec(() => ({ takesMs: 3000 }));
    world.apply('p', {
      containers: [
        app({ lifecycle: { postStart: { exec: { command: ['warm'] } } } }),
        { name: 'second', image: 'app:1' },
      ],
    });
    await world.pass(1000);
    expect(world.cri.container('p', 'second')).toBeUndefined();
    expect(world.containerStatus('p')?.state?.waiting?.reason).toBe('ContainerCreating');
    await world.pass(3000);
    expect(world.isReady('p')).toBe(true);
  });

  it('a failed postStart hook ends the container', async () => {
    world.cri.setExec(() => ({ exitCode: 1 }));
    world.apply('p', { containers: [app({ lifecycle: { postStart: { exec: { command: ['warm'] } } } })] });
    await world.pass(200);
    expect(world.reasons('p')).toContain('FailedPostStartHook');
    expect(world.cri.signals.some(({ containerName }) => containerName === 'app')).toBe(true);
  });

  it('a liveness failure restarts the container, a readiness failure only takes it out', async () => {
    let healthy = true;
    let ready = true;
    world.apply('p', {
      containers: [
        app({
          livenessProbe: { exec: { command: ['live'] }, periodSeconds: 1, failureThreshold: 2 },
          readinessProbe: { exec: { command: ['ready'] }, periodSeconds: 1, failureThreshold: 1 },
        }),
      ],
    });
    world.cri.setExec(({ command }) => ({ exitCode: (command[0] === 'live' ? healthy : ready) ? 0 : 1 }));
    await world.pass(1500);
    expect(world.isReady('p')).toBe(true);
    ready = false;
    await world.pass(1500);
    expect(world.isReady('p')).toBe(false);
    expect(world.containerStatus('p')?.restartCount).toBe(0);
    ready = true;
    await world.pass(1500);
    expect(world.isReady('p')).toBe(true);
    healthy = false;
    await world.pass(2000);
    healthy = true;
    await world.pass(3000);
    expect(world.containerStatus('p')?.restartCount).toBe(1);
    expect(
      world.events.some(({ message }) => message === 'Container app failed liveness probe, will be restarted'),
    ).toBe(true);
    expect(world.isReady('p')).toBe(true);
  });

  it('an image that cannot be pulled is tried again with back-off and does not hold other pods', async () => {
    world.apply('bad', { containers: [{ name: 'app', image: 'nowhere:1' }] });
    world.cri.failNext('imageStatus', 'NotFound');
    await world.pass(50);
    world.apply('good');
    await world.pass(50);
    expect(world.isReady('good')).toBe(true);
  });

  it('a missing image is ErrImagePull, then ImagePullBackOff, and is pulled when it appears', async () => {
    world.pods.put({
      metadata: { name: 'p', namespace: 'ns', uid: 'u' },
      spec: { containers: [{ name: 'app', image: 'late:1' }] },
    });
    await world.pass(300);
    expect(world.containerStatus('p')?.state?.waiting?.reason).toBe('ErrImagePull');
    await world.pass(2000);
    expect(world.containerStatus('p')?.state?.waiting?.reason).toBe('ImagePullBackOff');
    world.cri.publishImage('late:1');
    await world.pass(10_000);
    expect(world.isReady('p')).toBe(true);
    expect(world.reasons('p')).toEqual(expect.arrayContaining(['Pulling', 'Failed', 'BackOff', 'Pulled', 'Started']));
  });

  it('an image name that is none is said so', async () => {
    world.pods.put({
      metadata: { name: 'p', namespace: 'ns', uid: 'u' },
      spec: { containers: [{ name: 'app', image: 'Not An Image' }] },
    });
    await world.pass(300);
    expect(world.containerStatus('p')?.state?.waiting?.reason).toBe('InvalidImageName');
  });

  it('a missing volume holds one pod, with an event, until it appears', async () => {
    world.parts.missing.add('data');
    world.apply('p', { volumes: [{ name: 'data' }] });
    world.apply('q');
    await world.pass(200);
    expect(world.reasons('p')).toContain('FailedMount');
    expect(world.isReady('q')).toBe(true);
    world.parts.missing.clear();
    await world.pass(11_000);
    expect(world.isReady('p')).toBe(true);
  });

  it('a missing ConfigMap is CreateContainerConfigError', async () => {
    world.parts.missing.add('app');
    world.apply('p');
    await world.pass(200);
    expect(world.containerStatus('p')?.state?.waiting).toEqual({
      reason: 'CreateContainerConfigError',
      message: 'configmap "app" not found',
    });
  });

  it('a sandbox that dies is made anew, and the restart is counted', async () => {
    world.apply('p');
    await world.pass(50);
    world.cri.killSandbox(world.cri.sandbox('p')?.id ?? '');
    await world.pass(6000);
    expect(world.cri.sandbox('p')?.config.metadata.attempt).toBe(1);
    expect(world.isReady('p')).toBe(true);
    expect(world.containerStatus('p')?.restartCount).toBe(1);
    expect(world.reasons('p')).toContain('SandboxChanged');
  });

  it('activeDeadlineSeconds ends the pod as Failed', async () => {
    world.apply('p', { activeDeadlineSeconds: 3 });
    await world.pass(4000);
    expect(world.status('p')).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    expect(world.cri.counts.running).toBe(0);
  });

  it('a pod that the node refuses is Failed, and nothing of it is started', async () => {
    world.apply('p', { securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } });
    await world.pass(200);
    expect(world.status('p')).toMatchObject({ phase: 'Failed', reason: 'SysctlForbidden' });
    expect(world.reasons('p')).toContain('SysctlForbidden');
    expect(world.cri.counts).toMatchObject({ sandboxes: 0, containers: 0 });
    expect(world.parts.cgroups.size + world.parts.volumes.size).toBe(0);
  });

  it('a pod deleted while its image is pulled leaves at once', async () => {
    world.cri.publishImage('slow:1');
    world.cri.delay('pullImage', 60_000);
    world.pods.put({
      metadata: { name: 'p', namespace: 'ns', uid: 'u' },
      spec: { containers: [{ name: 'app', image: 'slow:1' }] },
    });
    await world.pass(500);
    world.delete('p');
    await world.pass(200);
    expect(world.isClean()).toBe(true);
  });

  it('a pod that the API has forgotten is ended', async () => {
    world.apply('p');
    await world.pass(50);
    world.pods.drop('ns/p');
    await world.pass(200);
    expect(world.isClean()).toBe(true);
  });

  it('a wedged sandbox harms no other pod', async () => {
    const release = world.cri.hold('runPodSandbox', (subject) => subject.includes('stuck'));
    world.apply('stuck');
    world.apply('fine');
    await world.pass(100);
    expect(world.isReady('fine')).toBe(true);
    expect(world.isReady('stuck')).toBe(false);
    release();
    await world.pass(100);
    expect(world.isReady('stuck')).toBe(true);
  });

  it('the network not being ready holds pods, not those in the host network', async () => {
    world.cri.setCondition('NetworkReady', false, 'NetworkPluginNotReady', 'cni plugin not initialized');
    await world.pass(6000);
    world.apply('p');
    world.apply('h', { hostNetwork: true });
    await world.pass(200);
    expect(world.isReady('p')).toBe(false);
    expect(world.isReady('h')).toBe(true);
    expect(world.events.filter(({ reason }) => reason === 'NetworkNotReady')).toMatchObject([
      {
        pod: 'p',
        message:
          'network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized',
      },
    ]);
    world.cri.setCondition('NetworkReady', true);
    await world.pass(1000);
    expect(world.isReady('p')).toBe(true);
  });

  it('a pod of the same name made after deletion is another pod', async () => {
    world.apply('p');
    await world.pass(50);
    const first = world.pods.get('ns/p')?.metadata.uid;
    world.delete('p');
    await world.pass(200);
    world.apply('p');
    await world.pass(100);
    expect(world.pods.get('ns/p')?.metadata.uid).not.toBe(first);
    expect(world.isReady('p')).toBe(true);
  });

  it('nothing is written when nothing changes', async () => {
    world.apply('p');
    await world.pass(1000);
    const before = world.pods.patches.length;
    await world.pass(600_000);
    expect(world.pods.patches.length).toBe(before);
  });
});
