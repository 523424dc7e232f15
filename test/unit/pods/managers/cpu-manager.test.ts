import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { formatCpus, parseCpus } from '../../../../src/model/cpu-set.ts';
import type { Pod, ResourceRequirements } from '../../../../src/model/pod.ts';
import type { Refusal } from '../../../../src/pods/admit/admit-pod.ts';
import type { ActivePods } from '../../../../src/pods/managers/active-pods.ts';
import { AlignmentMetrics } from '../../../../src/pods/managers/alignment-metrics.ts';
import { CpuManager, type CpuManagerOptions } from '../../../../src/pods/managers/cpu-manager.ts';
import { cpuStateText, readCpuState } from '../../../../src/pods/managers/cpu-state.ts';
import type { CpuTopology } from '../../../../src/pods/managers/cpu-topology.ts';
import { containersOf, NO_AFFINITY } from '../../../../src/pods/managers/hints.ts';
import { maskOf, nodesOf } from '../../../../src/pods/managers/numa-mask.ts';
import { takeCpus } from '../../../../src/pods/managers/take-cpus.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import { podCgroupLimits } from '../../../../src/pods/resources/pod-limits.ts';
import { container, pod, record, runtime, sandbox } from '../builders.ts';

/** Two sockets, each one NUMA node, of two cores with two threads: CPU n and n + 4 share a core. */
const HYPERTHREADS: CpuTopology = Array.from({ length: 8 }, (_, id) => ({
  id,
  core: id % 4,
  socket: Math.floor((id % 4) / 2),
  numaNode: Math.floor((id % 4) / 2),
  uncoreCache: Math.floor((id % 4) / 2),
}));
const set = (list: string): Set<number> => parseCpus(list) ?? new Set();
const whole = (cpu: string): ResourceRequirements => ({
  limits: { cpu, memory: '1Gi' },
  requests: { cpu, memory: '1Gi' },
});
const asks = (uid: string, cpu: string, more: Partial<Pod['spec']> = {}): Pod =>
  pod({ containers: [container('a', { resources: whole(cpu) })], ...more }, { uid, name: uid });

describe('lists of CPUs', () => {
  it.each([['0-3,7'], ['5'], [''], ['0,2,4-6']])('%j comes back as it was', (list) => {
    expect(formatCpus(set(list))).toBe(list);
  });
  it('refuses what is none', () => {
    for (const wrong of ['3-1', 'a', '1,', '-1']) expect(parseCpus(wrong)).toBeUndefined();
  });
});

describe('choosing CPUs', () => {
  it.each([
    ['a core before a thread', '0-7', 2, '0,4'],
    ['a socket before its cores', '0-7', 4, '0-1,4-5'],
    ['a core and a thread', '0-7', 3, '0-1,4'],
    ['where the least is free', '1-7', 2, '1,5'],
    ['the thread whose core is taken already', '1-7', 1, '4'],
    ['all', '0-7', 8, '0-7'],
  ])('%s', (_what, available, count, taken) => {
    expect(formatCpus(takeCpus(HYPERTHREADS, set(available), count) ?? [])).toBe(taken);
  });
  it('takes none where there are too few', () => expect(takeCpus(HYPERTHREADS, set('0-1'), 3)).toBeUndefined());
});

describe('the state file', () => {
  it.each([
    ['{"policyName":"static","defaultCpuSet":"4-6","checksum":0}', '4-6', 0],
    [cpuStateText({ shared: set('1-3'), exclusive: new Map([['pod', new Map([['c', set('4-6')]])]]) }), '1-3', 1],
  ])('%s is read', (text, shared, pods) => {
    const state = readCpuState(text);
    expect([formatCpus(state.shared), state.exclusive.size]).toEqual([shared, pods]);
  });

  it('has kubelet’s checksum', () => {
    // cpumanager/state/state_checkpoint_test.go, "Restore valid checkpoint": its policy is another one, no other mistake.
    const kubelets = {
      policyName: 'none',
      defaultCpuSet: '1-3',
      entries: { pod: { container1: '4-6', container2: '1-3' } },
    };
    expect(() => readCpuState(JSON.stringify({ ...kubelets, checksum: 3610638499 }))).toThrow('differs from state');
    expect(() => readCpuState(JSON.stringify({ ...kubelets, checksum: 3610638498 }))).toThrow('is corrupt');
  });
});

