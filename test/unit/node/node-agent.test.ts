import { afterEach, describe, expect, test } from 'vitest';
import type { CriRuntime, RuntimeStatus } from '../../../src/host/cri/port.ts';
import { FakeMachine } from '../../../src/host/machine/fake.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { conditionOf } from '../../../src/model/conditions.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Lease } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { NodeAgent, type NodeAgentOptions } from '../../../src/node/node-agent.ts';
import { RuntimeFactsSource } from '../../../src/node/runtime-facts.ts';
import { failure, MemoryApi } from '../cluster/memory-api.ts';

const { nodes, leases } = resources;
const GIB = 2 ** 30;

/** A runtime that answers, or not; its conditions can be turned. */
class Runtime implements Pick<CriRuntime, 'version' | 'status' | 'listImages'> {
  down = false;
  network = true;
  async version() {
    return { runtimeName: 'containerd', runtimeVersion: '1.6.20', runtimeApiVersion: 'v1' };
  }
  async status(): Promise<RuntimeStatus> {
    if (this.down) throw new CodedError('Unavailable', 'socket is gone');
    return {
      conditions: [
        { type: 'RuntimeReady', status: true, reason: '', message: '' },
        {
          type: 'NetworkReady',
          status: this.network,
          reason: this.network ? '' : 'NetworkPluginNotReady',
          message: this.network ? '' : 'cni config uninitialized',
        },
      ],
      runtimeHandlers: [{ name: '', recursiveReadOnlyMounts: true, userNamespaces: false }],
      supplementalGroupsPolicy: true,
    };
  }
  async listImages() {
    return [1, 3, 2].map((size) => ({
      id: `sha256:${size}`,
      repoTags: [`image:${size}`],
      repoDigests: [],
      size,
      username: '',
      pinned: false,
    }));
  }
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function setUp(given: Partial<NodeAgentOptions> = {}) {
  const api = new MemoryApi();
  const clock = new ManualClock();
  api.now = () => clock.now();
  const runtime = new Runtime();
  const machine = new FakeMachine();
  const events: string[] = [];
  let available = 2 * GIB;
  const options: NodeAgentOptions = {
    nodeName: 'node-1',
    nodeIPs: [],
    maxPods: 110,
    podsPerCore: 0,
    kubeletPort: 10_250,
    maxImages: 2,
    kubeletVersion: 'v1.36.0+deckhand.0.1.0',
    labels: { zone: 'a' },
    taints: [{ key: 'k', effect: 'NoSchedule' }],
    providerID: undefined,
    register: true,
    statusUpdateMs: 10_000,
    statusReportMs: 300_000,
    leaseSeconds: 40,
    rootDir: '/var/lib/kubelet',
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '10%' },
    ...given,
  };
  const agent = new NodeAgent(options, {
    api,
    machine,
    runtime: new RuntimeFactsSource({ cri: runtime, clock }),
    allocatable: (capacity) => ({ ...capacity, cpu: '1900m' }),
    readings: async () => ({ memoryAvailableBytes: available }),
    events: { event: (_about, _type, reason) => void events.push(reason) },
    clock,
    logger: silent,
    random: () => 0.5,
  });
  const stop = new AbortController();
  const start = (): void => {
    const done = agent.run(stop.signal);
    closing.push(async () => {
      stop.abort();
      await done;
    });
  };
  const node = (): Node => api.find<Node>(nodes, 'node-1') ?? { metadata: {} };
  const condition = (type: string) => conditionOf(node().status?.conditions, type);
  const patches = (): number => count;
  let count = 0;
  api.onRequest = ({ verb }) => {
    if (verb === 'patch') count++;
  };
  const setAvailable = (bytes: number): void => {
    available = bytes;
  };
  return { api, clock, runtime, machine, events, agent, start, node, condition, patches, setAvailable };
}

