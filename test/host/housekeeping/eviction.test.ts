import { mkdirSync } from 'node:fs';
import { totalmem } from 'node:os';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RealCri } from '../../../src/host/cri/real.ts';
import { RealMachine } from '../../../src/host/machine/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Event } from '../../../src/model/objects.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { ImageCollector } from '../../../src/pods/images/image-collector.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import type { HarnessRun } from '../../harness/harness-run.ts';
import { BUSYBOX_IMAGE, buildImages, PAUSE_IMAGE, WEB_IMAGE } from '../../harness/images.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-housekeeping-eviction';
const MIB = 2 ** 20;
const LIMIT_MIB = 320;
vi.setConfig({ testTimeout: 60_000, maxConcurrency: 10 });

const write = (path: string, mib: number): string => `dd if=/dev/zero of=${path} bs=1M count=${mib}; ${STAY}`;

describe('eviction on a node with small disks and little memory', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    const disk = async (path: string, options: string): Promise<void> => {
      mkdirSync(path, { recursive: true });
      await runCommand(['mount', '-t', 'tmpfs', '-o', options, 'deckhand-test', path]);
    };
    const config = {
      evictionHard: { 'nodefs.available': '40Mi', 'imagefs.available': '60Mi', 'memory.available': '100Mi' },
      evictionSoft: { 'nodefs.inodesFree': '2000' },
      evictionSoftGracePeriod: { 'nodefs.inodesFree': '3s' },
      evictionMaxPodGracePeriod: 2,
      evictionPressureTransitionPeriod: '2s',
      volumeStatsAggPeriod: '2s',
      imageMinimumGCAge: '1s',
      nodeStatusUpdateFrequency: '2s',
      // What is left for pods together is less than the node has.
      kubeReserved: { memory: `${Math.floor(totalmem() / MIB) - LIMIT_MIB}Mi` },
    };
    node = await startNode(NAME, {
      beforeContainerd: ({ paths: { libDir } }: HarnessRun) => disk(`${libDir}/containerd`, 'size=200m'),
      beforeDeckhand: ({ paths: { libDir } }: HarnessRun) => disk(`${libDir}/kubelet`, 'size=150m,nr_inodes=10000'),
      deckhand: { config },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const condition = async (type: string): Promise<string | undefined> => {
    const found = await node.deckhand.api.get<Node>(resources.nodes, undefined, 'node-1');
    return found.status?.conditions?.find((entry) => entry.type === type)?.status;
  };
  const nodeEvents = async (reason: string): Promise<string[]> =>
    (await node.deckhand.api.list<Event>(resources.events, 'default'))
      .filter((event) => event.involvedObject.kind === 'Node' && event.reason === reason)
      .map(({ message = '' }) => message);
  const calm = (type: string): Promise<unknown> =>
    waitFor(`${type} to end`, async () => (await condition(type)) === 'False', { intervalMs: 200 });
  const evicted = async (name: string): Promise<Pod> => {
    const pod = await pods.phase(name, 'Failed', 45_000);
    expect(pod.status?.reason).toBe('Evicted');
    return pod;
  };
  const disruption = (pod: Pod): unknown => pod.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');

  it.concurrent('an emptyDir beyond its size limit', async () => {
    const mount = { volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }] };
    const volumes = [{ name: 'scratch', emptyDir: { sizeLimit: '1Mi' } }];
    await pods.create(podOf('oversized', sh(write('/scratch/f', 3), mount), { volumes }));
    const pod = await evicted('oversized');
    expect(pod.status?.message).toBe('Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ');
    expect(disruption(pod)).toBeUndefined();
    expect((await pods.untilEvent('oversized', 'Evicted')).message).toBe(pod.status?.message);
    // How it ended is told although nothing of it is kept.
    expect(pod.status?.containerStatuses?.[0]?.state?.terminated?.exitCode).toBe(0);
    await waitFor('its containers to be gone', async () => (await pods.sandboxIds(pod)).length === 0);
  });

  it.concurrent('a writable layer beyond the limit of ephemeral storage', async () => {
    const limits = { resources: { limits: { 'ephemeral-storage': '4Mi' } } };
    await pods.create(podOf('layered', sh(write('/f', 8), limits)));
    const pod = await evicted('layered');
    expect(pod.status?.message).toBe('Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ');
  });

  it.concurrent('logs beyond the limit of ephemeral storage', async () => {
    const limits = { resources: { limits: { 'ephemeral-storage': '1Mi' } } };
    await pods.create(podOf('talkative', sh(`head -c 2000000 /dev/zero | tr '\\0' x; ${STAY}`, limits)));
    expect((await evicted('talkative')).status?.message).toMatch(/^Pod ephemeral local storage usage exceeds/);
  });

  it('nodefs running full: who fills it goes, the modest and the critical stay, nobody new comes', async () => {
    const mount = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
    const volumes = [{ name: 'data', emptyDir: {} }];
    await pods.create(podOf('modest', sh(write('/data/f', 5), mount), { volumes }));
    const critical = { volumes, priorityClassName: 'system-node-critical' };
    await pods.create(podOf('critical', sh(write('/data/f', 10), mount), critical));
    await pods.ready('modest');
    await pods.ready('critical');
    await pods.create(podOf('greedy', sh(write('/data/f', 105), mount), { volumes }));
    const pod = await evicted('greedy');
    expect(pod.status?.message).toMatch(
      /^The node was low on resource: ephemeral-storage. Threshold quantity: 40Mi, available: \d+Ki. /,
    );
    expect(disruption(pod)).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
      message: pod.status?.message,
    });
    const event = await pods.untilEvent('greedy', 'Evicted');
    expect(event.metadata.annotations).toMatchObject({ starved_resource: 'ephemeral-storage' });
    expect(await nodeEvents('EvictionThresholdMet')).toContain('Attempting to reclaim ephemeral-storage');
    await waitFor('DiskPressure', async () => (await nodeEvents('NodeHasDiskPressure')).length > 0);
    await calm('DiskPressure');
    expect((await pods.get('modest')).status?.phase).toBe('Running');
    expect((await pods.get('critical')).status?.phase).toBe('Running');
    for (const name of ['modest', 'critical']) await pods.delete(name);
  });

  it('imagefs running full: unused images go before anyone who runs', async () => {
    const before = await node.containerd.ctr('images', 'list', '--quiet');
    expect(before).toContain(WEB_IMAGE);
    await pods.create(podOf('heavy', sh(write('/f', 160))));
    const pod = await evicted('heavy');
    expect(pod.status?.message).toMatch(
      /^The node was low on resource: ephemeral-storage. .*Container main was using \d+Ki, request is 0/,
    );
    const after = await node.containerd.ctr('images', 'list', '--quiet');
    expect(after).not.toContain(WEB_IMAGE);
    expect(after).toContain(PAUSE_IMAGE);
    expect(after).toContain(BUSYBOX_IMAGE);
    // And the node takes and starts pods again, as soon as its pressure is over.
    let tries = 0;
    await waitFor(
      'a pod to be taken',
      async () => {
        const name = `after-${tries++}`;
        await pods.create(podOf(name, { ...sh(STAY), imagePullPolicy: 'Never' }));
        const judged = (pod: Pod): Pod | false => (isReady(pod) || pod.status?.phase === 'Failed') && pod;
        const { status } = await pods.until(name, 'be judged', judged);
        await pods.delete(name);
        if (status?.phase === 'Failed') expect(status.message).toContain('The node had condition: [DiskPressure]');
        return status?.phase !== 'Failed';
      },
      { intervalMs: 500 },
    );
  });

  it('images by thresholds: what nothing uses goes, what runs and what sandboxes are made of stays', async () => {
    await node.containerd.importImages(buildImages());
    await pods.create(podOf('user', { ...sh(STAY), imagePullPolicy: 'Never' }));
    await pods.ready('user');
    const clock = new SystemClock();
    const events: string[] = [];
    const cri = new RealCri({ endpoint: node.containerd.endpoint });
    // CRI hears of an import a moment later.
    await waitFor('the image', async () => (await cri.imageStatus(WEB_IMAGE)) !== undefined);
    const collector = new ImageCollector(
      { highPercent: 1, lowPercent: 0, minAgeMs: 0, maxAgeMs: 0 },
      {
        cri,
        machine: new RealMachine({}, { log: silent }),
        mountedImages: () => [],
        event: (reason) => events.push(reason),
        clock,
        metrics: new Metrics(),
        log: silent,
      },
    );
    // Nothing would be enough to have the disk empty.
    await expect(collector.collect()).rejects.toThrow(/Failed to free sufficient space by deleting unused images/);
    expect(events).toEqual(['FreeDiskSpaceFailed']);
    const left = await node.containerd.ctr('images', 'list', '--quiet');
    expect(left).not.toContain(WEB_IMAGE);
    expect(left).toContain(PAUSE_IMAGE);
    expect(left).toContain(BUSYBOX_IMAGE);
    cri.close();
    await pods.delete('user');
  });

  it('memory of all pods running out: no BestEffort pod is taken, others are', async () => {
    const volumes = [{ name: 'ram', emptyDir: { medium: 'Memory' } }];
    const mount = { volumeMounts: [{ name: 'ram', mountPath: '/ram' }] };
    await pods.create(podOf('eater', sh(write('/ram/f', 250), mount), { volumes, terminationGracePeriodSeconds: 30 }));
    await waitFor('MemoryPressure', async () => (await nodeEvents('NodeHasInsufficientMemory')).length > 0, {
      timeoutMs: 40_000,
    });
    const pod = await evicted('eater');
    expect(pod.status?.message).toMatch(
      /^The node was low on resource: memory. Threshold quantity: 100Mi, available: \d+Ki. Container main was using \d+Ki, request is 0, has larger consumption of memory. $/,
    );
    await calm('MemoryPressure');
    const text = await node.local.request(node.deckhand.healthz.replace('/healthz', '/metrics'));
    expect(text.body).toMatch(/kubelet_evictions\{eviction_signal="allocatableMemory.available"\} 1/);
  });

  it('inodes below a soft threshold for longer than its grace', async () => {
    const volumes = [{ name: 'data', emptyDir: {} }];
    const mount = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
    const script = `i=0; while [ $i -lt 8500 ]; do : > /data/$i; i=$((i+1)); done; ${STAY}`;
    await pods.create(podOf('littering', sh(script, mount), { volumes, terminationGracePeriodSeconds: 30 }));
    const pod = await evicted('littering');
    expect(pod.status?.message).toMatch(/^The node was low on resource: inodes. Threshold quantity: 2k, available: /);
  });
});
