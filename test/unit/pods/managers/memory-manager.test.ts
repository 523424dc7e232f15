import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import type { NumaNode } from '../../../../src/host/machine/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { ResourceList } from '../../../../src/model/meta.ts';
import type { Container, Pod } from '../../../../src/model/pod.ts';
import { amountsOf } from '../../../../src/model/pod-resources.ts';
import type { ActivePod } from '../../../../src/pods/managers/active-pods.ts';
import { containersOf, type Hint, NO_AFFINITY } from '../../../../src/pods/managers/hints.ts';
import type { ReservedMemory } from '../../../../src/pods/managers/memory-ledger.ts';
import { MemoryManager } from '../../../../src/pods/managers/memory-manager.ts';
import { type MemoryState, readMemoryState } from '../../../../src/pods/managers/memory-state.ts';
import { maskOf, nodesOf } from '../../../../src/pods/managers/numa-mask.ts';
import { reservedMemoryOf } from '../../../../src/pods/managers/reserved-memory.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import { container, pod, record, runtime, sandbox } from '../builders.ts';

const GI = 2 ** 30;
const STATE = '/kubelet/memory_manager_state';

/** Each has 10 GiB, 2 of them in huge pages; 1 GiB of each is reserved. */
const nodesOfMachine = (count: number): NumaNode[] =>
  Array.from({ length: count }, (_, id) => ({
    id,
    memoryBytes: 10 * GI,
    hugepages: [{ size: '1Gi', bytes: 2 * GI }],
    distances: new Map(),
  }));
const reservedOf = (count: number): ReservedMemory =>
  new Map(Array.from({ length: count }, (_, id) => [id, { memory: GI }]));

const wants = (name: string, memory: string, more: ResourceList = {}, of: Partial<Container> = {}): Container => {
  const list = { cpu: '1', memory, ...more };
  return container(name, { resources: { requests: list, limits: list }, ...of });
};
const asks = (uid: string, memory: string, more: ResourceList = {}): Pod =>
  pod({ containers: [wants('a', memory, more)] }, { uid, name: uid });

async function open(count = 4, files = new FakeFiles(), reserved = reservedOf(count)) {
  await files.makeDirectory('/kubelet', 0o750);
  const metrics = new Metrics();
  const options = { statePath: STATE, reserved };
  const manager = new MemoryManager(options, { nodes: nodesOfMachine(count), files, log: silent, metrics });
  await manager.load();
  const allocate = (of: Pod, hint: Hint = NO_AFFINITY) => {
    for (const each of containersOf(of)) {
      const refusal = manager.allocate(of, each, hint);
      if (refusal !== undefined) {
        manager.forget(of.metadata.uid ?? '');
        return refusal;
      }
    }
    return undefined;
  };
  const state = async (): Promise<MemoryState> => {
    await manager.close();
    return readMemoryState((await files.read(STATE)).toString());
  };
  const free = async (): Promise<number[]> =>
    Object.values((await state()).machineState).map(({ memoryMap }) => (memoryMap['memory']?.free ?? 0) / GI);
  return { manager, files, metrics, allocate, state, free };
}
const near = (...nodes: number[]): Hint => ({ nodes: maskOf(nodes), preferred: true });
const shown = (hints: ReadonlyMap<string, readonly Hint[] | undefined>, type = 'memory'): string[] =>
  (hints.get(type) ?? []).map(({ nodes, preferred }) => `${nodesOf(nodes ?? 0n)}${preferred ? '!' : ''}`);

describe('the state file', () => {
  it('has kubelet’s checksum', () => {
    // memorymanager/state/state_checkpoint_test.go, "Restore valid checkpoint": its policy is another one, no other mistake.
    const kubelets =
      '{"policyName":"static","machineState":{"0":{"numberOfAssignments":0,"memoryMap":{"memory":{"total":2048,' +
      '"systemReserved":512,"allocatable":1536,"reserved":512,"free":1024}},"cells":[]}},"entries":{"pod":{"container1":' +
      '[{"numaAffinity":[0],"type":"memory","size":512}]}},"checksum": 4215593881}';
    expect(() => readMemoryState(kubelets)).toThrow(
      '[memorymanager] configured policy "Static" differs from state checkpoint policy "static"',
    );
    expect(() => readMemoryState(kubelets.replace('"size":512', '"size":513'))).toThrow('is corrupt');
    expect(() => readMemoryState('{')).toThrow('is no JSON');
    expect(() => readMemoryState('{"policyName":"Static","machineState":{"0":7}}')).toThrow('is no state of a memory');
  });
});

