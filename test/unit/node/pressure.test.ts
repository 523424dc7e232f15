import { describe, expect, test } from 'vitest';
import { FakeMachine } from '../../../src/host/machine/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { Observations } from '../../../src/model/eviction.ts';
import {
  afterObservation,
  type EvictionOptions,
  evictionThresholds,
  noPressure,
  pressuresOf,
} from '../../../src/node/pressure.ts';
import { type MemoryUse, PressureMonitor } from '../../../src/node/pressure-monitor.ts';

const GIB = 2 ** 30;
const options: EvictionOptions = {
  hard: { 'memory.available': '100Mi', 'nodefs.available': '10%', 'imagefs.available': '15%', 'pid.available': '0%' },
  soft: {},
  softGraceMs: {},
  minimumReclaim: {},
  transitionMs: 300_000,
  podsEnforced: true,
};

describe('thresholds', () => {
  const signals = (given: Partial<EvictionOptions>, layout: 'single' | 'imagefs' | 'split') =>
    evictionThresholds({ ...options, ...given }, layout).map(({ signal }) => signal);

  test('the pods have the memory threshold of the node; 0 % is none', () => {
    expect(signals({}, 'single')).toEqual([
      'memory.available',
      'allocatableMemory.available',
      'nodefs.available',
      'imagefs.available',
      'containerfs.available',
    ]);
    expect(signals({ podsEnforced: false }, 'single')).not.toContain('allocatableMemory.available');
  });

  test('containerfs follows the file system that it is on, whatever is configured for it', () => {
    const given = { hard: { ...options.hard, 'containerfs.available': '99%' } };
    const share = (layout: 'single' | 'imagefs' | 'split') =>
      evictionThresholds({ ...options, ...given }, layout).find(({ signal }) => signal === 'containerfs.available')
        ?.value;
    expect(share('single')).toEqual({ share: Math.fround(0.1) });
    expect(share('imagefs')).toEqual({ share: Math.fround(0.15) });
    expect(share('split')).toEqual({ share: Math.fround(0.1) });
  });
});

describe('pressure', () => {
  const history = (given: Partial<EvictionOptions>, steps: readonly [at: number, available: number][]) => {
    const all = { ...options, ...given };
    const thresholds = evictionThresholds(all, 'single');
    let state = noPressure;
    return steps.map(([at, available]) => {
      const observed: Observations = { 'memory.available': { available, capacity: 4 * GIB } };
      state = afterObservation(state, thresholds, observed, at);
      return pressuresOf(state, all.transitionMs, at).has('memory');
    });
  };

  test('shows below the threshold, not at it, and stays for the transition period', () => {
    const limit = 100 * 2 ** 20;
    expect(
      history({}, [
        [0, limit],
        [10, limit - 1],
        [20, GIB],
        [300_009, GIB],
        [300_010, GIB],
      ]),
    ).toEqual([false, true, true, true, false]);
  });

  test('a soft threshold shows before its grace period is over; afterwards it ends only with the minimum reclaimed', () => {
    const given = {
      hard: {},
      soft: { 'memory.available': '1Gi' },
      softGraceMs: { 'memory.available': 60_000 },
      minimumReclaim: { 'memory.available': '1Gi' },
      transitionMs: 1,
    };
    const below = GIB / 2;
    const between = 1.5 * GIB;
    expect(
      history(given, [
        [0, below],
        // Not met for its grace period yet: the minimum does not count.
        [10_000, between],
        [20_000, below],
        [80_000, below],
        [90_000, between],
        [100_000, 2 * GIB],
      ]),
    ).toEqual([true, false, true, true, true, false]);
  });
});

describe('PressureMonitor', () => {
  function setUp() {
    const clock = new ManualClock();
    const machine = new FakeMachine();
    const full = { capacityBytes: 100 * GIB, inodes: 1000, inodesFree: 900 };
    machine.mount('/var/lib/kubelet', { ...full, availableBytes: 50 * GIB });
    machine.mount('/images', { ...full, availableBytes: 50 * GIB });
    const node: { -readonly [K in keyof MemoryUse]: MemoryUse[K] } = {
      usedBytes: 2 * GIB,
      inactiveFileBytes: GIB,
      limitBytes: 4 * GIB,
    };
    const pods = { usedBytes: GIB, inactiveFileBytes: 0, limitBytes: 3 * GIB };
    let invalid = 0;
    let hang: Promise<void> | undefined;
    const monitor = new PressureMonitor(
      { ...options, hard: { ...options.hard, 'pid.available': '1000' }, rootDir: '/var/lib/kubelet', maxPids: 32_768 },
      {
        machine,
        memory: async () => ({ node: { ...node }, pods: { ...pods } }),
        imageMounts: async () => {
          await hang;
          return { images: '/images', containers: undefined };
        },
        invalidDiskCapacity: () => void invalid++,
        clock,
        logger: silent,
      },
    );
    const read = async () => {
      const answer = monitor.read();
      await clock.advance(2100);
      return [...(await answer)];
    };
    const later = () => clock.advance(9000);
    return {
      clock,
      machine,
      monitor,
      node,
      pods,
      full,
      read,
      later,
      invalid: () => invalid,
      hangOn: (on: Promise<void>) => (hang = on),
    };
  }

  test('page cache that the kernel takes back counts as available', async () => {
    const { node, read, later } = setUp();
    expect(await read()).toEqual([]);
    node.usedBytes = 4 * GIB;
    await later();
    expect(await read()).toEqual([]);
    node.inactiveFileBytes = 0;
    await later();
    expect(await read()).toEqual(['memory']);
  });

  test('pods at the limit of their cgroup are memory pressure; few process ids are PID pressure', async () => {
    const { machine, pods, read, later } = setUp();
    pods.usedBytes = 3 * GIB;
    expect(await read()).toEqual(['memory']);
    machine.inUse = { memoryUsedBytes: GIB, tasks: 31_769 };
    await later();
    expect(await read()).toEqual(['memory', 'pid']);
  });

  test('the images’ file system has thresholds of its own; one without a size is told of', async () => {
    const { machine, full, read, later, invalid } = setUp();
    machine.mount('/images', { ...full, availableBytes: 14 * GIB });
    expect(await read()).toEqual(['disk']);
    expect(invalid()).toBe(0);
    machine.mount('/images', { capacityBytes: 0, availableBytes: 0, inodes: 0, inodesFree: 0 });
    await later();
    await read();
    expect(invalid()).toBe(1);
  });

  test('a runtime that hangs holds nothing up', async () => {
    const { clock, monitor, hangOn } = setUp();
    hangOn(new Promise(() => {}));
    const started = clock.monotonic();
    const answer = monitor.read();
    await clock.advance(2000);
    expect([...(await answer)]).toEqual([]);
    expect(clock.monotonic() - started).toBeLessThanOrEqual(2000);
  });
});
