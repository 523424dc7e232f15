import { beforeEach, describe, expect, it } from 'vitest';
import type { PodInRuntime } from '../../../src/api/port.ts';
import { cadvisorMetrics } from '../../../src/api/stats/cadvisor-metrics.ts';
import { CpuRates } from '../../../src/api/stats/cpu-rates.ts';
import { NodeUsageSource } from '../../../src/api/stats/node-usage.ts';
import { resourceMetrics } from '../../../src/api/stats/resource-metrics.ts';
import { statsSummary } from '../../../src/api/stats/summary.ts';
import type { CgroupCounters, CountersPort } from '../../../src/host/counters/port.ts';
import { FakeMachine } from '../../../src/host/machine/fake.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { MetricText } from '../../../src/kit/metric-text.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { parseMetrics } from '../../harness/prometheus-text.ts';

/** Cgroups whose CPU time goes on with the clock. */
class Kernel implements CountersPort {
  readonly cores = new Map<string, number>();
  readonly reads: (readonly string[])[] = [];
  private readonly clock: ManualClock;
  constructor(clock: ManualClock) {
    this.clock = clock;
  }
  cgroups(paths: readonly string[]): Promise<readonly (CgroupCounters | undefined)[]> {
    this.reads.push(paths);
    const atMs = this.clock.now();
    return Promise.resolve(
      paths.map((path) => {
        const cores = this.cores.get(path);
        if (cores === undefined) return undefined;
        const cpuNanoseconds = Math.round(cores * this.clock.monotonic() * 1e6);
        return {
          atMs,
          cpuNanoseconds,
          memoryBytes: 3000,
          workingSetBytes: 2000,
          memoryLimitBytes: 5000,
          processes: 2,
          pid: 7,
        };
      }),
    );
  }
  network() {
    return [
      {
        name: 'eth0',
        rxBytes: 1,
        rxPackets: 1,
        rxErrors: 0,
        rxDropped: 0,
        txBytes: 2,
        txPackets: 2,
        txErrors: 0,
        txDropped: 0,
      },
    ];
  }
  files() {
    return { bytes: 10, count: 1 };
  }
}

let clock: ManualClock;
let kernel: Kernel;
let usage: NodeUsageSource;
const pod = (name: string): Pod =>
  ({ metadata: { name, namespace: 'ns', uid: name }, spec: { containers: [{ name: 'c' }] } }) as unknown as Pod;
const runtime = (name: string): PodInRuntime => ({
  uid: name,
  namespace: 'ns',
  name,
  sandboxes: [{ id: 'sb', state: 'READY', createdAt: 1000, ips: [], hostNetwork: false }],
  containers: [
    {
      id: 'new',
      name: 'c',
      sandboxId: 'sb',
      state: 'RUNNING',
      restartCount: 1,
      createdAt: 3000,
      startedAt: 3000,
      image: 'a"b',
      imageRef: '',
      provisional: false,
    },
    {
      id: 'old',
      name: 'c',
      sandboxId: 'sb',
      state: 'EXITED',
      restartCount: 0,
      createdAt: 2000,
      startedAt: 2000,
      image: 'a',
      imageRef: '',
      provisional: false,
    },
  ],
});

beforeEach(async () => {
  clock = new ManualClock();
  await clock.advance(60_000);
  kernel = new Kernel(clock);
  const pods = [pod('a'), pod('b'), pod('not-running')];
  for (const path of ['/', '/kubepods', '/kubepods/a', '/kubepods/a/new', '/kubepods/a/sb', '/kubepods/b'])
    kernel.cores.set(path, 0.5);
  usage = new NodeUsageSource({
    counters: kernel,
    pods: { values: () => pods, find: () => undefined },
    runtime: {
      get: (uid) => (uid === 'not-running' ? undefined : runtime(uid)),
      uids: () => ['a', 'b'],
      subscribe: () => () => {},
    },
    cgroupOf: ({ metadata }) => `/kubepods/${metadata.uid}`,
    podsCgroup: '/kubepods',
    memoryUsedBytes: () => Promise.resolve(9),
    clock,
  });
});

