import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCpus, parseCpus } from '../../../../src/model/cpu-set.ts';
import type { Cpu, CpuTopology } from '../../../../src/pods/managers/cpu-topology.ts';
import { distributeCpus } from '../../../../src/pods/managers/distribute-cpus.ts';
import { takeCpus } from '../../../../src/pods/managers/take-cpus.ts';

const set = (list: string): Set<number> => parseCpus(list) ?? new Set();
const machine = (
  count: number,
  of: (id: number) => Omit<Cpu, 'id' | 'uncoreCache'> & { uncoreCache?: number },
): CpuTopology => Array.from({ length: count }, (_, id) => ({ id, uncoreCache: of(id).socket, ...of(id) }));

// The machines of kubelet's cpumanager/policy_test.go, and rows of its cpu_assignment_test.go.
const singleHT = machine(8, (id) => ({ core: id % 4, socket: 0, numaNode: 0 }));
const dualHT = machine(12, (id) => ({ core: id % 6, socket: id % 2, numaNode: id % 2 }));
const fourNodesHT = machine(80, (id) => ({
  core: id % 40,
  socket: Math.floor((id % 40) / 20),
  numaNode: Math.floor((id % 40) / 10),
}));
const eightNodesHT = machine(256, (id) => ({
  core: id % 128,
  socket: Math.floor((id % 128) / 64),
  numaNode: Math.floor((id % 128) / 16),
}));
const oneCache = dualHT.map((cpu) => ({ ...cpu, uncoreCache: 0 }));
const cachesNoSMT = machine(16, (id) => ({ core: id, socket: 0, numaNode: 0, uncoreCache: id >> 2 }));
const cachesDual = machine(16, (id) => ({ core: id, socket: id >> 3, numaNode: 0, uncoreCache: id >> 2 }));
const cachesNodes = machine(16, (id) => ({ core: id, socket: 0, numaNode: id >> 3, uncoreCache: id >> 2 }));
const cachesSMT = machine(16, (id) => ({ core: id % 8, socket: 0, numaNode: 0, uncoreCache: (id % 8) >> 2 }));

describe('packed', () => {
  it.each<[CpuTopology, string, number, string]>([
    [singleHT, '0-7', 2, '0,4'],
    [singleHT, '0-3,6', 2, '2,6'],
    [dualHT, '0-11', 6, '0,2,4,6,8,10'],
    [dualHT, '1-5,7-11', 1, '2'],
    [dualHT, '0-11', 8, '0-2,4,6-8,10'],
    [fourNodesHT, '0-79', 40, '0-19,40-59'],
    [fourNodesHT, '0-79', 20, '0-9,40-49'],
    [fourNodesHT, '10-39,50-79', 20, '10-19,50-59'],
    [fourNodesHT, '0-79', 60, '0-29,40-69'],
    [fourNodesHT, '1-39,41-79', 60, '10-39,50-79'],
    [fourNodesHT, '0-79', 64, '0-31,40-71'],
  ])('%#: of %s', (topology, available, count, taken) => {
    expect(formatCpus(takeCpus(topology, set(available), count) ?? [])).toBe(taken);
  });
});

describe('prefer-align-cpus-by-uncorecache', () => {
  it.each<[string, CpuTopology, string, number, string]>([
    ['two whole caches and a part of one', cachesNoSMT, '1-15', 10, '1-2,4-11'],
    ['a thread, where all share one cache', oneCache, '1-5,7-11', 1, '1'],
    ['the first of the first socket', cachesDual, '0-15', 4, '0-3'],
    ['all of the first socket', cachesDual, '2-15', 6, '2-7'],
    ['the first of the second socket', cachesDual, '8-15', 4, '8-11'],
    ['what is left of one, on the node with the most', cachesNodes, '3-8,12', 2, '4-5'],
    ['the one that has enough, core by core', cachesSMT, '2-7,10-15', 6, '4-6,12-14'],
    ['a whole one and a core of the other', cachesSMT, '1-7,9-15', 10, '1,4-7,9,12-15'],
  ])('takes %s', (_what, topology, available, count, taken) => {
    expect(formatCpus(takeCpus(topology, set(available), count, { byUncoreCache: true }) ?? [])).toBe(taken);
  });
});

