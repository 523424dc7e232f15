import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Pod, ResourceRequirements } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { DevicePlugin } from '../../harness/devices/device-plugin.ts';
import { callUnary, loadProtos } from '../../harness/grpc-service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-numa';
const FAR = 'example.com/far';
const MI = 2 ** 20;
vi.setConfig({ testTimeout: 120_000 });

const list = (path: string): string => readFileSync(path, 'utf8').trim();
const isHere = list('/sys/devices/system/cpu/online') === '0-1' && list('/sys/devices/system/node/online') === '0';
const nodeMemory =
  1024 * Number(/MemTotal:\s+(\d+)/.exec(isHere ? list('/sys/devices/system/node/node0/meminfo') : '')?.[1] ?? 0);
const own = (memory: string, more = {}): ResourceRequirements => {
  const limits = { cpu: '1', memory, ...more };
  return { requests: limits, limits };
};

describe.runIf(isHere)('a real node of one NUMA node, with static managers and single-numa-node', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let plugin: DevicePlugin | undefined;
  const lister = loadProtos('podresources').lookupService('v1.PodResourcesLister');

  const kubelet = (name: string): string => join(node.run.paths.libDir, 'kubelet', name);
  const specOf = async (pod: Pod): Promise<{ cpus?: string; mems?: string }> => {
    const info = JSON.parse(await node.containerd.ctr('containers', 'info', containerId(pod, 'main')));
    return info.Spec.linux.resources.cpu;
  };
  const memsOf = async (pod: Pod): Promise<string> =>
    /^Mems_allowed_list:\s*(.*)$/m.exec(list(`/proc/${await pods.pid(pod)}/status`))?.[1] ?? '';
  const state = () => JSON.parse(list(kubelet('memory_manager_state')));
  const refused = async (name: string, wanted: ResourceRequirements): Promise<Pod['status']> => {
    // Past the scheduler, which would let it wait.
    await pods.create(podOf(name, sh(STAY, { resources: wanted }), { nodeName: node.deckhand.nodeName }));
    const { status } = await pods.phase(name, 'Failed');
    await pods.delete(name);
    await pods.gone(name);
    return status;
  };

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: {
        args: [
          '--cpu-manager-policy=static',
          '--reserved-cpus=0',
          '--memory-manager-policy=Static',
          '--system-reserved=memory=412Mi',
          '--eviction-hard=memory.available<100Mi',
          '--reserved-memory=0:memory=512Mi',
          '--topology-manager-policy=single-numa-node',
        ],
      },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    plugin?.stop();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('gives a Guaranteed container memory of its own, tells the runtime, keeps it over a crash, and takes it back', async () => {
    await pods.create(podOf('shares', sh(STAY)));
    const shares = await pods.ready('shares');
    expect((await specOf(shares)).mems).toBeUndefined();
    await pods.create(podOf('owns', sh(STAY, { resources: own('32Mi') })));
    const owns = await pods.ready('owns');
    expect(await specOf(owns)).toMatchObject({ cpus: '1', mems: '0' });
    expect(await memsOf(owns)).toBe('0');
    const uid = owns.metadata.uid ?? '';
    const block = { numaAffinity: [0], type: 'memory', size: 32 * MI };
    const before = state();
    expect(before).toMatchObject({ policyName: 'Static', entries: { [uid]: { main: [block] } } });
    expect(before.machineState['0']).toMatchObject({ numberOfAssignments: 1, cells: [0] });
    expect(before.machineState['0'].memoryMap.memory).toMatchObject({
      total: nodeMemory,
      systemReserved: 512 * MI,
      reserved: 32 * MI,
    });
    expect(await callUnary(kubelet('pod-resources/kubelet.sock'), lister, 'List', {})).toMatchObject({
      podResources: expect.arrayContaining([
        expect.objectContaining({
          name: 'owns',
          containers: [
            expect.objectContaining({
              cpuIds: [1],
              memory: [{ memoryType: 'memory', size: 32 * MI, topology: { nodes: [{ ID: 0 }] } }],
            }),
          ],
        }),
      ]),
    });
    await node.deckhand.kill();
    await node.deckhand.restart();
    await pods.create(podOf('next', sh(STAY)));
    await pods.ready('next');
    expect(state()).toEqual(before);
    await pods.delete('owns');
    await pods.gone('owns');
    // What is over is taken back when the CPUs are looked at next, or when somebody else asks.
    await pods.create(podOf('again', sh(STAY, { resources: own('64Mi') })));
    const again = await pods.ready('again');
    await waitFor('the memory to be free', async () => state().entries[uid] === undefined);
    expect(state().machineState['0'].memoryMap.memory.reserved).toBe(64 * MI);
    expect(await specOf(again)).toMatchObject({ cpus: '1', mems: '0' });
    await Promise.all(['shares', 'next', 'again'].map((name) => pods.delete(name)));
    await Promise.all(['shares', 'next', 'again'].map((name) => pods.gone(name)));
  });

  it('refuses a pod whose device is on no node that it could be on', async () => {
    plugin = new DevicePlugin({ directory: kubelet('device-plugins'), resource: FAR, grant: () => ({}) }, [
      { ID: 'far', health: 'Healthy', topology: { nodes: [{ ID: 7 }] } },
    ]);
    await plugin.start();
    await waitFor('the device to be there', async () => {
      const { status } = await node.deckhand.api.get<Node>(resources.nodes, undefined, node.deckhand.nodeName);
      return status?.allocatable?.[FAR] === '1';
    });
    expect(await refused('far', own('32Mi', { [FAR]: '1' }))).toMatchObject({
      reason: 'TopologyAffinityError',
      message: 'Pod was rejected: Resources cannot be allocated with Topology locality',
    });
    const allocatable = await callUnary(kubelet('pod-resources/kubelet.sock'), lister, 'GetAllocatableResources', {});
    expect(allocatable).toMatchObject({
      cpuIds: [1],
      devices: [{ resourceName: FAR, deviceIds: ['far'], topology: { nodes: [{ ID: 7 }] } }],
      memory: expect.arrayContaining([
        expect.objectContaining({ memoryType: 'memory', topology: { nodes: [{ ID: 0 }] } }),
      ]),
    });
    const metrics = (await node.local.request(node.deckhand.healthz.replace('/healthz', '/metrics'))).body.toString();
    expect(metrics).toMatch(/^kubelet_topology_manager_admission_errors_total 1$/m);
    expect(metrics).toMatch(/^kubelet_container_aligned_compute_resources_failure_count\{.*numa_node.*\} 1$/m);
    expect(metrics).toMatch(/^kubelet_pod_resources_endpoint_requests_total\{server_api_version="v1"\} [1-9]/m);
    expect(metrics).toMatch(/^kubelet_device_plugin_registration_total\{resource_name="example.com\/far"\} [1-9]/m);
  });

  // On machines with memory that belongs to no node: the Node has room, the NUMA node has not.
  it.runIf(totalmem() - nodeMemory > 1024 * MI)(
    'refuses a pod that asks for more than the NUMA node has left',
    async () => {
      const memory = `${Math.floor((nodeMemory - 256 * MI) / MI)}Mi`;
      expect((await refused('large', own(memory)))?.reason).toBe('TopologyAffinityError');
    },
  );
});