describe('NodeAgent', () => {
  test('registers with labels, taints, status and a lease', async () => {
    const { agent, api, clock, condition, node, start } = setUp();
    start();
    await clock.advance(500);
    expect(node().metadata.labels).toEqual({
      'kubernetes.io/hostname': 'node-1',
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'amd64',
      'beta.kubernetes.io/os': 'linux',
      'beta.kubernetes.io/arch': 'amd64',
      zone: 'a',
    });
    expect(node().metadata.annotations).toEqual({ 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' });
    expect(node().spec?.taints).toEqual([{ key: 'k', effect: 'NoSchedule' }]);
    expect(node().status).toMatchObject({
      addresses: [
        { type: 'InternalIP', address: '192.168.7.5' },
        { type: 'Hostname', address: 'node-1' },
      ],
      capacity: {
        cpu: '2',
        memory: '4194304Ki',
        pods: '110',
        'ephemeral-storage': '104857600Ki',
        'hugepages-2Mi': '0',
      },
      allocatable: { cpu: '1900m', pods: '110' },
      nodeInfo: { containerRuntimeVersion: 'containerd://1.6.20', kubeletVersion: 'v1.36.0+deckhand.0.1.0' },
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
      images: [
        { names: ['image:3'], sizeBytes: 3 },
        { names: ['image:2'], sizeBytes: 2 },
      ],
      runtimeHandlers: [{ name: '', features: { recursiveReadOnlyMounts: true, userNamespaces: false } }],
      features: { supplementalGroupsPolicy: true },
    });
    expect(node().status?.conditions?.map(({ type, status }) => `${type}=${status}`)).toEqual([
      'MemoryPressure=False',
      'DiskPressure=False',
      'PIDPressure=False',
      'Ready=True',
    ]);
    expect(condition('Ready')?.reason).toBe('KubeletReady');
    expect(agent.ready).toBe(true);
    const lease = api.find<Lease>(leases, 'kube-node-lease/node-1');
    expect(lease?.spec).toMatchObject({ holderIdentity: 'node-1', leaseDurationSeconds: 40 });
    expect(lease?.metadata.ownerReferences).toMatchObject([{ kind: 'Node', uid: node().metadata.uid }]);
  });

  test('renews the lease each 10 s, also after somebody else wrote or deleted it', async () => {
    const { api, clock, start } = setUp();
    start();
    await clock.advance(500);
    const renewTime = (): string | undefined => api.find<Lease>(leases, 'kube-node-lease/node-1')?.spec?.renewTime;
    let last = renewTime();
    for (const meddle of [
      () => {},
      () =>
        api.put(leases, {
          ...api.find<Lease>(leases, 'kube-node-lease/node-1'),
          metadata: { name: 'node-1', namespace: 'kube-node-lease' },
        }),
      () => api.remove(leases, 'kube-node-lease/node-1'),
    ]) {
      meddle();
      await clock.advance(10_300);
      expect(renewTime()).not.toBe(last);
      expect(renewTime()).toMatch(/\.\d{6}Z$/);
      last = renewTime();
    }
  });

  test('writes only what changed, and reports after five minutes or so', async () => {
    const { clock, machine, node, patches, start } = setUp();
    start();
    await clock.advance(1000);
    const before = patches();
    await clock.advance(100_000);
    expect(patches()).toBe(before);
    machine.addAddress({
      interface: 'eth0',
      address: '10.9.9.9',
      family: 4,
      cidr: '10.9.9.9/8',
      loopback: false,
      linkLocal: false,
      defaultRoute: false,
    });
    await clock.advance(20_000);
    expect(patches()).toBe(before);
    machine.mount('/var', { capacityBytes: 50 * GIB, availableBytes: 40 * GIB, inodes: 1000, inodesFree: 900 });
    await clock.advance(10_100);
    expect(patches()).toBe(before + 1);
    expect(node().status?.capacity?.['ephemeral-storage']).toBe('52428800Ki');
    await clock.advance(310_100);
    expect(patches()).toBe(before + 2);
  });

  test('is ready as soon as the runtime is, and says why while it is not', async () => {
    const { clock, condition, events, runtime, start } = setUp();
    runtime.network = false;
    start();
    await clock.advance(5000);
    expect(condition('Ready')).toMatchObject({
      status: 'False',
      reason: 'KubeletNotReady',
      message:
        'container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni config uninitialized',
    });
    runtime.network = true;
    await clock.advance(150);
    expect(condition('Ready')?.status).toBe('True');
    expect(events).toContain('NodeReady');
  });

  test('a runtime that never answered, and one that fell silent', async () => {
    const { clock, condition, runtime, start } = setUp();
    runtime.down = true;
    start();
    await clock.advance(300);
    expect(condition('Ready')?.message).toBe('container runtime status check may not have completed yet');
    runtime.down = false;
    await clock.advance(1000);
    expect(condition('Ready')?.status).toBe('True');
    runtime.down = true;
    await clock.advance(25_000);
    expect(condition('Ready')?.status).toBe('True');
    await clock.advance(20_000);
    expect(condition('Ready')?.message).toBe('container runtime is down');
  });

  test('pressure shows at once and stays five minutes', async () => {
    const { clock, condition, events, machine, setAvailable, start } = setUp();
    start();
    await clock.advance(1000);
    setAvailable(50 * 2 ** 20);
    machine.mount('/var', { capacityBytes: 100 * GIB, availableBytes: 9 * GIB, inodes: 1000, inodesFree: 900 });
    await clock.advance(10_000);
    expect(condition('MemoryPressure')).toMatchObject({ status: 'True', reason: 'KubeletHasInsufficientMemory' });
    expect(condition('DiskPressure')).toMatchObject({ status: 'True', reason: 'KubeletHasDiskPressure' });
    expect(events).toContain('NodeHasInsufficientMemory');
    setAvailable(2 * GIB);
    await clock.advance(280_000);
    expect(condition('MemoryPressure')?.status).toBe('True');
    await clock.advance(40_000);
    expect(condition('MemoryPressure')?.status).toBe('False');
    expect(condition('DiskPressure')?.status).toBe('True');
  });

  test('takes over a Node that is there: its own labels are put right, others and taints stay', async () => {
    const { api, clock, condition, node, start } = setUp();
    api.put<Node>(nodes, {
      metadata: { name: 'node-1', labels: { 'kubernetes.io/arch': 's390x', mine: 'yes' } },
      spec: { taints: [{ key: 'other', effect: 'NoExecute' }], podCIDR: '10.1.0.0/24' },
      status: {
        capacity: { 'example.com/gpu': '2', 'hugepages-1Gi': '0' },
        volumesAttached: [{ name: 'v', devicePath: '/dev/x' }],
        conditions: [
          { type: 'NetworkUnavailable', status: 'False' },
          { type: 'Ready', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' },
        ],
        nodeInfo: { bootID: 'before' } as never,
      },
    });
    start();
    await clock.advance(500);
    expect(node().metadata.labels).toMatchObject({ 'kubernetes.io/arch': 'amd64', mine: 'yes' });
    expect(node().metadata.labels?.['zone']).toBeUndefined();
    expect(node().spec?.taints).toEqual([{ key: 'other', effect: 'NoExecute' }]);
    expect(node().status?.capacity).toMatchObject({ 'example.com/gpu': '2' });
    expect(node().status?.capacity).not.toHaveProperty('hugepages-1Gi');
    expect(node().status?.volumesAttached).toHaveLength(1);
    expect(condition('NetworkUnavailable')?.status).toBe('False');
    expect(condition('Ready')?.lastTransitionTime).toBe('2020-01-01T00:00:00Z');
  });

  test('what a controller wrote into Ready is put right in the next round', async () => {
    const { api, clock, condition, node, start } = setUp();
    start();
    await clock.advance(500);
    const known = node();
    const conditions = known.status?.conditions?.map((one) =>
      one.type === 'Ready' ? { ...one, status: 'Unknown' as const } : one,
    );
    api.put<Node>(nodes, {
      ...known,
      status: { ...known.status, ...(conditions === undefined ? {} : { conditions }) },
    });
    await clock.advance(10_000);
    expect(condition('Ready')?.status).toBe('True');
  });

  test('a deleted Node comes back; with registerNode false it is waited for', async () => {
    const { api, clock, node, start } = setUp();
    start();
    await clock.advance(500);
    api.remove(nodes, 'node-1');
    await clock.advance(10_100);
    expect(node().metadata.name).toBe('node-1');

    const waiting = setUp({ register: false });
    waiting.start();
    await waiting.clock.advance(30_000);
    expect(waiting.api.find(nodes, 'node-1')).toBeUndefined();
    waiting.api.put<Node>(nodes, { metadata: { name: 'node-1' } });
    await waiting.clock.advance(10_000);
    expect(waiting.condition('Ready')?.status).toBe('True');
  });

  test('an API that is away at start, and later, only delays', async () => {
    const { api, clock, condition, start } = setUp();
    let away = true;
    api.onRequest = () => {
      if (away) throw failure('Unavailable', 500, 'x', 'away');
    };
    start();
    await clock.advance(20_000);
    away = false;
    await clock.advance(8000);
    expect(condition('Ready')?.status).toBe('True');
    away = true;
    await clock.advance(60_000);
    away = false;
    await clock.advance(15_000);
    const lease = api.find<Lease>(leases, 'kube-node-lease/node-1')?.spec?.renewTime ?? '';
    expect(clock.now() - Date.parse(lease)).toBeLessThan(11_000);
  });

  test('tells of a reboot', async () => {
    const { api, clock, events, start } = setUp();
    api.put<Node>(nodes, { metadata: { name: 'node-1' }, status: { nodeInfo: { bootID: 'old' } as never } });
    start();
    await clock.advance(500);
    expect(events.filter((reason) => reason === 'Rebooted')).toHaveLength(1);
  });
});
