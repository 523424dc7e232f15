import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeDevicePlugin, FakeDevicePluginHost } from '../../../../src/host/devices/fake.ts';
import type { PluginDevice } from '../../../../src/host/devices/port.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import type { NumaNode } from '../../../../src/host/machine/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { parseCpus } from '../../../../src/model/cpu-set.ts';
import type { ResourceList } from '../../../../src/model/meta.ts';
import type { Container, Pod } from '../../../../src/model/pod.ts';
import type { Refusal } from '../../../../src/pods/admit/admit-pod.ts';
import { DeviceManager } from '../../../../src/pods/devices/device-manager.ts';
import { AlignmentMetrics } from '../../../../src/pods/managers/alignment-metrics.ts';
import { CpuManager } from '../../../../src/pods/managers/cpu-manager.ts';
import { MemoryManager } from '../../../../src/pods/managers/memory-manager.ts';
import {
  checkNumaNodes,
  TopologyManager,
  type TopologyManagerOptions,
} from '../../../../src/pods/managers/topology-manager.ts';
import { container, pod } from '../builders.ts';

const GI = 2 ** 30;
const GPU = 'example.com/gpu';
const NIC = 'example.com/nic';
const NOT_LOCAL: Refusal = {
  reason: 'TopologyAffinityError',
  message: 'Resources cannot be allocated with Topology locality',
};
const node = (id: number): NumaNode => ({ id, memoryBytes: 9 * GI, hugepages: [], distances: new Map() });
const device = (id: string, ...numaNodes: number[]): PluginDevice => ({ id, healthy: true, numaNodes });

const wants = (name: string, cpu: number, memory: number, more: ResourceList = {}): Container => {
  const list = { cpu: `${cpu}`, memory: `${memory}Gi`, ...more };
  return container(name, { resources: { requests: list, limits: list } });
};
const asks = (uid: string, cpu: number, memory: number, more: ResourceList = {}): Pod =>
  pod({ containers: [wants('a', cpu, memory, more)] }, { uid, name: uid });

/** Two NUMA nodes, each a socket of four cores with 8 GiB for pods; CPU 0 is reserved, which is on node 0. */
async function open(
  options: TopologyManagerOptions,
  devices: readonly (readonly [string, readonly PluginDevice[]])[] = [],
) {
  const files = new FakeFiles();
  await files.makeDirectory('/kubelet', 0o750);
  const metrics = new Metrics();
  const aligned = new AlignmentMetrics(metrics);
  const clock = new ManualClock();
  const topology = Array.from({ length: 8 }, (_, id) => ({
    id,
    core: id,
    socket: id >> 2,
    numaNode: id >> 2,
    uncoreCache: id >> 2,
  }));
  const common = { files, clock, log: silent, metrics, aligned };
  const cpus = new CpuManager(
    {
      statePath: '/kubelet/cpu_manager_state',
      reserved: new Set([0]),
      fullPhysicalCpusOnly: false,
      strictReservation: false,
      reconcileMs: 1000,
    },
    { ...common, topology },
  );
  const memory = new MemoryManager(
    { statePath: '/kubelet/memory_manager_state', reserved: new Map([0, 1].map((id) => [id, { memory: GI }])) },
    { ...common, nodes: [node(0), node(1)] },
  );
  await Promise.all([cpus.load(), memory.load()]);
  const host = new FakeDevicePluginHost();
  const manager = new DeviceManager(
    { directory: '/kubelet/device-plugins' },
    { ...common, host, isExtendedResource: () => true, isActive: () => true, changed: () => {}, numaNodes: [0, 1] },
  );
  await manager.start();
  const plugins = new Map<string, FakeDevicePlugin>();
  for (const [resource, own] of devices) {
    const plugin = new FakeDevicePlugin(own, { preferredAllocation: true });
    const endpoint = `${resource.replaceAll('/', '-')}.sock`;
    plugins.set(resource, plugin);
    host.plugins.set(`/kubelet/device-plugins/${endpoint}`, plugin);
    await host.register({ version: 'v1beta1', endpoint, resource });
  }
  const here = new Set<Pod>();
  const takeBack = (): void => {
    const active = () => [...here].map((each) => ({ pod: each, runtime: undefined }));
    cpus.takeBack(active);
    memory.takeBack(active);
  };
  const numa = { nodes: [0, 1], distance: undefined };
  const deps = { ...common, numa, managers: [cpus, memory], devices: manager, takeBack };
  const topologyManager = new TopologyManager(options, deps);
  const admit = async (of: Pod): Promise<Refusal | undefined> => {
    here.add(of);
    const refusal = await topologyManager.allocate(of);
    if (refusal !== undefined) here.delete(of);
    return refusal;
  };
  const end = (of: Pod): void => {
    here.delete(of);
    manager.release(of.metadata.uid ?? '');
  };
  /** CPUs, nodes of the memory and devices of a container. */
  const has = (uid: string, name = 'a'): readonly string[] => [
    cpus.hasExclusive(uid, name) ? cpus.cpusOf(uid, name) : '',
    memory.memsOf(uid, name) ?? '',
    manager
      .devicesOf(uid, name)
      .flatMap(({ deviceIds }) => deviceIds)
      .sort()
      .join(),
  ];
  return { admit, end, has, cpus, memory, manager, plugins, metrics, here, topologyManager };
}

