import { describe, expect, it } from 'vitest';
import type { DiskLayout, Signal } from '../../../../src/model/eviction.ts';
import type { Pod, PodSpec } from '../../../../src/model/pod.ts';
import type { PodUsage } from '../../../../src/pods/eviction/pod-usage.ts';
import { rankPods } from '../../../../src/pods/eviction/rank-pods.ts';

const MIB = 2 ** 20;

interface Case {
  readonly name: string;
  readonly requests?: Record<string, string>;
  readonly spec?: Partial<PodSpec>;
  readonly usage?: Partial<PodUsage>;
}

function podOf({ name, requests, spec }: Case): Pod {
  const resources = requests === undefined ? {} : { resources: { requests } };
  return { metadata: { name, uid: name }, spec: { containers: [{ name: 'c', image: 'i', ...resources }], ...spec } };
}

function order(signal: Signal, layout: DiskLayout, cases: readonly Case[]): string[] {
  const usages = new Map(cases.map(({ name, usage }) => [name, usage]));
  const ranked = rankPods(signal, layout, cases.map(podOf), ({ metadata }) => {
    const usage = usages.get(metadata.name ?? '');
    return usage === undefined ? undefined : { containers: [], volumes: new Map(), ...usage };
  });
  return ranked.map(({ metadata }) => metadata.name ?? '');
}

const uses = (mib: number): Partial<PodUsage> => ({ memoryBytes: mib * MIB });
const fs = (mib: number, inodes = 0) => ({ usedBytes: mib * MIB, inodes });

describe('rankPods', () => {
  it('for memory: above the request, then priority, then by how much', () => {
    const cases: Case[] = [
      { name: 'within-low', requests: { memory: '500Mi' }, spec: { priority: -10 }, usage: uses(400) },
      { name: 'within-high', requests: { memory: '500Mi' }, spec: { priority: 10 }, usage: uses(499) },
      { name: 'exactly', requests: { memory: '100Mi' }, usage: uses(100) },
      { name: 'over-high', requests: { memory: '10Mi' }, spec: { priority: 10 }, usage: uses(900) },
      { name: 'over-little', requests: { memory: '100Mi' }, usage: uses(101) },
      { name: 'over-much', requests: { memory: '1Mi' }, usage: uses(50) },
      { name: 'no-request', usage: uses(20) },
    ];
    const expected = ['over-much', 'no-request', 'over-little', 'over-high', 'within-low', 'exactly', 'within-high'];
    expect(order('memory.available', 'single', cases)).toEqual(expected);
    expect(order('allocatableMemory.available', 'imagefs', [...cases].reverse())).toEqual(expected);
  });

  it('a pod of which nothing is known goes first', () => {
    const cases: Case[] = [
      { name: 'greedy', usage: uses(1000) },
      { name: 'unknown', spec: { priority: 1000 } },
    ];
    expect(order('memory.available', 'single', cases)).toEqual(['unknown', 'greedy']);
  });

  it('overhead and pod-level requests count', () => {
    const cases: Case[] = [
      { name: 'overhead', requests: { memory: '100Mi' }, spec: { overhead: { memory: '50Mi' } }, usage: uses(140) },
      { name: 'pod-level', spec: { resources: { requests: { memory: '150Mi' } } }, usage: uses(120) },
      { name: 'overhead-only', spec: { overhead: { memory: '50Mi' } }, usage: uses(10) },
    ];
    expect(order('memory.available', 'single', cases)).toEqual(['overhead-only', 'overhead', 'pod-level']);
  });

  it('for process ids: priority, then their number', () => {
    const cases: Case[] = [
      { name: 'few', usage: { processes: 3 } },
      { name: 'many', usage: { processes: 300 } },
      { name: 'important', spec: { priority: 5 }, usage: { processes: 1000 } },
    ];
    expect(order('pid.available', 'single', cases)).toEqual(['many', 'few', 'important']);
  });

  describe('for disk', () => {
    const volumes = [
      { name: 'v', emptyDir: {} },
      { name: 'ram', emptyDir: { medium: 'Memory' } },
    ];
    const cases: Case[] = [
      { name: 'layer', usage: { containers: [{ name: 'c', rootfs: fs(30, 5) }] } },
      { name: 'logs', usage: { containers: [{ name: 'c', logs: fs(20, 50) }] } },
      {
        name: 'volume',
        spec: { volumes },
        usage: {
          volumes: new Map([
            ['v', fs(10, 500)],
            ['ram', fs(900, 9000)],
          ]),
        },
      },
      {
        name: 'asked',
        requests: { 'ephemeral-storage': '1Gi' },
        usage: { containers: [{ name: 'c', logs: fs(999, 1) }] },
      },
    ];

    it.each<[Signal, DiskLayout, readonly string[]]>([
      ['nodefs.available', 'single', ['layer', 'logs', 'volume', 'asked']],
      ['imagefs.available', 'single', ['layer', 'logs', 'volume', 'asked']],
      // The layer is elsewhere: it is not above its request here, as little as what asked for enough.
      ['nodefs.available', 'imagefs', ['logs', 'volume', 'layer', 'asked']],
      ['imagefs.available', 'imagefs', ['layer', 'logs', 'volume', 'asked']],
      ['containerfs.available', 'imagefs', ['layer', 'logs', 'volume', 'asked']],
      ['containerfs.available', 'split', ['layer', 'logs', 'volume', 'asked']],
      ['nodefs.inodesFree', 'single', ['volume', 'logs', 'layer', 'asked']],
    ])('%s on a node with layout %s', (signal, layout, expected) => {
      expect(order(signal, layout, cases)).toEqual(expected);
    });
  });
});
