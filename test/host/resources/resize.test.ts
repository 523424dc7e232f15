import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container, Pod, PodCondition, ResourceRequirements } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { cgroupHierarchies } from '../../harness/cgroup-hierarchies.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, containerStatus, restartCount } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods, refusal } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-resize';
const MIB = 2 ** 20;
const sizes = (cpu: string, memory: string): ResourceRequirements => ({
  requests: { cpu, memory },
  limits: { cpu, memory },
});

describe('a real node that resizes pods which run', () => {
  let node: HarnessNode;
  let pods: NodePods;
  const resize = (
    name: string,
    spec: {
      containers?: Partial<Container>[];
      initContainers?: Partial<Container>[];
      resources?: ResourceRequirements;
    },
  ) =>
    node.deckhand.api.patchSubresource<Pod>(
      resources.pods,
      { namespace: 'default', name, subresource: 'resize' },
      { spec },
    );
  const resizeMain = (name: string, to: ResourceRequirements) =>
    resize(name, { containers: [{ name: 'main', resources: to }] });
  const condition = (pod: Pod, type: string): PodCondition | undefined =>
    pod.status?.conditions?.find((each) => each.type === type);
  const settled = (name: string, to: ResourceRequirements): Promise<Pod> =>
    pods.until(
      name,
      `have ${JSON.stringify(to)}`,
      (pod) => {
        const has = containerStatus(pod, 'main')?.resources;
        const done = condition(pod, 'PodResizeInProgress') === undefined;
        return done && JSON.stringify([has?.limits, has?.requests]) === JSON.stringify([to.limits, to.requests]) && pod;
      },
      10_000,
    );
  /** A cgroup file of the container, by the path below the pod's cgroup that the runtime gave it. */
  const containerCgroup = (pod: Pod, file: string, container = 'main'): string | undefined => {
    const path = `${pods.podCgroupPath(pod)}/${containerId(pod, container)}`;
    for (const mount of cgroupHierarchies()) {
      try {
        return readFileSync(join(mount, path, file), 'utf8').trim();
      } catch {
        // Another controller's.
      }
    }
    return undefined;
  };

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
  }, 120_000);

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('grows and shrinks without a restart, pod and container, and says so', async () => {
    await pods.create(podOf('grows', sh(STAY, { resources: sizes('100m', '32Mi') })));
    const before = await pods.ready('grows');
    await resizeMain('grows', sizes('300m', '64Mi'));
    const grown = await settled('grows', sizes('300m', '64Mi'));
    expect(containerId(grown, 'main')).toBe(containerId(before, 'main'));
    expect(restartCount(grown)).toBe(0);
    expect(containerStatus(grown, 'main')?.allocatedResources).toEqual({ cpu: '300m', memory: '64Mi' });
    expect(grown.status?.resources).toEqual(sizes('300m', '64Mi'));
    expect(grown.status?.observedGeneration).toBe(grown.metadata.generation);
    expect(grown.metadata.generation).toBeGreaterThan(before.metadata.generation ?? 0);
    for (const read of [pods.podCgroup.bind(pods), containerCgroup]) {
      expect(read(grown, 'cpu.cfs_quota_us')).toBe('30000');
      expect(read(grown, 'cpu.shares')).toBe('307');
      expect(read(grown, 'memory.limit_in_bytes')).toBe(String(64 * MIB));
    }
    await resizeMain('grows', sizes('50m', '16Mi'));
    const shrunk = await settled('grows', sizes('50m', '16Mi'));
    for (const read of [pods.podCgroup.bind(pods), containerCgroup]) {
      expect(read(shrunk, 'cpu.cfs_quota_us')).toBe('5000');
      expect(read(shrunk, 'memory.limit_in_bytes')).toBe(String(16 * MIB));
    }
    const started = await pods.untilEvent('grows', 'ResizeStarted');
    expect(started.message).toBe(
      `Pod resize started: {"containers":[{"name":"main","resources":{"limits":{"cpu":"300m","memory":"64Mi"},"requests":{"cpu":"300m","memory":"64Mi"}}}],"generation":${grown.metadata.generation}}`,
    );
    expect((await pods.untilEvent('grows', 'ResizeCompleted')).message).toMatch(
      /^Pod resize completed: \{"containers"/,
    );
    await pods.delete('grows');
  });

  it('restarts a container whose policy wants that for memory, and only for memory', async () => {
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    await pods.create(podOf('again', sh(STAY, { resources: sizes('50m', '32Mi'), resizePolicy })));
    const before = await pods.ready('again');
    await resizeMain('again', sizes('80m', '32Mi'));
    expect(restartCount(await settled('again', sizes('80m', '32Mi')))).toBe(0);
    await resizeMain('again', sizes('80m', '48Mi'));
    await pods.until('again', 'be restarted', (pod) => restartCount(pod) === 1);
    const after = await settled('again', sizes('80m', '48Mi'));
    expect(restartCount(after)).toBe(1);
    expect(containerId(after, 'main')).not.toBe(containerId(before, 'main'));
    expect(containerCgroup(after, 'memory.limit_in_bytes')).toBe(String(48 * MIB));
    const killing = (await pods.events('again')).filter(({ reason }) => reason === 'Killing');
    expect(killing.map(({ message }) => message)).toEqual(['Container main resize requires restart']);
    await pods.delete('again');
  });

  it('defers what the node has no room for, keeps that over a crash, and grants it once there is room', async () => {
    const cores = Number(
      (
        (await node.deckhand.api.get(resources.nodes, undefined, node.deckhand.nodeName)) as {
          status?: { allocatable?: Record<string, string> };
        }
      ).status?.allocatable?.['cpu'],
    );
    await pods.create(podOf('large', sh(STAY, { resources: { requests: { cpu: `${cores - 1}` } } })));
    await pods.create(podOf('waits', sh(STAY, { resources: sizes('100m', '32Mi') })));
    await Promise.all([pods.ready('large'), pods.ready('waits')]);
    await resizeMain('waits', sizes(`${cores * 1000}m`, '32Mi'));
    const deferred = await pods.until('waits', 'be deferred', (pod) => condition(pod, 'PodResizePending') && pod);
    expect(condition(deferred, 'PodResizePending')).toMatchObject({
      status: 'True',
      reason: 'Deferred',
      observedGeneration: deferred.metadata.generation,
      message: expect.stringMatching(
        /^Node didn't have enough resource: cpu, requested: \d+, used: \d+, capacity: \d+$/,
      ),
    });
    expect(containerStatus(deferred, 'main')?.allocatedResources).toEqual({ cpu: '100m', memory: '32Mi' });
    expect((await pods.untilEvent('waits', 'ResizeDeferred')).type).toBe('Warning');
    await waitFor('the granted resources to be written', () => {
      const file = join(node.run.paths.libDir, 'kubelet', 'allocated_pods_state');
      const { data } = JSON.parse(readFileSync(file, 'utf8')) as { data: string };
      const { entries } = JSON.parse(data) as { entries: Record<string, { ContainerResources: unknown }> };
      const entry = entries[deferred.metadata.uid ?? ''];
      return JSON.stringify(entry?.ContainerResources) === JSON.stringify({ main: sizesInGoOrder('100m', '32Mi') });
    });
    await node.deckhand.kill();
    await node.deckhand.restart();
    const still = await pods.get('waits');
    expect(condition(still, 'PodResizePending')?.reason).toBe('Deferred');
    expect(containerId(still, 'main')).toBe(containerId(deferred, 'main'));
    await pods.delete('large');
    await pods.gone('large');
    // The whole node but for what other pods have.
    await resizeMain('waits', sizes(`${cores * 1000 - 500}m`, '32Mi'));
    const granted = await settled('waits', sizes(`${cores * 1000 - 500}m`, '32Mi'));
    expect(condition(granted, 'PodResizePending')).toBeUndefined();
    expect(restartCount(granted)).toBe(0);
    await pods.delete('waits');
  });

  it('does not take memory away that is in use, and says which', async () => {
    const hold = `x=$(head -c ${20 * MIB} /dev/zero | tr '\\0' x); ${STAY}`;
    await pods.create(podOf('holds', sh(hold, { resources: sizes('100m', '96Mi') })));
    const pod = await pods.ready('holds');
    await waitFor('the memory to be in use', () => Number(pods.podCgroup(pod, 'memory.usage_in_bytes')) > 21 * MIB);
    await resizeMain('holds', sizes('100m', '16Mi'));
    const failed = await pods.until(
      'holds',
      'fail to shrink',
      (seen) => condition(seen, 'PodResizeInProgress')?.reason === 'Error' && seen,
    );
    expect(condition(failed, 'PodResizeInProgress')?.message).toMatch(
      /^cannot decrease memory limits: .*attempting to set pod memory limit \(16777216\) below current usage \(\d+\)/,
    );
    expect(containerCgroup(failed, 'memory.limit_in_bytes')).toBe(String(96 * MIB));
    expect((await pods.untilEvent('holds', 'ResizeError')).message).toMatch(/^Pod resize error: .*"error":"cannot/);
    await resizeMain('holds', sizes('100m', '80Mi'));
    await settled('holds', sizes('100m', '80Mi'));
    expect(restartCount(await pods.get('holds'))).toBe(0);
    await pods.delete('holds');
  });

  it('resizes what a pod names for all its containers together', async () => {
    const own = (cpu: string, memory: string): ResourceRequirements => sizes(cpu, memory);
    await pods.create(podOf('whole', sh(STAY), { resources: own('100m', '32Mi') }));
    const before = await pods.ready('whole');
    expect(before.status?.qosClass).toBe('Guaranteed');
    expect(containerCgroup(before, 'memory.limit_in_bytes')).toBe(String(32 * MIB));
    await resize('whole', { resources: own('200m', '64Mi') });
    const after = await pods.until(
      'whole',
      'be resized',
      (pod) =>
        JSON.stringify(pod.status?.resources) === JSON.stringify(own('200m', '64Mi')) &&
        condition(pod, 'PodResizeInProgress') === undefined &&
        pod,
    );
    for (const read of [pods.podCgroup.bind(pods), containerCgroup]) {
      expect(read(after, 'memory.limit_in_bytes')).toBe(String(64 * MIB));
      expect(read(after, 'cpu.cfs_quota_us')).toBe('20000');
    }
    expect(after.status?.allocatedResources).toEqual({ cpu: '200m', memory: '64Mi' });
    expect(restartCount(after)).toBe(0);
    await pods.delete('whole');
  });

  it('resizes an init container that runs once while it runs, and the next one before it starts', async () => {
    const init = (name: string): Container =>
      sh('until [ -e /work/go ]; do sleep 0.1; done', {
        name,
        resources: sizes('100m', '16Mi'),
        volumeMounts: [{ name: 'work', mountPath: '/work' }],
      });
    await pods.create(
      podOf('once', sh(STAY, { resources: sizes('50m', '16Mi') }), {
        initContainers: [init('first'), init('second')],
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    const before = await pods.until('once', 'run its first init container', (pod) =>
      containerStatus(pod, 'first')?.state?.running === undefined ? undefined : pod,
    );
    const to = sizes('200m', '32Mi');
    await resize('once', { initContainers: ['first', 'second'].map((name) => ({ name, resources: to })) });
    const grown = await pods.until('once', 'have the new size', (pod) => {
      const has = containerStatus(pod, 'first')?.resources;
      return JSON.stringify([has?.limits, has?.requests]) === JSON.stringify([to.limits, to.requests]) && pod;
    });
    expect(containerId(grown, 'first')).toBe(containerId(before, 'first'));
    expect(containerCgroup(grown, 'cpu.cfs_quota_us', 'first')).toBe('20000');
    expect(containerCgroup(grown, 'memory.limit_in_bytes', 'first')).toBe(String(32 * MIB));
    expect(pods.podCgroup(grown, 'memory.limit_in_bytes')).toBe(String(32 * MIB));
    const work = `${node.run.paths.libDir}/kubelet/pods/${grown.metadata.uid}/volumes/kubernetes.io~empty-dir/work`;
    const seen = pods.until('once', 'begin with the second', (pod) => {
      const { running, terminated } = containerStatus(pod, 'second')?.state ?? {};
      return (running ?? terminated) === undefined ? undefined : pod;
    });
    writeFileSync(`${work}/go`, '');
    expect(containerStatus(await seen, 'second')?.allocatedResources).toEqual({ cpu: '200m', memory: '32Mi' });
    const ready = await pods.ready('once');
    expect(condition(ready, 'PodResizeInProgress')).toBeUndefined();
    expect(pods.podCgroup(ready, 'memory.limit_in_bytes')).toBe(String(32 * MIB));
    await pods.delete('once');
  });

  it('refuses at the API what no node could do', async () => {
    await pods.create(podOf('fixed', sh(STAY, { resources: sizes('50m', '32Mi') })));
    const refused = await refusal(resizeMain('fixed', { requests: { cpu: '20m' } }));
    expect(refused.status).toBe(422);
    expect(refused.message).toContain('Pod QOS Class may not change as a result of resizing');
    await pods.delete('fixed');
  });
});

function sizesInGoOrder(cpu: string, memory: string): ResourceRequirements {
  const { limits = {}, requests = {} } = sizes(cpu, memory);
  return { limits, requests };
}