describe('what the node uses', () => {
  it('is measured in one pass for all who ask within a second', async () => {
    const [first, second] = await Promise.all([usage.get('usage'), usage.get('usage')]);
    expect(second).toBe(first);
    expect(kernel.reads).toEqual([
      ['/', '/kubepods', '/kubepods/a', '/kubepods/a/new', '/kubepods/b', '/kubepods/b/new'],
    ]);
    expect(first.pods.map(({ name, containers }) => [name, containers.map(({ id }) => id)])).toEqual([
      ['a', ['new']],
      ['b', ['new']],
    ]);
    await clock.advance(999);
    expect(await usage.get('usage')).toBe(first);
    await clock.advance(1);
    expect(await usage.get('usage')).not.toBe(first);
  });

  it('has rates from the second measurement on', async () => {
    expect((await usage.get('usage')).node?.rate).toBeUndefined();
    await clock.advance(2000);
    expect((await usage.get('usage')).node?.rate).toEqual({ nanoCores: 500_000_000, spanMs: 2000 });
    await clock.advance(300_000);
    expect((await usage.get('usage')).node?.rate).toBeUndefined();
  });
});

describe('a CPU rate', () => {
  it('spans some ten seconds however often it is asked for, and begins anew with another container', () => {
    const rates = new CpuRates();
    const spans = [];
    for (let second = 0; second < 60; second += 0.5) {
      const rate = rates.rate('x', { cpuNanoseconds: second * 1e9, atMs: second * 1000 });
      if (rate !== undefined) {
        expect(rate.nanoCores).toBe(1e9);
        spans.push(rate.spanMs);
      }
    }
    const settled = spans.slice(40);
    expect([Math.min(...settled), Math.max(...settled)]).toEqual([10_000, 19_500]);
    expect(rates.rate('x', { cpuNanoseconds: 1, atMs: 60_000 })).toBeUndefined();
    rates.forgetOthers(new Set());
    expect(rates.rate('x', { cpuNanoseconds: 2, atMs: 70_000 })).toBeUndefined();
  });
});

