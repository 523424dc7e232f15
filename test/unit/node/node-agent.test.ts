import { afterEach, describe, expect, test } from 'vitest';
import { WatchCache } from '../../../src/cluster/watch-cache.ts';
import type { CriRuntime, RuntimeStatus } from '../../../src/host/cri/port.ts';
import { FakeMachine } from '../../../src/host/machine/fake.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import { conditionOf } from '../../../src/model/conditions.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Lease } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { NodeAgent, type NodeAgentOptions } from '../../../src/node/node-agent.ts';
import { NodeStartupMetrics } from '../../../src/node/node-startup-metrics.ts';
import { PressureMonitor } from '../../../src/node/pressure-monitor.ts';
import { RuntimeFactsSource } from '../../../src/node/runtime-facts.ts';
import { failure, MemoryApi } from '../cluster/memory-api.ts';

const { nodes, leases } = resources;
const GIB = 2 ** 30;

/** A runtime that answers, or not; its conditions can be turned. */
class Runtime implements Pick<CriRuntime, 'version' | 'status' | 'listImages'> {
  down = false;
  network = true;
  hang = false;
  features: boolean | undefined = true;
  runtimeVersion = '1.6.20~ds1';
  async version() {
    return { runtimeName: 'containerd', runtimeVersion: this.runtimeVersion, runtimeApiVersion: 'v1' };
  }
  async status(): Promise<RuntimeStatus> {
    if (this.down) throw new CodedError('Unavailable', 'socket is gone');
    if (this.hang) await new Promise(() => {});
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
      supplementalGroupsPolicy: this.features,
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

function setUp(given: Partial<NodeAgentOptions> = {}, api = new MemoryApi(), clock = new ManualClock()) {
  api.now = () => clock.now();
  const runtime = new Runtime();
  const machine = new FakeMachine();
  const events: string[] = [];
  const logged: string[] = [];
  const log = (_: object, text: string): void => void logged.push(text);
  const logger: Logger = { ...silent, warn: log, error: log, child: () => logger };
  let used = GIB;
  let unhealthy: string[] = [];
  const options: NodeAgentOptions = {
    nodeName: 'node-1',
    nodeIPs: [],
    externalCloudProvider: false,
    maxPods: 110,
    podsPerCore: 0,
    kubeletPort: 10_250,
    maxImages: 2,
    kubeletVersion: 'v1.36.0+deckhand.0.1.0',
    declaredFeatures: [],
    labels: { zone: 'a' },
    taints: [{ key: 'k', effect: 'NoSchedule' }],
    providerID: undefined,
    register: true,
    registerAgain: false,
    statusUpdateMs: 10_000,
    statusReportMs: 300_000,
    leaseSeconds: 40,
    ...given,
  };
  const view = new WatchCache<Node, Node>(
    { type: nodes, project: (node) => node, fieldSelector: 'metadata.name=node-1' },
    { api, clock, logger: silent, random: () => 0.5 },
  );
  const metrics = new Metrics();
  const agent = new NodeAgent(options, {
    api,
    node: view,
    machine,
    runtime: new RuntimeFactsSource({ cri: runtime, clock }),
    allocatable: (capacity) => ({ ...capacity, cpu: '1900m' }),
    pressure: new PressureMonitor(
      {
        hard: { 'memory.available': '100Mi', 'nodefs.available': '10%' },
        soft: {},
        softGraceMs: {},
        minimumReclaim: {},
        transitionMs: 300_000,
        podsEnforced: true,
        rootDir: '/var/lib/kubelet',
        maxPids: 32_768,
      },
      {
        machine,
        memory: async () => ({
          node: { usedBytes: used, inactiveFileBytes: 0, limitBytes: 4 * GIB },
          pods: undefined,
        }),
        imageMounts: async () => ({ images: undefined, containers: undefined }),
        clock,
        logger: silent,
      },
    ),
    unhealthy: () => unhealthy,
    metrics: new NodeStartupMetrics({ nodeName: 'node-1', bootToStartMs: 5000 }, metrics),
    events: { event: (_about, _type, reason) => void events.push(reason) },
    clock,
    logger,
    random: () => 0.5,
  });
  const stop = new AbortController();
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  let running: Promise<unknown> = Promise.resolve();
  const start = (): void => {
    running = Promise.all([view.run(stop.signal), agent.run(stop.signal)]);
    closing.push(end);
  };
  const node = (): Node => api.find<Node>(nodes, 'node-1') ?? { metadata: {} };
  const condition = (type: string) => conditionOf(node().status?.conditions, type);
  const lease = () => api.find<Lease>(leases, 'kube-node-lease/node-1');
  const patches = (): number => count;
  let count = 0;
  api.onRequest = ({ verb }) => {
    if (verb === 'patch') count++;
  };
  const setAvailable = (bytes: number): void => {
    used = 4 * GIB - bytes;
  };
  const setUnhealthy = (...reasons: string[]): void => {
    unhealthy = reasons;
  };
  return {
    agent,
    api,
    clock,
    condition,
    end,
    events,
    lease,
    logged,
    machine,
    metrics,
    node,
    patches,
    runtime,
    setAvailable,
    setUnhealthy,
    start,
  };
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
        memory: '4Gi',
        pods: '110',
        'ephemeral-storage': '100Gi',
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
    expect(node().status?.capacity?.['ephemeral-storage']).toBe('50Gi');
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
    expect(condition('Ready')?.message).toBe(
      '[container runtime status check may not have completed yet, network state unknown]',
    );
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
    // Nothing on this machine is known to have any.
    expect(node().status?.capacity).toMatchObject({ 'example.com/gpu': '0' });
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

  test('a Node that is deleted stays so, as with kubelet, and is said once; made again, it is kept again', async () => {
    const { api, clock, condition, lease, logged, node, start } = setUp();
    start();
    await clock.advance(500);
    api.remove(nodes, 'node-1');
    api.remove(leases, 'kube-node-lease/node-1');
    await clock.advance(60_000);
    expect(node().metadata.name).toBeUndefined();
    expect(lease()).toBeUndefined();
    expect(logged.filter((text) => text.includes('was deleted'))).toHaveLength(1);
    api.put<Node>(nodes, { metadata: { name: 'node-1' } });
    await clock.advance(500);
    expect(condition('Ready')?.status).toBe('True');
    await clock.advance(10_000);
    expect(lease()?.metadata.ownerReferences?.[0]?.uid).toBe(node().metadata.uid);
  });

  test('on a node that is its own cluster a deleted Node comes back', async () => {
    const { api, clock, node, start } = setUp({ registerAgain: true });
    start();
    await clock.advance(500);
    const { uid } = node().metadata;
    api.remove(nodes, 'node-1');
    await clock.advance(1000);
    expect(node().metadata.uid).not.toBe(uid);
    expect(node().status?.conditions).toHaveLength(4);
  });

  test('with registerNode false the Node is waited for', async () => {
    const waiting = setUp({ register: false });
    waiting.start();
    await waiting.clock.advance(30_000);
    expect(waiting.api.find(nodes, 'node-1')).toBeUndefined();
    expect(waiting.lease()).toBeUndefined();
    waiting.api.put<Node>(nodes, { metadata: { name: 'node-1' } });
    await waiting.clock.advance(10_000);
    expect(waiting.condition('Ready')?.status).toBe('True');
    expect(waiting.node().metadata.labels).toEqual({ 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' });
  });

  test('one who may not create Nodes takes the one that it was given', async () => {
    const { api, clock, condition, start } = setUp();
    api.onRequest = ({ verb, type }) => {
      if (verb === 'create' && type.plural === 'nodes') throw failure('Forbidden', 403, 'Forbidden', 'no');
    };
    start();
    await clock.advance(3000);
    expect(condition('Ready')).toBeUndefined();
    api.put<Node>(nodes, { metadata: { name: 'node-1' } });
    await clock.advance(10_000);
    expect(condition('Ready')?.status).toBe('True');
  });

  test('a restart: Ready stays, the lease goes on, and nothing is sent while nothing changes', async () => {
    const first = setUp();
    first.start();
    await first.clock.advance(15_000);
    await first.end();
    const before = first.node();
    await first.clock.advance(5000);
    const second = setUp({}, first.api, first.clock);
    const seen: (string | undefined)[] = [];
    second.start();
    for (let step = 0; step < 40; step++) {
      await second.clock.advance(500);
      seen.push(second.condition('Ready')?.status);
    }
    expect(new Set(seen)).toEqual(new Set(['True']));
    expect(second.node().metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    expect(second.patches()).toBe(0);
    expect(second.events).toEqual(['Starting']);
    expect(first.clock.now() - Date.parse(second.lease()?.spec?.renewTime ?? '')).toBeLessThan(11_000);
    // The report that the first one owed comes from the second.
    await second.clock.advance(460_000);
    expect(second.patches()).toBe(1);
  });

  test('events of a new node, of a cordon and of a node that is ready again', async () => {
    const { api, clock, events, node, setUnhealthy, start } = setUp();
    start();
    await clock.advance(500);
    expect(events).toEqual([
      'Starting',
      'NodeHasSufficientMemory',
      'NodeHasNoDiskPressure',
      'NodeHasSufficientPID',
      'NodeReady',
    ]);
    events.length = 0;
    api.put<Node>(nodes, { ...node(), spec: { unschedulable: true } });
    await clock.advance(100);
    api.put<Node>(nodes, { ...node(), spec: {} });
    await clock.advance(100);
    expect(events).toEqual(['NodeNotSchedulable', 'NodeSchedulable']);
    events.length = 0;
    setUnhealthy('PLEG is not healthy: pleg was last seen active 3m4s ago; threshold is 3m0s');
    await clock.advance(11_000);
    expect(node().status?.conditions?.at(-1)).toMatchObject({
      status: 'False',
      message: 'PLEG is not healthy: pleg was last seen active 3m4s ago; threshold is 3m0s',
    });
    setUnhealthy();
    await clock.advance(11_000);
    expect(events).toEqual(['NodeNotReady', 'NodeReady']);
  });

  test('a runtime that hangs does not hold up the heartbeat', async () => {
    const { clock, condition, runtime, start } = setUp();
    start();
    await clock.advance(500);
    runtime.hang = true;
    await clock.advance(60_000);
    expect(condition('Ready')?.message).toBe('container runtime is down');
  });

  test('the clock set forward and back: lease and status go on, and it is said', async () => {
    const { clock, condition, lease, logged, start } = setUp();
    start();
    await clock.advance(1000);
    const renewals: number[] = [];
    for (const jump of [7_200_000, -10_800_000, 3_600_000]) {
      clock.jump(jump);
      for (let round = 0; round < 6; round++) {
        await clock.advance(10_500);
        renewals.push(Date.parse(lease()?.spec?.renewTime ?? ''));
        expect(condition('Ready')?.status).toBe('True');
      }
    }
    for (const [index, time] of renewals.entries()) expect(time).toBeGreaterThan(renewals[index - 1] ?? 0);
    expect(renewals).toHaveLength(18);
    expect(logged.filter((text) => text.startsWith('the wall clock was set forward'))).toHaveLength(2);
    expect(logged.filter((text) => text.startsWith('the wall clock was set back'))).toHaveLength(1);
  });

  test('two with one name: each says so once, with an event, and goes on', async () => {
    const first = setUp();
    first.start();
    await first.clock.advance(5000);
    const second = setUp({}, first.api, first.clock);
    second.start();
    await first.clock.advance(120_000);
    for (const { events, logged } of [first, second]) {
      expect(events.filter((reason) => reason === 'NodeNameConflict')).toHaveLength(1);
      expect(logged.filter((text) => text.includes('two use the name node-1'))).toHaveLength(1);
    }
    expect(first.condition('Ready')?.status).toBe('True');
  });

  test('an administrator’s edit of the lease is no second agent', async () => {
    const { api, clock, events, lease, start } = setUp();
    start();
    await clock.advance(15_000);
    api.put<Lease>(leases, {
      ...lease(),
      metadata: { name: 'node-1', namespace: 'kube-node-lease', labels: { a: 'b' } },
    });
    await clock.advance(60_000);
    expect(events).not.toContain('NodeNameConflict');
  });

  test('another machine’s identity in the Node is told of at once', async () => {
    const { api, clock, events, logged, node, start } = setUp();
    start();
    await clock.advance(1000);
    const { nodeInfo } = node().status ?? {};
    api.put<Node>(nodes, {
      ...node(),
      status: { ...node().status, nodeInfo: { ...nodeInfo, systemUUID: 'other', bootID: 'else' } as never },
    });
    await clock.advance(100);
    expect(events).toContain('NodeNameConflict');
    expect(logged.at(-1)).toContain('system UUID is other');
  });

  test('what others advertise has an allocatable amount; quantities are compared by value', async () => {
    const { api, clock, node, patches, start } = setUp();
    start();
    await clock.advance(500);
    api.put<Node>(nodes, {
      ...node(),
      status: { ...node().status, capacity: { ...node().status?.capacity, 'example.com/fpga': '2', memory: '4096Mi' } },
    });
    await clock.advance(10_500);
    expect(node().status?.allocatable).toMatchObject({ 'example.com/fpga': '2' });
    const before = patches();
    await clock.advance(30_000);
    expect(patches()).toBe(before);
  });

  test('the times of a first start', async () => {
    const { clock, metrics, runtime, start } = setUp();
    await clock.advance(1000);
    runtime.network = false;
    start();
    await clock.advance(2000);
    runtime.network = true;
    await clock.advance(200);
    const text = await metrics.text();
    expect(text).toContain('kubelet_node_name{node="node-1"} 1');
    expect(text).toMatch(/^kubelet_node_startup_pre_kubelet_duration_seconds 5$/m);
    expect(text).toMatch(/^kubelet_node_startup_pre_registration_duration_seconds 1$/m);
    expect(text).toMatch(/^kubelet_node_startup_post_registration_duration_seconds 2\.[01]/m);
    expect(text).toMatch(/^kubelet_node_startup_duration_seconds 8\.[01]/m);
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

  test('sets right what the node controller says as soon as the API answers again', async () => {
    const { api, clock, condition, start } = setUp();
    start();
    await clock.advance(120_000);
    let away = true;
    // The watch stays behind: it tells nothing of what the node controller has written.
    api.onRequest = ({ verb }) => {
      if (away || verb === 'watch') throw failure('Unavailable', 500, 'x', 'away');
    };
    api.dropWatches();
    await clock.advance(60_000);
    const node = api.find<Node>(nodes, 'node-1');
    const conditions = node?.status?.conditions?.map((one) =>
      one.type === 'Ready' ? { ...one, status: 'Unknown' as const } : one,
    );
    api.put<Node>(nodes, { ...node, metadata: { name: 'node-1' }, status: { ...node?.status, conditions } } as Node);
    away = false;
    expect(condition('Ready')?.status).toBe('Unknown');
    await clock.advance(5200);
    expect(condition('Ready')?.status).toBe('True');
  });

  test('tells of a reboot', async () => {
    const { api, clock, events, start } = setUp();
    api.put<Node>(nodes, { metadata: { name: 'node-1' }, status: { nodeInfo: { bootID: 'old' } as never } });
    start();
    await clock.advance(500);
    expect(events.filter((reason) => reason === 'Rebooted')).toHaveLength(1);
  });
});