describe('reservedMemory', () => {
  const nodes = nodesOfMachine(2);
  const check = (limits: readonly ResourceList[], needed: ResourceList): ReservedMemory =>
    reservedMemoryOf(
      limits.map((of, numaNode) => ({ numaNode, limits: of })),
      nodes,
      amountsOf(needed),
    );
  it('is what the node keeps back as a whole', () => {
    expect(
      check([{ memory: '1Gi' }, { memory: '512Mi', 'hugepages-1Gi': '1Gi' }], {
        memory: '1536Mi',
        cpu: '1',
        'hugepages-1Gi': '1Gi',
      }),
    ).toEqual(
      new Map([
        [0, { memory: GI }],
        [1, { memory: GI / 2, 'hugepages-1Gi': GI }],
      ]),
    );
  });
  it.each<[string, readonly ResourceList[], ResourceList, string]>([
    [
      'less',
      [{ memory: '1Gi' }],
      { memory: '1124Mi' },
      'the total amount "1Gi" of type "memory" is not equal to the value "1124Mi" determined by Node Allocatable feature',
    ],
    [
      'kinds that nobody keeps back',
      [{ memory: '1Gi', 'hugepages-1Gi': '1Gi' }],
      { memory: '1Gi' },
      '"1Gi" of type "hugepages-1Gi" is not equal to the value "0"',
    ],
    [
      'no such node',
      [{}, {}, { memory: '1Gi' }],
      { memory: '1Gi' },
      'references a NUMA node 2 that does not exist on this machine',
    ],
    ['more than there is', [{ memory: '9Gi' }], { memory: '9Gi' }, '9Gi of memory of NUMA node 0, which has 8Gi'],
  ])('refuses %s', (_what, limits, needed, message) => expect(() => check(limits, needed)).toThrow(message));
  it('is not looked at on a machine of too many nodes', () => {
    expect(() => reservedMemoryOf([], nodesOfMachine(17), {})).toThrow(
      'memoryManagerPolicy Static: unsupported on machines with more than 16 NUMA nodes, this one has 17',
    );
  });
});

describe('hints', () => {
  it('are the fewest nodes that have enough, then all others', async () => {
    const { manager } = await open(2);
    const of = asks('g', '6Gi', { 'hugepages-1Gi': '1Gi' });
    expect(shown(manager.hints(of, wants('a', '6Gi')))).toEqual(['0!', '1!', '0,1']);
    expect(shown(manager.podHints(of), 'hugepages-1Gi')).toEqual(['0!', '1!', '0,1']);
    expect(shown(manager.podHints(asks('h', '8Gi')))).toEqual(['0,1!']);
    expect([...manager.podHints(asks('i', '15Gi'))]).toEqual([['memory', []]]);
    const burstable = pod({ containers: [container('a', { resources: { requests: { memory: '1Gi' } } })] });
    expect(manager.podHints(burstable).size).toBe(0);
    expect(manager.wants(burstable)).toBe(false);
  });

  it('leave out nodes that are used alone or with others', async () => {
    const { manager, allocate } = await open(4);
    allocate(asks('pair', '10Gi'), near(0, 1));
    allocate(asks('alone', '1Gi'), near(2));
    expect(shown(manager.podHints(asks('x', '2Gi')))).toEqual(['2!', '3!', '0,1']);
    expect(shown(manager.podHints(asks('y', '10Gi')))).toEqual([]);
    expect(shown(manager.podHints(asks('z', '4Gi')))).toEqual(['2!', '3!', '0,1']);
  });

  it('of what a pod has already are where it has it', async () => {
    const { manager, allocate } = await open(2);
    const g = asks('g', '2Gi');
    allocate(g, near(1));
    expect(shown(manager.podHints(g))).toEqual(['1!']);
    expect(shown(manager.hints(g, wants('a', '2Gi')))).toEqual(['1!']);
    expect(shown(manager.hints(g, wants('a', '3Gi')))).toEqual([]);
  });
});