async function open(options: Partial<CpuManagerOptions> = {}, file?: string, topology: CpuTopology = HYPERTHREADS) {
  const files = new Map<string, string>(file === undefined ? [] : [['/state', file]]);
  const metrics = new Metrics();
  const manager = new CpuManager(
    {
      statePath: '/state',
      reserved: 1,
      fullPhysicalCpusOnly: false,
      strictReservation: false,
      reconcileMs: 10_000,
      ...options,
    },
    {
      topology,
      files: {
        read: async (path) => {
          const text = files.get(path);
          if (text === undefined) throw new CodedError('NotFound', path);
          return Buffer.from(text);
        },
        write: async (path, data) => void files.set(path, String(data)),
        rename: async (from, to) => void files.set(to, files.get(from) ?? ''),
      },
      clock: new ManualClock(),
      log: silent,
      metrics,
      aligned: new AlignmentMetrics(metrics),
    },
  );
  await manager.load();
  const pods: Pod[] = [];
  const told: string[] = [];
  const active: ActivePods = () =>
    pods.map((of) => ({
      pod: of,
      runtime: runtime(
        [sandbox()],
        of.spec.containers.map((one) => record(one, { id: `${of.metadata.uid}/${one.name}` })),
      ),
    }));
  /** As the topology manager does without a policy. */
  const allocate = (of: Pod): Refusal | undefined => {
    for (const each of containersOf(of)) {
      const refusal = manager.allocate(of, each, NO_AFFINITY);
      if (refusal === undefined) continue;
      manager.forget(of.metadata.uid ?? '');
      return refusal;
    }
    return undefined;
  };
  const reconcile = () =>
    manager.reconcile(active, {
      updateContainerResources: async (id, { cpusetCpus }) => void told.push(`${id} ${cpusetCpus}`),
    });
  return { manager, files, pods, told, reconcile, allocate, metrics };
}

