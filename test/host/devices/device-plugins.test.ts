import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Container, Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { DevicePlugin } from '../../harness/devices/device-plugin.ts';
import { callUnary, loadProtos } from '../../harness/grpc-service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-devices';
const GPU = 'example.com/gpu';
vi.setConfig({ testTimeout: 120_000 });

describe('device plugins on real containerd', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let gpu: DevicePlugin;
  let directory: string;
  const lister = loadProtos('podresources').lookupService('v1.PodResourcesLister');

  const gpus = (count: number, script = ''): Container =>
    sh(`${script || ':'}; ${STAY}`, { resources: { limits: { [GPU]: String(count) } } });
  const status = async (): Promise<Node['status']> =>
    (await node.deckhand.api.get<Node>(resources.nodes, undefined, node.deckhand.nodeName)).status;
  const has = (capacity: string, allocatable: string): Promise<boolean> =>
    waitFor(`${capacity} ${GPU}, ${allocatable} of them healthy`, async () => {
      const now = await status();
      return now?.capacity?.[GPU] === capacity && now.allocatable?.[GPU] === allocatable;
    });
  const given = (name: string): string[] =>
    gpu.calls.filter(({ method }) => method === name).map(({ ids }) => [...ids].sort().join());
  const ask = (method: string, request: object = {}): Promise<Record<string, unknown>> =>
    callUnary(`${node.run.paths.libDir}/kubelet/pod-resources/kubelet.sock`, lister, method, request);

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    const { libDir } = node.run.paths;
    directory = `${libDir}/kubelet/device-plugins`;
    mkdirSync(`${libDir}/driver`);
    writeFileSync(`${libDir}/driver/version`, '535\n');
    gpu = new DevicePlugin(
      {
        directory,
        resource: GPU,
        preStart: true,
        preferred: ({ available, size }) => [...available].sort().reverse().slice(0, size),
        grant: (ids) => ({
          envs: { GPUS: [...ids].sort().join() },
          mounts: [{ containerPath: '/driver', hostPath: `${libDir}/driver`, readOnly: true }],
          devices: [{ containerPath: '/dev/gpu', hostPath: '/dev/zero', permissions: 'rw' }],
          annotations: { 'example.com/gpus': String(ids.length) },
        }),
      },
      ['a', 'b', 'c'].map((ID) => ({ ID, health: 'Healthy', topology: { nodes: [{ ID: 0 }] } })),
    );
    await gpu.start();
    await has('3', '3');
  });

  afterAll(async () => {
    gpu?.stop();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('gives containers devices with their environment, mounts and nodes, the ones that the plugin prefers', async () => {
    await pods.create(
      podOf('two', gpus(2, 'echo gpus=$GPUS; cat /driver/version; head -c 1 /dev/gpu | wc -c; touch /driver/x')),
    );
    const pod = await pods.ready('two');
    const log = await pods.untilLog(pod, 'Read-only file system');
    for (const line of ['gpus=b,c\n', '535\n', '\n1\n']) expect(log).toContain(line);
    expect(given('Allocate')).toEqual(['b,c']);
    expect(given('PreStartContainer')).toEqual(['b,c']);
    expect(await ask('Get', { podName: 'two', podNamespace: 'default' })).toMatchObject({
      podResources: {
        name: 'two',
        namespace: 'default',
        containers: [
          { name: 'main', devices: [{ resourceName: GPU, deviceIds: ['c', 'b'], topology: { nodes: [{ ID: 0 }] } }] },
        ],
      },
    });
    const { podResources } = (await ask('List')) as { podResources: { name: string }[] };
    expect(podResources.map(({ name }) => name)).toEqual(['two']);
    expect(await ask('GetAllocatableResources')).toMatchObject({
      devices: [{ resourceName: GPU, deviceIds: ['a', 'b', 'c'] }],
    });
    await expect(ask('Get', { podName: 'none', podNamespace: 'default' })).rejects.toThrow(
      'pod none in namespace default not found',
    );
  });

  it('refuses what is not there, and gives back what a pod had', async () => {
    // Past the scheduler, which would let it wait.
    await pods.create(podOf('greedy', gpus(2), { nodeName: node.deckhand.nodeName }));
    const greedy = await pods.phase('greedy', 'Failed');
    expect(greedy.status?.reason).toBe(`OutOf${GPU}`);
    await pods.delete('two');
    await pods.gone('two');
    await pods.create(podOf('three', gpus(3)));
    await pods.ready('three');
    expect(given('Allocate').at(-1)).toBe('a,b,c');
    await pods.delete('three');
    await pods.gone('three');
  });

  it('counts what is healthy, and refuses a pod whose plugin refuses it', async () => {
    gpu.setDevices([
      { ID: 'a', health: 'Healthy' },
      { ID: 'b', health: 'Unhealthy' },
    ]);
    await has('2', '1');
    gpu.faults.set('Allocate', 'the device is on fire');
    await pods.create(podOf('burnt', gpus(1)));
    const burnt = await pods.phase('burnt', 'Failed');
    expect(burnt.status?.reason).toBe('UnexpectedAdmissionError');
    expect(burnt.status?.message).toBe(
      'Pod was rejected: Allocate failed due to rpc error: code = Internal desc = the device is on fire, which is unexpected',
    );
    gpu.faults.clear();
    await pods.create(podOf('one', gpus(1)));
    await pods.ready('one');
    expect(given('Allocate').at(-1)).toBe('a');
  });

  it('leaves containers their devices over a restart, and gives them to nobody else', async () => {
    const before = await pods.get('one');
    const checkpoint = JSON.parse(readFileSync(`${directory}/kubelet_internal_checkpoint`, 'utf8'));
    expect(checkpoint.Data.PodDeviceEntries).toMatchObject([
      { PodUID: before.metadata.uid, ContainerName: 'main', ResourceName: GPU, DeviceIDs: { '-1': ['a'] } },
    ]);
    const asked = given('Allocate');
    await node.deckhand.kill();
    await node.deckhand.restart();
    expect(containerId(await pods.ready('one'), 'main')).toBe(containerId(before, 'main'));
    expect(await ask('Get', { podName: 'one', podNamespace: 'default' })).toMatchObject({
      podResources: { containers: [{ devices: [{ deviceIds: ['a'] }] }] },
    });
    // Its socket went with the old agent's; a plugin that sees the new one listens and registers again.
    gpu.stop();
    await gpu.start();
    await has('2', '1');
    await pods.create(podOf('late', gpus(1), { nodeName: node.deckhand.nodeName }));
    expect((await pods.phase('late', 'Failed')).status?.reason).toBe(`OutOf${GPU}`);
    // A container that is started again keeps its device.
    const uid = (await pods.get('one')).metadata.uid;
    await node.containerd.ctr('tasks', 'kill', '-s', 'SIGKILL', containerId(before, 'main'));
    const again = await pods.until(
      'one',
      'run again',
      (pod: Pod) => (pod.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0 && pod,
    );
    expect(again.metadata.uid).toBe(uid);
    expect(given('Allocate')).toEqual(asked);
    expect(given('PreStartContainer').at(-1)).toBe('a');
  });

  it('takes what a plugin that is gone had for unhealthy, and refuses plugins that it cannot have', async () => {
    gpu.stop();
    await has('2', '0');
    await expect(gpu.register({ version: 'v1alpha' })).rejects.toThrow(
      'requested API version "v1alpha" is not supported by kubelet. Supported version is ["v1beta1"]',
    );
    await expect(gpu.register({ resourceName: 'cpu' })).rejects.toThrow('the ResourceName "cpu" is invalid');
    await expect(gpu.register({ endpoint: '../../evil.sock' })).rejects.toThrow('must be the name of a socket');
    await pods.delete('one');
    await pods.gone('one');
  });

  it('takes plugins that it finds in plugins_registry, tells them so, and why not', async () => {
    const resource = 'example.com/found';
    const registry = `${node.run.paths.libDir}/kubelet/plugins_registry`;
    const found = new DevicePlugin(
      { directory, registry, resource, grant: (ids) => ({ envs: { FOUND: ids.join() } }) },
      [{ ID: 'x', health: 'Healthy' }],
    );
    const old = new DevicePlugin({ directory, registry, resource: 'example.com/old' }, []);
    old.versions = ['v1alpha'];
    await Promise.all([found.start(), old.start()]);
    const counts = async (capacity: string, allocatable: string): Promise<boolean> => {
      const now = await status();
      return now?.capacity?.[resource] === capacity && now.allocatable?.[resource] === allocatable;
    };
    await waitFor('its device to be counted', () => counts('1', '1'));
    expect(found.statuses).toEqual([{ registered: true, error: '' }]);
    await waitFor('the other to be told', () => old.statuses.length > 0);
    expect(old.statuses[0]?.error).toContain(
      'manager version, v1beta1, is not among plugin supported versions [v1alpha]',
    );
    await pods.create(podOf('found', sh(`echo found=$FOUND; ${STAY}`, { resources: { limits: { [resource]: '1' } } })));
    await pods.untilLog(await pods.ready('found'), 'found=x');
    found.stop();
    old.stop();
    await waitFor('its device to be unhealthy', () => counts('1', '0'));
    await pods.delete('found', 0);
    await pods.gone('found');
  });
});
