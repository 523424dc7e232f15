import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseMetrics } from '../harness/prometheus-text.ts';
import { PodWorld } from './pod-world.ts';

describe('what is measured of pods', () => {
  let world: PodWorld;
  beforeEach(() => {
    world = new PodWorld();
  });
  afterEach(() => world.stop());

  /** Its samples as `{label="value"} value`, without those that are 0. */
  async function figures(name: string): Promise<string[]> {
    const { samples } = parseMetrics(await world.metrics.text());
    return samples
      .filter((sample) => sample.name === name && sample.value !== 0)
      .map(({ labels, value }) => `${Object.values(labels).join(' ')} ${value}`.trim())
      .sort();
  }

  function create(name: string, spec: Parameters<PodWorld['apply']>[1] = {}, metadata: object = {}): void {
    world.apply(name, spec);
    const pod = world.pods.get(`ns/${name}`);
    if (pod === undefined) throw new Error(name);
    const creationTimestamp = new Date(world.clock.now()).toISOString();
    world.pods.put({ ...pod, metadata: { ...pod.metadata, creationTimestamp, ...metadata } });
  }

  it('how many are wanted, hold resources, and are in which part of their lives', async () => {
    await world.start();
    world.cri.program('one/app', { ignoresTerm: true });
    create('one');
    create('two', { ephemeralContainers: [{ name: 'debug', image: 'app:1' }] });
    create('static', {}, { annotations: { 'kubernetes.io/config.source': 'file' } });
    create('over', { restartPolicy: 'Never' });
    world.cri.program('over/app', { exitAfterMs: 100, exitCode: 0 });
    await world.pass(5000);
    expect(world.status('over')?.phase).toBe('Succeeded');
    expect(await figures('kubelet_desired_pods')).toEqual(['3', 'true 1']);
    expect(await figures('kubelet_active_pods')).toEqual(['2', 'true 1']);
    expect(await figures('kubelet_working_pods')).toEqual([
      'sync desired  2',
      'sync desired true 1',
      'terminated desired  1',
    ]);
    expect(await figures('kubelet_managed_ephemeral_containers')).toEqual(['1']);
    expect(await figures('kubelet_containers_per_pod_count_count')).toEqual(['4']);
    world.delete('one', 20);
    await world.pass(1000);
    expect(await figures('kubelet_working_pods')).toContain('terminating desired  1');
    world.pods.drop('ns/two');
    world.cri.hold('stopContainer');
    await world.pass(100);
    expect(await figures('kubelet_working_pods')).toContain('terminating orphan  1');
  });

  it('that the runtime had pods of which nobody knew', async () => {
    await world.start();
    create('left');
    await world.pass(2000);
    await world.stop();
    world.pods.drop('ns/left');
    const go = world.cri.hold('stopContainer');
    await world.start();
    await world.pass(2000);
    expect(await figures('kubelet_orphaned_runtime_pods_total')).toEqual(['1']);
    expect(await figures('kubelet_working_pods')).toEqual(['terminating runtime_only unknown 1']);
    go();
    await world.pass(2000);
  });

  it('that a static pod came back under its UID', async () => {
    await world.start();
    create('static', {}, { annotations: { 'kubernetes.io/config.source': 'file' } });
    await world.pass(2000);
    const pod = world.pods.get('ns/static');
    if (pod === undefined) throw new Error('no pod');
    const go = world.cri.hold('stopContainer');
    world.pods.drop('ns/static');
    await world.pass(500);
    world.pods.put(pod);
    await world.pass(500);
    go();
    await world.pass(5000);
    expect(await figures('kubelet_restarted_pods_total')).toEqual(['true 1']);
    expect(await figures('kubelet_working_pods')).toEqual(['sync desired true 1']);
  });

  it('how long starts take, with and without pulls and init containers', async () => {
    await world.start();
    world.cri.program('slow/first', { exitAfterMs: 5000, exitCode: 0 });
    world.cri.publishImage('app:1');
    const [sandbox, go] = [world.cri.hold('runPodSandbox'), world.cri.hold('pullImage')];
    create('slow', {
      initContainers: [{ name: 'first', image: 'app:1' }],
      containers: [{ name: 'app', image: 'app:1', imagePullPolicy: 'Always' }],
    });
    await world.pass(1000);
    sandbox();
    await world.pass(15_000);
    go();
    await world.pass(2000);
    expect(world.isReady('slow')).toBe(true);
    const [total] = await figures('kubelet_pod_start_total_duration_seconds_sum');
    const [sli] = await figures('kubelet_pod_start_sli_duration_seconds_sum');
    expect(Number(total)).toBeGreaterThan(15);
    expect(Number(sli)).toBeLessThan(2);
    expect(await figures('kubelet_first_network_pod_start_sli_duration_seconds')).toEqual([sli]);
    create('stateful', { volumes: [{ name: 'v', hostPath: { path: '/' } }] });
    await world.pass(2000);
    expect(await figures('kubelet_pod_start_total_duration_seconds_count')).toEqual(['2']);
    expect(await figures('kubelet_pod_start_sli_duration_seconds_count')).toEqual(['1']);
    // A pod that ran before this process came says nothing of starts.
    await world.stop();
    await world.start();
    await world.pass(2000);
    expect(await figures('kubelet_pod_start_total_duration_seconds_count')).toEqual([]);
  });

  it('how long pods are worked on', async () => {
    await world.start();
    const go = world.cri.hold('runPodSandbox');
    create('p');
    await world.pass(3000);
    go();
    await world.pass(2000);
    expect(await figures('kubelet_pod_worker_start_duration_seconds_count')).toEqual(['1']);
    const created = (await figures('kubelet_pod_worker_duration_seconds_sum')).find((one) => one.startsWith('create'));
    expect(Number(created?.split(' ')[1])).toBeGreaterThan(2.9);
    world.delete('p', 1);
    await world.pass(5000);
    const kinds = (await figures('kubelet_pod_worker_duration_seconds_count')).map((one) => one.split(' ')[0]);
    expect(kinds).toEqual(expect.arrayContaining(['create', 'kill', 'update']));
  });

  it('how the runtime is listed, and its events', async () => {
    await world.start();
    create('p');
    await world.pass(60_000);
    expect(Number(await figures('kubelet_pleg_relist_duration_seconds_count'))).toBeGreaterThan(9);
    const [sum] = await figures('kubelet_pleg_relist_interval_seconds_sum');
    const [count] = await figures('kubelet_pleg_relist_interval_seconds_count');
    expect(Number(sum) / Number(count)).toBeGreaterThan(3);
    const [seen] = await figures('kubelet_pleg_last_seen_seconds');
    expect(world.clock.now() / 1000 - Number(seen)).toBeLessThan(6);
    expect(await figures('kubelet_evented_pleg_connection_success_count')).toEqual(['1']);
    expect(await figures('kubelet_evented_pleg_connection_latency_seconds_count')).not.toEqual([]);
    expect(await figures('kubelet_pleg_discard_events')).toEqual([]);
  });
});
