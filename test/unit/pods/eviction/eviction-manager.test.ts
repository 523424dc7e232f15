import { beforeEach, describe, expect, it } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Observation, Signal, Threshold } from '../../../../src/model/eviction.ts';
import type { Pod, PodSpec } from '../../../../src/model/pod.ts';
import {
  EvictionManager,
  type EvictionOptions,
  type PressureLook,
} from '../../../../src/pods/eviction/eviction-manager.ts';
import type { PodUsage, UsageOf } from '../../../../src/pods/eviction/pod-usage.ts';
import type { UsageSource } from '../../../../src/pods/eviction/usage-source.ts';
import type { PodEnd } from '../../../../src/pods/facts.ts';

const MIB = 2 ** 20;
const GONE = new AbortController().signal;

/** A node whose pods hold memory and disk, which come back when they end. */
class Node {
  readonly clock = new ManualClock();
  readonly metrics = new Metrics();
  readonly pods = new Map<string, Pod>();
  readonly usages = new Map<string, PodUsage>();
  readonly ends = new Map<string, PodEnd>();
  readonly events: string[] = [];
  readonly annotations: unknown[] = [];
  readonly reclaims: string[] = [];
  layout: PressureLook['layout'] = 'single';
  met: Threshold[] = [];
  observed: Partial<Record<Signal, Observation>> = {};
  /** What reclaiming without killing does. */
  onReclaim = (): void => {};
  /** Pods that are not given back at once. */
  slow = false;
  readonly manager: EvictionManager;

  constructor(options: Partial<EvictionOptions> = {}) {
    const usageOf: UsageOf = (pod) => this.usages.get(pod.metadata.name ?? '');
    const usage = {
      forResource: async () => usageOf,
      withContainerMemory: async (_pod: Pod, used: PodUsage) => used,
      disk: async () => usageOf,
    } as unknown as UsageSource;
    this.manager = new EvictionManager(
      { maxPodGraceSeconds: 0, storageIsolation: true, ...options },
      {
        look: async () => ({ layout: this.layout, observations: this.observed, thresholds: this.met, met: this.met }),
        pods: {
          activePods: () => [...this.pods.values()].filter(({ metadata }) => !this.ends.has(metadata.uid ?? '')),
          evict: async (uid, end) => void this.ends.set(uid, end),
          isReclaimed: () => !this.slow,
          discardEnded: async () => {
            this.reclaims.push('containers');
            this.onReclaim();
          },
        },
        images: {
          deleteUnused: async () => {
            this.reclaims.push('images');
            this.onReclaim();
          },
        },
        usage,
        node: { kind: 'Node', name: 'n' },
        events: {
          event: (about, _type, reason, message, annotations) => {
            this.events.push(`${about.name} ${reason}: ${message}`);
            if (annotations !== undefined) this.annotations.push(annotations);
          },
        },
        clock: this.clock,
        metrics: this.metrics,
        log: silent,
      },
    );
  }

  add(name: string, usage: Partial<PodUsage> | undefined, spec: Partial<PodSpec> = {}): void {
    const containers = [{ name: 'c', image: 'i' }];
    this.pods.set(name, { metadata: { name, uid: name, namespace: 'ns' }, spec: { containers, ...spec } });
    if (usage !== undefined) this.usages.set(name, { containers: [], volumes: new Map(), ...usage });
  }

  short(signal: Signal, graceMs = 0): void {
    const value = { amount: 100 * MIB, text: '100Mi' };
    this.met.push({ signal, value, graceMs, minReclaim: undefined });
    this.observed = { ...this.observed, [signal]: { available: 50 * MIB, capacity: 1000 * MIB } };
  }
}