describe('what is shown of it', () => {
  it('is text that Prometheus reads', async () => {
    const resource = parseMetrics(resourceMetrics(await usage.get('usage')).toString());
    const of = (name: string) => resource.samples.filter((sample) => sample.name === name);
    expect(of('pod_cpu_usage_seconds_total').map(({ labels, value }) => [labels['pod'], value])).toEqual([
      ['a', 30],
      ['b', 30],
    ]);
    expect(of('container_start_time_seconds')).toMatchObject([{ value: 3 }, { value: 3 }]);
    expect(of('resource_scrape_error')).toMatchObject([{ value: 0, labels: {} }]);
    expect(resource.types.get('container_cpu_usage_seconds_total')).toBe('counter');
    expect(parseMetrics(resourceMetrics(undefined).toString()).samples).toMatchObject([
      { name: 'resource_scrape_error', value: 1 },
    ]);
    const facts = await new FakeMachine().facts();
    const text = cadvisorMetrics(await usage.get('all'), undefined, facts, kernel.network());
    const { samples } = parseMetrics(text.toString());
    expect(
      samples.find(({ name, labels }) => name === 'container_memory_rss' && labels['container'] === 'c'),
    ).toBeUndefined();
    expect(
      samples.filter(({ name, labels }) => name === 'container_memory_working_set_bytes' && labels['image'] === 'a"b'),
    ).toMatchObject([{ value: 2000, labels: { id: '/kubepods/a/new', name: 'new', pod: 'a' } }]);
  });

  it('is a summary as metrics-server of old and kubectl read it', async () => {
    await usage.get('all');
    await clock.advance(10_000);
    const filesystem = { device: 1, capacityBytes: 100, availableBytes: 40, inodes: 10, inodesFree: 4, atMs: 0 };
    const summary = statsSummary(
      await usage.get('all'),
      {
        node: filesystem,
        image: { ...filesystem, usedBytes: 5, inodesUsed: 1 },
        container: { ...filesystem, usedBytes: 5, inodesUsed: 1 },
        containers: new Map([['new', { atMs: 0, usedBytes: 7, inodesUsed: 2 }]]),
        volumesOf: (uid) =>
          new Map(
            uid === 'a'
              ? [
                  ['v', { ...filesystem, usedBytes: 3, inodesUsed: 1, ephemeral: true }],
                  [
                    'data',
                    {
                      ...filesystem,
                      usedBytes: 50,
                      inodesUsed: 5,
                      ephemeral: false,
                      claim: { namespace: 'ns', name: 'claimed' },
                      condition: { abnormal: true },
                    },
                  ],
                ]
              : [],
          ),
      },
      {
        nodeName: 'n',
        bootedAt: 0,
        maxPids: 99,
        tasks: 9,
        network: kernel.network(),
        mainInterface: 'eth0',
        logsOf: () => ({ bytes: 10, count: 1 }),
      },
    );
    expect(summary).toMatchObject({
      node: {
        nodeName: 'n',
        cpu: { usageNanoCores: 500_000_000 },
        memory: { workingSetBytes: 2000, availableBytes: 3000 },
        fs: { usedBytes: 60, inodesUsed: 6 },
        runtime: { imageFs: { usedBytes: 5 } },
        network: { name: 'eth0', rxBytes: 1 },
      },
      pods: [
        {
          podRef: { name: 'a', namespace: 'ns', uid: 'a' },
          containers: [{ name: 'c', rootfs: { usedBytes: 7 }, logs: { usedBytes: 10 } }],
          volume: [
            { name: 'v', usedBytes: 3 },
            {
              name: 'data',
              usedBytes: 50,
              inodesFree: 4,
              pvcRef: { namespace: 'ns', name: 'claimed' },
              volumeHealthStats: { abnormal: true },
            },
          ],
          'ephemeral-storage': { usedBytes: 20, inodesUsed: 4 },
          process_stats: { process_count: 2 },
        },
        { podRef: { name: 'b' } },
      ],
    });
    const brief = JSON.parse(
      JSON.stringify(
        statsSummary(await usage.get('usage'), undefined, {
          nodeName: 'n',
          bootedAt: 0,
          maxPids: 9,
          tasks: undefined,
          network: undefined,
          mainInterface: undefined,
          logsOf: () => undefined,
        }),
      ),
    );
    expect(Object.keys(brief.pods[0]).sort()).toEqual(['containers', 'cpu', 'memory', 'podRef', 'startTime']);
  });
});

describe('the parser of metrics', () => {
  it.each([
    ['a 1\n', 'no TYPE'],
    ['# HELP a b\n# TYPE a counter\na 1', 'no end'],
    ['# HELP a b\n# TYPE a counter\na -1\n', 'below 0'],
    ['# HELP a b\n# TYPE a gauge\na 1\na 2\n', 'twice'],
    ['# HELP a b\n# TYPE a gauge\na{x="1"} 1\na{y="1"} 2\n', 'labels'],
    ['# HELP a b\n# TYPE a gauge\na{x="\\q"} 1\n', 'bad labels'],
    ['# HELP a b\n# TYPE a gauge\na one\n', 'no number'],
    ['# HELP a b\n# TYPE a gauge\na 1\n# HELP b b\n# TYPE b gauge\nb 1\na{} 1\n', 'one piece'],
    ['# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n', 'not complete'],
  ])('refuses %j', (text, why) => {
    expect(() => parseMetrics(text)).toThrow(why);
  });

  it('reads what is written', () => {
    const text = new MetricText();
    const family = { name: 'a', type: 'gauge', help: 'b\n\\' } as const;
    text.add(family, { x: 'a"\\\nb' }, Number.POSITIVE_INFINITY, 5.5);
    text.add({ name: 'Z', type: 'counter', help: '' }, {}, 1e21);
    text.add(family, { x: '' }, undefined);
    expect(parseMetrics(text.bytes().toString()).samples).toEqual([
      { name: 'Z', labels: {}, value: 1e21, atMs: undefined },
      { name: 'a', labels: { x: 'a"\\\nb' }, value: Number.POSITIVE_INFINITY, atMs: 5 },
    ]);
  });
});