describe('memory of one’s own', () => {
  it('is on the fewest nodes, and the runtime is told of them', async () => {
    const { manager, allocate, state } = await open(2);
    expect(allocate(asks('g', '3Gi', { 'hugepages-1Gi': '1Gi' }))).toBeUndefined();
    expect(manager.memsOf('g', 'a')).toBe('0');
    expect(allocate(asks('h', '6Gi'))).toBeUndefined();
    expect(manager.memsOf('h', 'a')).toBe('1');
    const { machineState, entries } = await state();
    expect(entries['g']).toEqual({
      a: [
        { numaAffinity: [0], type: 'memory', size: 3 * GI },
        { numaAffinity: [0], type: 'hugepages-1Gi', size: GI },
      ],
    });
    expect(machineState[0]).toEqual({
      numberOfAssignments: 2,
      memoryMap: {
        'hugepages-1Gi': { total: 2 * GI, systemReserved: 0, allocatable: 2 * GI, reserved: GI, free: GI },
        memory: { total: 10 * GI, systemReserved: GI, allocatable: 7 * GI, reserved: 3 * GI, free: 4 * GI },
      },
      cells: [0],
    });
    const node = {
      memoryBytes: 20 * GI,
      cgroupVersion: 2 as const,
      cfsQuota: true,
      cfsPeriodUs: 100_000,
      hugepageSizes: [],
      swapAccounting: false,
      singleProcessOomKill: true,
      podPidsLimit: -1,
      memsOf: (uid: string, name: string) => manager.memsOf(uid, name),
    };
    expect(linuxResourcesOf(asks('h', '6Gi'), wants('a', '6Gi'), node).cpusetMems).toBe('1');
    expect(linuxResourcesOf(asks('x', '6Gi'), wants('a', '6Gi'), node)).not.toHaveProperty('cpusetMems');
  });

  it('goes over nodes that are then used together only', async () => {
    const { manager, allocate, free } = await open(4);
    allocate(asks('pair', '10Gi'));
    expect(manager.memsOf('pair', 'a')).toBe('0-1');
    expect(await free()).toEqual([0, 4, 7, 7]);
    expect(allocate(asks('small', '1Gi'))).toBeUndefined();
    expect(manager.memsOf('small', 'a')).toBe('2');
    expect(allocate(asks('again', '4Gi'), near(0, 1))).toBeUndefined();
    expect(await free()).toEqual([0, 0, 6, 7]);
    manager.forget('pair');
    manager.forget('again');
    expect(await free()).toEqual([7, 7, 6, 7]);
  });

  it('follows the nodes that all agree on, and takes more where these are not enough', async () => {
    const { manager, allocate } = await open(4);
    allocate(asks('g', '1Gi'), near(3));
    expect(manager.memsOf('g', 'a')).toBe('3');
    allocate(asks('wide', '9Gi'), { nodes: maskOf([1]), preferred: false });
    expect(manager.memsOf('wide', 'a')).toBe('0-1');
    // Node 0 is of a group now: what is to be there goes to the group.
    allocate(asks('grouped', '1Gi'), { nodes: maskOf([0]), preferred: false });
    expect(manager.memsOf('grouped', 'a')).toBe('0-1');
  });

  it.each<[string, Pod, Hint, string]>([
    [
      'more than there is',
      asks('g', '29Gi'),
      NO_AFFINITY,
      'failed to get the default NUMA affinity, no NUMA nodes with enough memory is available',
    ],
    [
      'nodes that have not enough',
      asks('g', '29Gi'),
      near(0),
      'failed to find NUMA nodes to extend the current topology hint',
    ],
    [
      'nodes of a group and one beside it',
      asks('g', '2Gi'),
      near(0, 2),
      'preferred hint violates NUMA node allocation',
    ],
    ['parts of bytes', asks('g', '1100m'), NO_AFFINITY, 'failed to represent quantity as int64'],
  ])('is refused for %s, in kubelet’s words', async (_what, of, hint, why) => {
    const { manager, allocate, metrics } = await open(4);
    allocate(asks('pair', '14Gi'), near(0, 1));
    allocate(asks('alone', '1Gi'), near(2));
    expect(allocate(of, hint)).toEqual({
      reason: 'UnexpectedAdmissionError',
      message: `Allocate failed due to [memorymanager] ${why}, which is unexpected`,
    });
    expect(manager.memsOf('g', 'a')).toBeUndefined();
    const text = await metrics.text();
    expect(text).toContain('kubelet_memory_manager_pinning_requests_total 3\n');
    expect(text).toContain('kubelet_memory_manager_pinning_errors_total 1\n');
  });

  it('of an init container serves those after it, and what is left over is free when they have begun', async () => {
    const { manager, allocate, free } = await open(1);
    const once = wants('once', '5Gi');
    const sidecar = wants('side', '1Gi', {}, { restartPolicy: 'Always' });
    const g = pod({ initContainers: [once, sidecar], containers: [wants('a', '2Gi')] }, { uid: 'g' });
    expect(allocate(g)).toBeUndefined();
    expect(await free()).toEqual([2]);
    expect(manager.blocksOf('g', 'once')).toEqual([{ numaAffinity: [0], type: 'memory', size: 2 * GI }]);
    const active = (...running: Container[]): readonly ActivePod[] => [
      {
        pod: g,
        runtime: runtime(
          [sandbox()],
          running.map((one) => record(one, {})),
        ),
      },
    ];
    manager.takeBack(() => active(once));
    expect(await free()).toEqual([2]);
    manager.takeBack(() => active(once, sidecar));
    expect(await free()).toEqual([4]);
    expect(manager.memsOf('g', 'once')).toBeUndefined();
    manager.takeBack(() => []);
    expect(await free()).toEqual([7]);
  });

  it('is the same after a restart; what does not fit the machine is not guessed at', async () => {
    const first = await open(4);
    first.allocate(asks('pair', '10Gi'), near(0, 1));
    first.allocate(asks('g', '2Gi', { 'hugepages-1Gi': '2Gi' }));
    const before = await first.state();
    const second = await open(4, first.files);
    expect(second.manager.memsOf('g', 'a')).toBe('2');
    expect(await second.state()).toEqual(before);
    await expect(open(4, first.files, new Map([[0, { memory: 2 * GI }]]))).rejects.toThrow(
      /does not fit: \[memorymanager\] the expected machine state is different from the real one; please drain this node and delete the memory manager checkpoint file/,
    );
    await expect(open(2, first.files)).rejects.toThrow(
      'does not fit: [memorymanager] (pod: g, container: a) the memory assignment uses the NUMA that does not exist',
    );
  });

  it('is told of by node, given away or not', async () => {
    const { manager, allocate } = await open(1);
    allocate(asks('g', '7Gi'));
    expect(manager.allocatable()).toEqual([
      { numaAffinity: [0], type: 'hugepages-1Gi', size: 2 * GI },
      { numaAffinity: [0], type: 'memory', size: 7 * GI },
    ]);
  });
});

