import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Container, PodSpec } from '../../src/model/pod.ts';
import { StepError } from '../../src/pods/step-error.ts';
import { PodWorld } from './pod-world.ts';

const app = (more: Partial<Container> = {}): Container => ({ name: 'app', image: 'app:1', ...more });

describe('what is said when a step fails', () => {
  let world: PodWorld;

  beforeEach(async () => {
    world = new PodWorld();
    await world.start();
  });

  afterEach(async () => {
    await world.stop();
  });

  const waiting = () => world.containerStatus('p')?.state?.waiting;
  const messages = (reason: string): string[] =>
    world.events.filter((event) => event.pod === 'p' && event.reason === reason).map(({ message }) => message);

  it('CreateContainerError, in the runtime’s words, and it is tried again', async () => {
    world.cri.failNext('createContainer', 'InvalidArgument');
    world.apply('p');
    await world.pass(50);
    expect(waiting()).toMatchObject({
      reason: 'CreateContainerError',
      message: expect.stringContaining('createContainer'),
    });
    expect(messages('Failed')[0]).toMatch(/^Error: .*createContainer/);
    await world.pass(2000);
    expect(world.isReady('p')).toBe(true);
  });

  it('RunContainerError, and it is tried again', async () => {
    world.cri.program('app', (attempt) => (attempt === 0 ? { startError: 'no such program' } : {}));
    world.apply('p');
    await world.pass(50);
    expect(waiting()).toMatchObject({
      reason: 'RunContainerError',
      message: expect.stringContaining('no such program'),
    });
    await world.pass(15_000);
    expect(world.isReady('p')).toBe(true);
  });

  it('RunContainerError of a container that the runtime has made and cannot start', async () => {
    world.cri.failNext('startContainer', 'Internal', { times: 4 });
    world.apply('p');
    await world.pass(50);
    expect(waiting()).toMatchObject({
      reason: 'RunContainerError',
      message: expect.stringContaining('startContainer'),
    });
    await world.pass(15_000);
    expect(world.isReady('p')).toBe(true);
  });

  it('InspectFailed and ImageInspectError when the runtime cannot tell of an image', async () => {
    world.cri.failNext('imageStatus', 'Internal');
    world.apply('p');
    await world.pass(50);
    expect(waiting()?.reason).toBe('ImageInspectError');
    expect(messages('InspectFailed')[0]).toMatch(/^Failed to inspect image "app:1(atest)?": /);
    await world.pass(2000);
    expect(world.isReady('p')).toBe(true);
  });

  it('FailedCreatePodSandBox', async () => {
    world.cri.failNext('runPodSandbox', 'Internal');
    world.apply('p');
    await world.pass(50);
    expect(messages('FailedCreatePodSandBox')[0]).toMatch(/^Failed to create pod sandbox: /);
    await world.pass(2000);
    expect(world.isReady('p')).toBe(true);
  });

  it('FailedCreatePodSandBox of a pod whose FQDN is too long, and of nothing else', async () => {
    const name = { hostname: 'h'.repeat(60), subdomain: 'sub', setHostnameAsFQDN: true };
    world.apply('p', name);
    await world.pass(5000);
    expect(messages('FailedCreatePodSandBox')[0]).toMatch(
      /^Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, FQDN h+\.sub\S+ is too long/,
    );
    expect([...new Set(world.events.filter(({ pod }) => pod === 'p').map(({ reason }) => reason))]).toEqual([
      'FailedCreatePodSandBox',
    ]);
    expect(waiting()).toEqual({ reason: 'ContainerCreating' });
  });

  it('FailedCreatePodContainer when the pod’s cgroup cannot be made', async () => {
    const { ensureCgroup } = world.parts;
    world.parts.ensureCgroup = () => Promise.reject(new Error('no room for a cgroup'));
    world.apply('p');
    await world.pass(50);
    expect(messages('FailedCreatePodContainer')).toContain('no room for a cgroup');
    world.parts.ensureCgroup = ensureCgroup;
    await world.pass(2000);
    expect(world.isReady('p')).toBe(true);
  });

  it('VolumeAttachmentLimitExceeded refuses the pod, for good', async () => {
    const why = 'Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[d]';
    const { setUpVolumes } = world.parts;
    world.parts.setUpVolumes = () => Promise.reject(new StepError('VolumeAttachmentLimitExceeded', why));
    world.apply('p');
    await world.pass(5000);
    expect(world.pods.get('ns/p')?.status).toMatchObject({
      phase: 'Failed',
      reason: 'VolumeAttachmentLimitExceeded',
      message: `Pod was rejected: ${why}`,
    });
    expect(messages('VolumeAttachmentLimitExceeded')).toEqual([why]);
    world.parts.setUpVolumes = setUpVolumes;
    await world.pass(120_000);
    expect(world.pods.get('ns/p')?.status?.phase).toBe('Failed');
  });

  it('FailedKillPod, and the kill is tried again', async () => {
    world.apply('p');
    await world.pass(50);
    world.cri.failNext('stopContainer', 'Unavailable');
    world.delete('p');
    await world.pass(50);
    expect(messages('FailedKillPod')[0]).toContain('stopContainer');
    await world.pass(5000);
    expect(world.pods.get('ns/p')).toBeUndefined();
    expect(world.isClean()).toBe(true);
  });

  it('FailedPreStopHook, and the container is stopped all the same', async () => {
    world.cri.setExec(() => ({ exitCode: 1 }));
    world.apply('p', { containers: [app({ lifecycle: { preStop: { exec: { command: ['say', 'bye'] } } } })] });
    await world.pass(50);
    world.delete('p');
    await world.pass(500);
    expect(messages('FailedPreStopHook')).toEqual(['PreStopHook failed']);
    expect(world.isClean()).toBe(true);
  });
});