describe('distribute-cpus-across-cores', () => {
  it.each<[CpuTopology, string, number, string]>([
    [singleHT, '0-7', 3, '0-2'],
    [dualHT, '0-11', 2, '0,2'],
    [dualHT, '0-11', 3, '0,2,4'],
    [dualHT, '0-11', 8, '0-4,6,8,10'],
    [fourNodesHT, '0-79', 12, '0-11'],
  ])('%#: takes a thread of each core', (topology, available, count, taken) => {
    expect(formatCpus(takeCpus(topology, set(available), count, { spread: true }) ?? [])).toBe(taken);
  });
});

describe('distribute-cpus-across-numa', () => {
  it.each<[string, CpuTopology, string, number, number, string]>([
    ['as one node has enough', dualHT, '1-5,7-11', 1, 1, '1'],
    ['what no core divides is packed', dualHT, '1-5,7-11', 1, 2, '2'],
    ['2 cores of each node', dualHT, '0-11', 8, 1, '0-3,6-9'],
    ['8 cores of each node', fourNodesHT, '0-79', 64, 1, '0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77'],
    ['8 cores of three nodes', fourNodesHT, '0-79', 48, 1, '0-7,10-17,20-27,40-47,50-57,60-67'],
    [
      'of a node that is used as well',
      fourNodesHT,
      '1-29,32-39,41-69,72-79',
      48,
      1,
      '1-8,10-17,20-27,41-48,50-57,60-67',
    ],
    [
      'of the nodes that stay the most even',
      fourNodesHT,
      '2-29,31-39,42-69,71-79',
      48,
      1,
      '10-17,20-27,31-38,50-57,60-67,71-78',
    ],
    [
      '2 cores of each where no more are free',
      fourNodesHT,
      '0-2,10-12,20-22,30-32,40-41,50-51,60-61,70-71',
      16,
      1,
      '0-1,10-11,20-21,30-31,40-41,50-51,60-61,70-71',
    ],
    ['13 cores of two nodes', fourNodesHT, '0-79', 26, 1, '0-6,10-16,40-45,50-55'],
    ['13 whole cores of two nodes', fourNodesHT, '0-79', 26, 2, '0-6,10-15,40-46,50-55'],
    ['31 cores', fourNodesHT, '0-79', 62, 1, '0-7,10-17,20-27,30-37,40-47,50-57,60-66,70-76'],
    ['31 whole cores', fourNodesHT, '0-79', 62, 2, '0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76'],
    [
      'the rest of nodes where more is free',
      fourNodesHT,
      '0-8,10-18,20-39,40-48,50-58,60-79',
      62,
      1,
      '0-7,10-17,20-27,30-37,40-46,50-56,60-67,70-77',
    ],
    [
      'the rest in whole cores',
      fourNodesHT,
      '0-8,10-18,20-39,40-48,50-58,60-79',
      62,
      2,
      '0-7,10-16,20-27,30-37,40-47,50-56,60-67,70-77',
    ],
    [
      'the rest of nodes that have it',
      fourNodesHT,
      '0-3,10-13,20-23,30-36,40-43,50-53,60-63,70-76',
      34,
      1,
      '0-3,10-13,20-23,30-34,40-43,50-53,60-63,70-74',
    ],
    [
      'what a live machine had once failed on',
      eightNodesHT,
      '0,128,30,31,158,159,43-47,171-175,62,63,190,191,75-79,203-207,94,96,222,223,101-111,229-239,126,127,254,255',
      28,
      1,
      '43-47,75-79,96,101-105,171-174,203-206,229-232',
    ],
  ])('%s', (_what, topology, available, count, groupSize, taken) => {
    expect(formatCpus(distributeCpus(topology, set(available), count, groupSize) ?? [])).toBe(taken);
  });
});

it('whatever the strategy, exactly so many come, and only free ones', () => {
  const strategies: ((free: Set<number>, count: number) => Set<number> | undefined)[] = [
    (free, count) => takeCpus(fourNodesHT, free, count),
    (free, count) => takeCpus(fourNodesHT, free, count, { spread: true }),
    (free, count) => takeCpus(fourNodesHT, free, count, { byUncoreCache: true }),
    (free, count) => distributeCpus(fourNodesHT, free, count, 1),
    (free, count) => distributeCpus(fourNodesHT, free, count, 2),
  ];
  const ids = fourNodesHT.map(({ id }) => id);
  fc.assert(
    fc.property(fc.subarray(ids), fc.nat(80), fc.constantFrom(...strategies), (free, count, strategy) => {
      const taken = strategy(new Set(free), count);
      if (count > free.length) expect(taken).toBeUndefined();
      else {
        expect(taken?.size).toBe(count);
        for (const id of taken ?? []) expect(free).toContain(id);
      }
    }),
    { numRuns: 200 },
  );
});