describe('whatever comes and goes', () => {
  interface Step {
    readonly uid: string;
    readonly sizes: readonly number[];
    readonly pages: number;
    readonly nodes: readonly number[];
    readonly what: 'come' | 'go' | 'restart';
  }
  const NODES = [0, 1, 2, 3];
  const step: fc.Arbitrary<Step> = fc.record({
    uid: fc.constantFrom('p', 'q', 'r', 's', 't', 'u'),
    sizes: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 }),
    pages: fc.integer({ min: 0, max: 3 }),
    nodes: fc.subarray(NODES),
    what: fc.constantFrom('come', 'come', 'come', 'go', 'restart'),
  });
  /** The first is an init container, the second a sidecar, where there are so many. */
  const podOf = ({ uid, sizes, pages }: Step): Pod => {
    const huge: ResourceList = pages === 0 ? {} : { 'hugepages-1Gi': `${pages}Gi` };
    const all = sizes.map((size, at) =>
      wants(
        `c${at}`,
        `${size}Gi`,
        at === 0 ? huge : {},
        at === 1 && sizes.length > 2 ? { restartPolicy: 'Always' } : {},
      ),
    );
    const inits = Math.max(0, Math.min(2, sizes.length - 1));
    return pod({ initContainers: all.slice(0, inits), containers: all.slice(inits) }, { uid, name: uid });
  };

  it('no byte is given twice, all come back, and a restart changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        let { manager, files, allocate, state } = await open(4);
        const empty = await state();
        const here = new Set<string>();
        for (const one of steps) {
          if (one.what === 'restart') {
            const before = await state();
            ({ manager, files, allocate, state } = await open(4, files));
            expect(await state()).toEqual(before);
          } else if (one.what === 'go') {
            manager.forget(one.uid);
            here.delete(one.uid);
          } else if (!here.has(one.uid)) {
            const hint = one.nodes.length === 0 ? NO_AFFINITY : { nodes: maskOf(one.nodes), preferred: false };
            if (allocate(podOf(one), hint) === undefined) here.add(one.uid);
          }
          const now = await state();
          expect(new Set(Object.keys(now.entries))).toEqual(here);
          checkBooks(now);
        }
        for (const uid of here) manager.forget(uid);
        expect(await state()).toEqual(empty);
      }),
      { numRuns: 60 },
    );
  });
});

/** What blocks say and what nodes say is the same, group by group, and within what there is. */
function checkBooks({ machineState, entries }: MemoryState): void {
  const blocks = Object.values(entries).flatMap((containers) => Object.values(containers).flat());
  for (const [id, { cells, memoryMap, numberOfAssignments }] of Object.entries(machineState)) {
    const mine = blocks.filter(({ numaAffinity }) => numaAffinity.includes(Number(id)));
    expect(mine).toHaveLength(numberOfAssignments);
    for (const { numaAffinity } of mine) expect(numaAffinity).toEqual(cells);
    for (const [type, { allocatable, reserved, free }] of Object.entries(memoryMap)) {
      expect(free).toBeGreaterThanOrEqual(0);
      expect(reserved).toBeGreaterThanOrEqual(0);
      expect(free + reserved).toBe(allocatable);
      const given = mine.filter((block) => block.type === type).reduce((sum, { size }) => sum + size, 0);
      const counted = cells.reduce((sum, cell) => sum + (machineState[cell]?.memoryMap[type]?.reserved ?? 0), 0);
      expect(counted).toBe(given);
    }
  }
}