describe('a change that needs a feature which this node does not declare', () => {
  it('is told, and named by what is missing', async () => {
    const world = new PodWorld({ declaredFeatures: ['InPlacePodVerticalScalingInitContainers'] });
    await world.start();
    world.apply('p', { resources: { requests: { cpu: '1' } }, initContainers: [app({ name: 'once' })] });
    await world.pass(50);
    const change = (of: Partial<PodSpec>): void => {
      const pod = world.pods.get('ns/p');
      if (pod !== undefined) world.pods.put({ ...pod, spec: { ...pod.spec, ...of } });
    };
    change({ initContainers: [app({ name: 'once', resources: { requests: { cpu: '1' } } })] });
    await world.pass(50);
    expect(world.events.filter(({ reason }) => reason === 'FailedNodeDeclaredFeaturesCheck')).toEqual([]);
    change({ resources: { requests: { cpu: '2' } } });
    await world.pass(50);
    expect(world.events.filter(({ reason }) => reason === 'FailedNodeDeclaredFeaturesCheck')).toMatchObject([
      {
        pod: 'p',
        message: 'Pod requires node features that are not available: InPlacePodLevelResourcesVerticalScaling',
      },
    ]);
    await world.stop();
  });
});

describe('a deletion without grace', () => {
  it('still gives a container one second between SIGTERM and SIGKILL', async () => {
    const world = new PodWorld();
    await world.start();
    world.cri.program('app', { ignoresTerm: true });
    world.apply('p');
    await world.pass(50);
    world.delete('p', 0);
    await world.pass(5000);
    const at = (name: string): number => world.cri.signals.find(({ signal }) => signal === name)?.atMs ?? Number.NaN;
    expect(at('SIGKILL') - at('SIGTERM')).toBe(1000);
    await world.stop();
  });
});

describe('what is counted of pods', () => {
  it('pods and containers, started, failed, running, refused', async () => {
    const world = new PodWorld();
    await world.start();
    world.apply('p');
    world.apply('q');
    world.cri.program('q/app', { startError: 'no such program' });
    world.apply('elsewhere', { nodeSelector: { zone: 'b' } });
    world.nodeInApi = world.node;
    await world.pass(50);
    const counted = (await world.metrics.text()).split('\n');
    for (const line of [
      'kubelet_started_pods_total 2',
      'kubelet_running_pods 2',
      'kubelet_running_containers{container_state="running"} 1',
      'kubelet_started_containers_total{container_type="container"} 1',
      'kubelet_started_containers_errors_total{container_type="container",code="RunContainerError"} 1',
      'kubelet_admission_rejections_total{reason="NodeAffinity"} 1',
      'kubelet_image_manager_ensure_image_requests_total{pull_policy="ifnotpresent",present_locally="true",pull_required="false"} 2',
    ]) {
      expect(counted.filter((one) => one.startsWith(line.split(/[ {]/)[0] ?? '')).join('\n')).toContain(line);
    }
    await world.stop();
  });
});