describe('CPUs of one’s own', () => {
  it('go to containers of Guaranteed pods that ask for whole ones, and leave the rest to all others', async () => {
    const { manager, allocate } = await open();
    expect(allocate(asks('g', '2'))).toBeUndefined();
    expect(manager.cpusOf('g', 'a')).toBe('1,5');
    expect(manager.cpusOf('other', 'a')).toBe('0,2-4,6-7');
    const burstable = pod({ containers: [container('a', { resources: { requests: { cpu: '2' } } })] }, { uid: 'b' });
    for (const shares of [burstable, asks('h', '1500m')]) {
      expect(allocate(shares)).toBeUndefined();
      expect(manager.hasExclusive(shares.metadata.uid ?? '')).toBe(false);
    }
  });

  it('are never the reserved ones, and a pod that cannot have them is refused', async () => {
    const { manager, allocate } = await open({ reserved: set('0,4') });
    expect(allocate(asks('g', '6'))).toBeUndefined();
    expect(manager.cpusOf('x', 'a')).toBe('0,4');
    expect(allocate(asks('h', '1'))).toEqual({
      reason: 'UnexpectedAdmissionError',
      message:
        'Allocate failed due to not enough cpus available to satisfy request: requested=1, available=0, which is unexpected',
    });
    expect(manager.hasExclusive('h')).toBe(false);
  });

  it('of an init container serve those after it again, but for a sidecar’s', async () => {
    const { manager, allocate } = await open();
    const init = container('i', { resources: whole('2') });
    allocate(asks('g', '2', { initContainers: [init] }));
    expect(manager.cpusOf('g', 'i')).toBe(manager.cpusOf('g', 'a'));
    const sidecar = container('s', { resources: whole('1'), restartPolicy: 'Always' });
    allocate(asks('h', '1', { initContainers: [sidecar] }));
    expect(manager.cpusOf('h', 's')).not.toBe(manager.cpusOf('h', 'a'));
  });

  it('come in whole cores or not at all with full-pcpus-only', async () => {
    const { allocate } = await open({ fullPhysicalCpusOnly: true });
    expect(allocate(asks('g', '1'))).toEqual({
      reason: 'SMTAlignmentError',
      message: 'SMT Alignment Error: requested 1 cpus not multiple cpus per core = 2',
    });
    // The core of the reserved CPU is broken.
    expect(allocate(asks('h', '8'))?.message).toBe(
      'SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 6, requested CPUs = 8, CPUs per core = 2',
    );
    expect(allocate(asks('i', '6'))).toBeUndefined();
  });

  it('with strict-cpu-reservation nobody runs on the reserved ones', async () => {
    const { manager } = await open({ strictReservation: true, reserved: set('0-1') });
    expect(manager.cpusOf('x', 'a')).toBe('2-7');
  });

  it('are taken back when the pod is over, and everybody hears of what is shared then', async () => {
    const { allocate, pods, told, reconcile } = await open();
    const [g, s] = [asks('g', '2'), pod({ containers: [container('a')] }, { uid: 's' })];
    allocate(g);
    pods.push(g, s);
    await reconcile();
    expect(told).toEqual(['g/a 1,5', 's/a 0,2-4,6-7']);
    await reconcile();
    expect(told).toHaveLength(2);
    pods.shift();
    await reconcile();
    expect(told.at(-1)).toBe('s/a 0-7');
  });

  it('are the same after a restart; what does not fit the machine is not guessed at', async () => {
    const first = await open();
    first.allocate(asks('g', '2'));
    await Promise.resolve().then(() => new Promise((resolve) => setImmediate(resolve)));
    const text = first.files.get('/state') ?? '';
    const second = await open({}, text);
    expect(second.manager.cpusOf('g', 'a')).toBe('1,5');
    await expect(open({ reserved: set('1') }, text)).rejects.toThrow(
      /does not fit: not all reserved cpus: "1" are present in defaultCpuSet: "0,2-4,6-7"; drain this node and delete/,
    );
  });

  it('of an init container go back once another one has begun', async () => {
    const { manager, allocate, pods, reconcile } = await open();
    const g = asks('g', '1', { initContainers: [container('i', { resources: whole('4') })] });
    allocate(g);
    expect(manager.cpusOf('x', 'a')).toBe('0-1,5');
    pods.push(g);
    await reconcile();
    expect(manager.cpusOf('x', 'a')).toBe('0-3,5-7');
    expect(manager.cpusOf('g', 'a')).toBe('4');
  });

  it('are counted, also by NUMA node', async () => {
    const { allocate, metrics } = await open({ reserved: set('0'), fullPhysicalCpusOnly: true });
    allocate(asks('g', '4'));
    allocate(asks('h', '9'));
    allocate(asks('i', '1'));
    const text = await metrics.text();
    for (const line of [
      'kubelet_cpu_manager_pinning_requests_total 3',
      'kubelet_cpu_manager_pinning_errors_total 2',
      'kubelet_cpu_manager_exclusive_cpu_allocation_count 4',
      'kubelet_cpu_manager_shared_pool_size_millicores 3000',
      'kubelet_cpu_manager_allocation_per_numa{numa_node="0"} 0',
      'kubelet_cpu_manager_allocation_per_numa{numa_node="1"} 4',
      'kubelet_container_aligned_compute_resources_count{scope="container",boundary="physical_cpu"} 1',
      'kubelet_container_aligned_compute_resources_failure_count{scope="container",boundary="physical_cpu"} 2',
      'kubelet_container_aligned_compute_resources_count{scope="container",boundary="uncore_cache"} 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('are found by socket instead of by NUMA node with align-by-socket', async () => {
    /** Two sockets of two NUMA nodes of two CPUs. */
    const nodes: CpuTopology = Array.from({ length: 8 }, (_, id) => ({
      id,
      core: id,
      socket: id >> 2,
      numaNode: id >> 1,
      uncoreCache: id >> 2,
    }));
    const preferred = async (bySocket: boolean): Promise<string[]> => {
      const { manager } = await open({ bySocket, reserved: set('0,2,4') }, undefined, nodes);
      const g = asks('g', '2');
      const [a = container('a')] = g.spec.containers;
      return (manager.hints(g, a).get('cpu') ?? [])
        .filter((hint) => hint.preferred)
        .map((hint) => nodesOf(hint.nodes ?? 0n).join());
    };
    expect(await preferred(false)).toEqual(['3']);
    expect(await preferred(true)).toEqual(['3', '0,1', '2,3']);
    const { manager } = await open({ bySocket: true, reserved: set('0,2,4') }, undefined, nodes);
    const g = asks('g', '3');
    for (const each of containersOf(g)) manager.allocate(g, each, { nodes: maskOf([2]), preferred: true });
    expect(manager.cpusOf('g', 'a')).toBe('5-7');
    const oneNode = nodes.map((cpu) => ({ ...cpu, numaNode: 0 }));
    await expect(open({ bySocket: true }, undefined, oneNode)).rejects.toThrow(
      'align-by-socket: not compatible with hardware where number of sockets are more than number of NUMA: 2 sockets, 1 NUMA nodes',
    );
  });

  it('follow the other options', async () => {
    const first = await open({ acrossCores: true, reserved: set('0,4') });
    first.allocate(asks('g', '2'));
    expect(first.manager.cpusOf('g', 'a')).toBe('1,5');
    for (const [options, cpus] of [
      [{}, '2-4,6-7'],
      [{ acrossNuma: true }, '1-3,5-6'],
    ] as const) {
      const { manager, allocate } = await open({ ...options, reserved: set('0') });
      allocate(asks('g', '5'));
      expect(manager.cpusOf('g', 'a')).toBe(cpus);
    }
    const caches = HYPERTHREADS.map(({ id }) => ({
      id,
      core: id,
      socket: 0,
      numaNode: 0,
      uncoreCache: [0, 4, 5, 6].includes(id) ? 0 : 1,
    }));
    for (const [options, cpus] of [
      [{}, '1-3'],
      [{ byUncoreCache: true }, '4-6'],
    ] as const) {
      const { manager, allocate } = await open({ ...options, reserved: set('0') }, undefined, caches);
      allocate(asks('g', '3'));
      expect(manager.cpusOf('g', 'a')).toBe(cpus);
    }
  });

  it('have no CFS quota, nor has their pod', async () => {
    const { manager, allocate } = await open();
    const g = asks('g', '2');
    allocate(g);
    const node = {
      memoryBytes: 2 ** 33,
      cgroupVersion: 2 as const,
      cfsQuota: true,
      cfsPeriodUs: 100_000,
      hugepageSizes: [],
      swapAccounting: false,
      singleProcessOomKill: true,
      podPidsLimit: -1,
      cpus: {
        cpusOf: (uid: string, name: string) => manager.cpusOf(uid, name),
        hasExclusive: (uid: string, name?: string) => manager.hasExclusive(uid, name),
        withoutQuota: true,
      },
    };
    const [a = container('a')] = g.spec.containers;
    expect(linuxResourcesOf(g, a, node)).toMatchObject({ cpuQuota: -1, cpusetCpus: '1,5' });
    expect(podCgroupLimits(g, node).cpuQuota).toBe(-1);
    const kept = { ...node, cpus: { ...node.cpus, withoutQuota: false } };
    expect(linuxResourcesOf(g, a, kept).cpuQuota).toBe(200_000);
    expect(podCgroupLimits(asks('other', '2'), node).cpuQuota).toBe(200_000);
  });
});