const GPUS: readonly (readonly [string, readonly PluginDevice[]])[] = [
  [GPU, [device('g0', 0), device('g1', 1), device('h1', 1)]],
  [NIC, [device('n0', 0), device('n1', 1), device('any')]],
];

describe('without a policy', () => {
  it('everybody gives as they like, at once where no plugin is asked', async () => {
    const { topologyManager, has, here, cpus, metrics } = await open({ policy: 'none', scope: 'container' }, GPUS);
    const g = asks('g', 2, 7);
    here.add(g);
    expect(topologyManager.allocate(g)).toBeUndefined();
    const h = asks('h', 3, 7, { [GPU]: '1' });
    here.add(h);
    await topologyManager.allocate(h);
    expect([has('g'), has('h')]).toEqual([
      ['1-2', '0', ''],
      ['3-5', '1', 'g0'],
    ]);
    // Nothing of it stays: its CPUs were given before its memory was found missing.
    const i = asks('i', 1, 9);
    expect(topologyManager.allocate(i)).toMatchObject({ reason: 'UnexpectedAdmissionError' });
    expect(cpus.hasExclusive('i')).toBe(false);
    const text = await metrics.text();
    expect(text).toContain('kubelet_topology_manager_admission_requests_total 3\n');
    expect(text).toContain('kubelet_topology_manager_admission_errors_total 0\n');
  });
});