describe('EvictionManager', () => {
  let node: Node;

  beforeEach(() => {
    node = new Node();
  });

  const evicted = (): string[] => [...node.ends.keys()];

  it('does nothing while nothing is short', async () => {
    node.add('p', { memoryBytes: 900 * MIB });
    expect(await node.manager.pass(GONE)).toEqual([]);
    expect(node.events).toEqual([]);
  });

  it('ends one pod in a pass, the greediest, with condition, event and annotations', async () => {
    node.add('small', { memoryBytes: MIB });
    node.add('large', { memoryBytes: 500 * MIB, containers: [{ name: 'c', memoryBytes: 500 * MIB }] });
    node.add('important', { memoryBytes: 900 * MIB }, { priority: 2_000_000_000 });
    node.short('memory.available');
    await node.manager.pass(GONE);
    const message =
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 500Mi, request is 0, has larger consumption of memory. ';
    expect([...node.ends]).toEqual([
      ['large', { reason: 'Evicted', message, graceSeconds: 1, evicted: true, disruption: message }],
    ]);
    expect(node.events).toEqual(['n EvictionThresholdMet: Attempting to reclaim memory', `large Evicted: ${message}`]);
    expect(node.annotations).toEqual([
      { offending_containers: 'c', offending_containers_usage: '500Mi', starved_resource: 'memory' },
    ]);
    expect(await node.metrics.text()).toContain('kubelet_evictions{eviction_signal="memory.available"} 1');
    await node.manager.pass(GONE);
    await node.manager.pass(GONE);
    // The critical one stays, whatever it takes.
    expect(evicted()).toEqual(['large', 'small']);
  });

  it('never evicts static pods', async () => {
    node.add('static', { memoryBytes: 900 * MIB });
    const pod = node.pods.get('static');
    if (pod !== undefined) pod.metadata.annotations = { 'kubernetes.io/config.source': 'file' };
    node.short('memory.available');
    await node.manager.pass(GONE);
    expect(evicted()).toEqual([]);
  });

  it('memory goes before disk', async () => {
    node.add('p', { memoryBytes: MIB });
    node.short('nodefs.available');
    node.short('allocatableMemory.available');
    await node.manager.pass(GONE);
    expect(node.events[0]).toBe('n EvictionThresholdMet: Attempting to reclaim memory');
    expect(node.reclaims).toEqual([]);
  });

  it.each<[PressureLook['layout'], Signal, readonly string[]]>([
    ['single', 'nodefs.available', ['containers', 'images']],
    ['single', 'imagefs.inodesFree', ['containers', 'images']],
    ['imagefs', 'nodefs.available', []],
    ['imagefs', 'imagefs.available', ['containers', 'images']],
    ['imagefs', 'containerfs.available', ['containers', 'images']],
    ['split', 'imagefs.available', ['images']],
    ['split', 'nodefs.available', ['containers']],
    ['split', 'containerfs.inodesFree', ['containers']],
    ['single', 'pid.available', []],
    ['single', 'memory.available', []],
  ])('with layout %s and %s it first gives up %j', async (layout, signal, expected) => {
    node.layout = layout;
    node.add('p', {});
    node.short(signal);
    await node.manager.pass(GONE);
    expect(node.reclaims).toEqual(expected);
    expect(evicted()).toEqual(['p']);
  });

  it('kills nobody when that was enough', async () => {
    node.add('p', {});
    node.short('nodefs.available');
    node.onReclaim = () => {
      node.observed = { 'nodefs.available': { available: 500 * MIB, capacity: 1000 * MIB } };
    };
    expect(await node.manager.pass(GONE)).toEqual([]);
    expect(evicted()).toEqual([]);
  });

  it('gives a pod its own grace at a soft threshold, up to what is configured', async () => {
    node = new Node({ maxPodGraceSeconds: 20 });
    node.add('long', { memoryBytes: 3 * MIB }, { terminationGracePeriodSeconds: 60 });
    node.add('short', { memoryBytes: 2 * MIB }, { terminationGracePeriodSeconds: 5 });
    node.add('none', { memoryBytes: MIB });
    node.short('memory.available', 30_000);
    for (let pass = 0; pass < 3; pass++) await node.manager.pass(GONE);
    expect([...node.ends].map(([name, { graceSeconds }]) => `${name} ${graceSeconds}`)).toEqual([
      'long 20',
      'short 5',
      'none 20',
    ]);
  });

  it('ends all pods that exceed their limits of local storage, and then looks at nothing else', async () => {
    const volumes = [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }];
    const over = { volumes: new Map([['v', { usedBytes: 2 * MIB, inodes: 1 }]]) };
    node.add('a', over, { volumes });
    node.add('b', over, { volumes });
    node.add('critical', over, { volumes, priority: 2_000_000_000 });
    node.add('fine', {}, { volumes });
    node.short('memory.available');
    const pods = await node.manager.pass(GONE);
    expect(pods.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    // No condition: nobody disrupts a pod that breaks its word.
    expect(node.ends.get('a')).toEqual({
      reason: 'Evicted',
      message: 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
      graceSeconds: 1,
      evicted: true,
    });
    expect(node.events.some((event) => event.includes('EvictionThresholdMet'))).toBe(false);
    node = new Node({ storageIsolation: false });
    node.add('a', over, { volumes });
    expect(await node.manager.pass(GONE)).toEqual([]);
  });

  it('looks every 10 s; after an eviction as soon as the pod has given back what it had, or after 30 s', async () => {
    node.add('a', { memoryBytes: 2 * MIB });
    node.add('b', { memoryBytes: MIB });
    node.short('memory.available');
    node.slow = true;
    const stop = new AbortController();
    const done = node.manager.run(stop.signal);
    await node.clock.advance(29_000);
    expect(evicted()).toEqual(['a']);
    await node.clock.advance(2000);
    expect(evicted()).toEqual(['a', 'b']);
    node.met = [];
    node.slow = false;
    await node.clock.advance(1000);
    node.add('c', { memoryBytes: MIB });
    node.short('memory.available');
    await node.clock.advance(8000);
    expect(evicted()).not.toContain('c');
    await node.clock.advance(3000);
    expect(evicted()).toContain('c');
    stop.abort();
    await done;
  });
});