describe('single-numa-node', () => {
  it('puts CPUs, memory and devices of a container on one node, or refuses the pod', async () => {
    const { admit, has, metrics, end } = await open({ policy: 'single-numa-node', scope: 'container' }, GPUS);
    const g = asks('g', 1, 2, { [GPU]: '2', [NIC]: '1' });
    expect(await admit(g)).toBeUndefined();
    expect(has('g')).toEqual(['4', '1', 'g1,h1,n1']);
    // Three CPUs are free on node 1, but no GPU; on node 0 there is one.
    expect(await admit(asks('h', 3, 1, { [GPU]: '1' }))).toBeUndefined();
    expect(has('h')).toEqual(['1-3', '0', 'g0']);
    expect(await admit(asks('i', 4, 1))).toEqual(NOT_LOCAL);
    expect(await admit(asks('j', 3, 7))).toEqual(NOT_LOCAL);
    expect(has('i')).toEqual(['', '', '']);
    end(g);
    expect(await admit(asks('j', 3, 7))).toBeUndefined();
    expect(has('j')).toEqual(['4-6', '1', '']);
    const text = await metrics.text();
    for (const line of [
      'kubelet_topology_manager_admission_requests_total 5',
      'kubelet_topology_manager_admission_errors_total 2',
      'kubelet_topology_manager_admission_duration_ms_count 5',
      'kubelet_container_aligned_compute_resources_count{scope="container",boundary="numa_node"} 3',
      'kubelet_container_aligned_compute_resources_failure_count{scope="container",boundary="numa_node"} 2',
      'kubelet_container_aligned_compute_resources_count{scope="pod",boundary="numa_node"} 0',
      'kubelet_device_plugin_registration_total{resource_name="example.com/gpu"} 1',
      'kubelet_device_plugin_alloc_duration_seconds_count{resource_name="example.com/gpu"} 2',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('of a pod as a whole with scope pod', async () => {
    const two = (uid: string, cpu: number): Pod =>
      pod({ containers: [wants('a', cpu, 1), wants('b', cpu, 1)] }, { uid, name: uid });
    const byContainer = await open({ policy: 'single-numa-node', scope: 'container' });
    expect(await byContainer.admit(two('g', 3))).toBeUndefined();
    expect([byContainer.has('g', 'a'), byContainer.has('g', 'b')]).toEqual([
      ['1-3', '0', ''],
      ['4-6', '1', ''],
    ]);
    const byPod = await open({ policy: 'single-numa-node', scope: 'pod' });
    expect(await byPod.admit(two('g', 3))).toEqual(NOT_LOCAL);
    expect(await byPod.admit(two('h', 2))).toBeUndefined();
    expect([byPod.has('h', 'a'), byPod.has('h', 'b')]).toEqual([
      ['4-5', '1', ''],
      ['6-7', '1', ''],
    ]);
    const text = await byPod.metrics.text();
    expect(text).toContain('kubelet_container_aligned_compute_resources_count{scope="pod",boundary="numa_node"} 1\n');
    expect(text).toContain(
      'kubelet_container_aligned_compute_resources_failure_count{scope="pod",boundary="numa_node"} 1\n',
    );
  });

  it('counts what init containers leave behind', async () => {
    const { admit, has } = await open({ policy: 'single-numa-node', scope: 'container' }, GPUS);
    const g = pod(
      { initContainers: [wants('i', 4, 8, { [GPU]: '2' })], containers: [wants('a', 4, 8, { [GPU]: '2' })] },
      { uid: 'g' },
    );
    expect(await admit(g)).toBeUndefined();
    expect([has('g', 'i'), has('g', 'a')]).toEqual([
      ['4-7', '1', 'g1,h1'],
      ['4-7', '1', 'g1,h1'],
    ]);
  });

  it('lets in what asks for nothing of the kind, also while a plugin keeps others waiting', async () => {
    const { topologyManager, plugins, here, has } = await open(
      { policy: 'single-numa-node', scope: 'container' },
      GPUS,
    );
    const gpu = plugins.get(GPU) as FakeDevicePlugin;
    let answer = (): void => {};
    const grant = gpu.allocate.bind(gpu);
    gpu.allocate = async (ids) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return grant(ids);
    };
    const [slow, next] = [asks('slow', 1, 1, { [GPU]: '1' }), asks('next', 3, 1)];
    here.add(slow);
    here.add(next);
    const waiting = [topologyManager.allocate(slow), topologyManager.allocate(next)];
    await new Promise((resolve) => setImmediate(resolve));
    expect(topologyManager.allocate(pod({ containers: [container('a')] }, { uid: 'plain' }))).toBeUndefined();
    expect(has('next')).toEqual(['', '', '']);
    answer();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
    expect([has('slow'), has('next')]).toEqual([
      ['1', '0', 'g0'],
      ['4-6', '1', ''],
    ]);
  });

  it('leaves nothing behind when a plugin refuses', async () => {
    const { admit, plugins, has } = await open({ policy: 'single-numa-node', scope: 'container' }, GPUS);
    const nic = plugins.get(NIC) as FakeDevicePlugin;
    nic.allocate = async () => {
      throw new Error('no link');
    };
    const refusal = await admit(asks('g', 1, 1, { [GPU]: '1', [NIC]: '1' }));
    expect(refusal?.reason).toBe('UnexpectedAdmissionError');
    expect(refusal?.message).toContain('no link');
    expect(has('g')).toEqual(['', '', '']);
  });
});

describe('restricted and best-effort', () => {
  it('take two nodes for what no single one could ever hold', async () => {
    for (const policy of ['restricted', 'best-effort'] as const) {
      const { admit, has } = await open({ policy, scope: 'container' });
      expect(await admit(asks('g', 6, 10))).toBeUndefined();
      expect(has('g')).toEqual(['1-2,4-7', '0-1', '']);
    }
  });

  it('differ where it would fit on one node if that were empty', async () => {
    for (const [policy, expected] of [
      ['restricted', [NOT_LOCAL, ['', '', '']]],
      ['best-effort', [undefined, ['3,6-7', '0', '']]],
    ] as const) {
      const { admit, has } = await open({ policy, scope: 'container' });
      await admit(asks('x', 2, 2));
      await admit(asks('y', 2, 2));
      expect([has('x'), has('y')]).toEqual([
        ['1-2', '0', ''],
        ['4-5', '1', ''],
      ]);
      expect([await admit(asks('z', 3, 1)), has('z')]).toEqual(expected);
    }
  });

  it('take devices near to the CPUs, then others, then those that are near to none', async () => {
    const { admit, has, plugins } = await open({ policy: 'best-effort', scope: 'container' }, GPUS);
    const nic = plugins.get(NIC) as FakeDevicePlugin;
    nic.preferredIds = ['any'];
    await admit(asks('g', 4, 1, { [NIC]: '1' }));
    expect(has('g')).toEqual(['4-7', '1', 'n1']);
    await admit(asks('h', 1, 1, { [NIC]: '2' }));
    expect(has('h')).toEqual(['1', '0', 'any,n0']);
  });
});

describe('a machine', () => {
  const nodes = Array.from({ length: 9 }, (_, id) => node(id));
  it('of too many nodes is refused by name, unless there is no policy', () => {
    const settings = { policy: 'restricted', maxNumaNodes: 8, preferClosest: false } as const;
    expect(() => checkNumaNodes(settings, nodes)).toThrow(
      'topologyManagerPolicy restricted: unsupported on machines with more than 8 NUMA Nodes, this one has 9',
    );
    expect(() => checkNumaNodes({ ...settings, maxNumaNodes: 9 }, nodes)).not.toThrow();
    expect(() => checkNumaNodes({ ...settings, policy: 'none' }, nodes)).not.toThrow();
    expect(() => checkNumaNodes({ ...settings, preferClosest: true }, nodes.slice(1))).toThrow(
      'prefer-closest-numa-nodes',
    );
  });
});

it('whatever comes and goes, no CPU and no device is given twice, and all come back', async () => {
  const step = fc.record({
    uid: fc.constantFrom('p', 'q', 'r', 's'),
    cpus: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
    gpus: fc.integer({ min: 0, max: 2 }),
    go: fc.boolean(),
  });
  const policies = fc.constantFrom('none', 'best-effort', 'restricted', 'single-numa-node');
  const scopes = fc.constantFrom('container', 'pod');
  await fc.assert(
    fc.asyncProperty(policies, scopes, fc.array(step, { maxLength: 12 }), async (policy, scope, steps) => {
      const { admit, end, has, cpus, memory, manager } = await open({ policy, scope } as TopologyManagerOptions, GPUS);
      const pods = new Map<string, Pod>();
      for (const [at, { uid: name, cpus: counts, gpus, go }] of steps.entries()) {
        const there = pods.get(name);
        if (there !== undefined && go) {
          end(there);
          pods.delete(name);
        } else if (there === undefined) {
          const uid = `${name}${at}`;
          const own = counts.map((cpu, index) =>
            wants(`c${index}`, cpu, cpu, index === 0 && gpus > 0 ? { [GPU]: `${gpus}` } : {}),
          );
          const of = pod({ containers: own }, { uid, name: uid });
          if ((await admit(of)) === undefined) pods.set(name, of);
          else for (const each of own) expect(has(uid, each.name)).toEqual(['', '', '']);
        }
        const given = [...pods.values()].flatMap((of) =>
          of.spec.containers.map(({ name, resources }) => {
            const [list = '', mems, ids = ''] = has(of.metadata.uid ?? '', name);
            expect(parseCpus(list)?.size).toBe(Number(resources?.limits?.['cpu']));
            expect(mems).not.toBe('');
            if (policy === 'single-numa-node')
              expect(new Set([...(parseCpus(list) ?? [])].map((cpu) => cpu >> 2)).size).toBe(1);
            return [...(parseCpus(list) ?? [])].map(String).concat(ids === '' ? [] : ids.split(','));
          }),
        );
        expect(new Set(given.flat()).size).toBe(given.flat().length);
      }
      for (const of of pods.values()) end(of);
      cpus.takeBack(() => []);
      memory.takeBack(() => []);
      expect(cpus.cpusOf('x', 'a')).toBe('0-7');
      expect(memory.blocksOf('p0', 'c0')).toEqual([]);
      expect(manager.devicesOf('p0', 'c0')).toEqual([]);
    }),
    { numRuns: 60 },
  );
});
