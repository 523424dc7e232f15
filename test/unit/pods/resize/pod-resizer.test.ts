import { describe, expect, it } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod, ResourceRequirements } from '../../../../src/model/pod.ts';
import { shortages } from '../../../../src/pods/admit/node-resources.ts';
import { PodState } from '../../../../src/pods/pod-state.ts';
import { PodResizer } from '../../../../src/pods/resize/pod-resizer.ts';
import { ResizeMetrics } from '../../../../src/pods/resize/resize-metrics.ts';
import { ResourceState } from '../../../../src/pods/resize/resource-state.ts';
import { container, pod, record, runtime, sandbox } from '../builders.ts';

const gates = { initContainers: true, podLevel: true };
const of = (cpu: string, limit = cpu): ResourceRequirements => ({
  requests: { cpu, memory: '1Mi' },
  limits: { cpu: limit, memory: '1Mi' },
});

/** A node of four cores and its pods, as the pod loop holds them. */
class Node {
  readonly clock = new ManualClock();
  readonly events: string[] = [];
  readonly asked: string[] = [];
  readonly metrics = new Metrics();
  readonly states = new Map<string, PodState>();
  readonly allocated: ResourceState;
  readonly actuated: ResourceState;
  readonly resizer: PodResizer;
  complete = true;
  private generation = 1;

  constructor() {
    const files = { read: async () => Buffer.from(''), write: async () => {}, rename: async () => {} };
    const state = (): ResourceState => new ResourceState('/s', { files, clock: this.clock, log: silent });
    [this.allocated, this.actuated] = [state(), state()];
    const others = (except: PodState): Pod[] =>
      [...this.states.values()].filter((each) => each !== except).map((each) => each.pod);
    this.resizer = new PodResizer(
      { gates, staticCpus: false, staticMemory: false, swaps: () => false },
      {
        allocated: this.allocated,
        actuated: this.actuated,
        stateOf: (uid) => this.states.get(uid),
        others,
        admit: (asks, beside) => {
          this.asked.push(asks.metadata.name ?? '');
          const [short] = shortages(asks, beside, { cpu: '4', memory: '1Gi', pods: '10' });
          if (short === undefined) return { victims: [], short: '' };
          return { reason: `OutOf${short.resource}`, message: `too little ${short.resource}` };
        },
        preempt: async () => {},
        cgroupOutdated: () => false,
        complete: () => this.complete,
        again: () => {},
        events: { event: (_about, _type, reason, message) => void this.events.push(`${reason} ${message}`) },
        metrics: new ResizeMetrics(this.metrics, () => [...this.states.values()].map(({ resize }) => resize)),
        clock: this.clock,
        log: silent,
      },
    );
  }

  add(name: string, resources: ResourceRequirements, spec: Partial<Pod['spec']> = {}): PodState {
    const object = pod({ ...spec, containers: [container('a', { resources })] }, { name, uid: name, generation: 1 });
    const state = new PodState(this.resizer.granted(object), 'run', this.clock.now());
    state.desired = object;
    state.admission = 'granted';
    this.states.set(name, state);
    this.resizer.admitted(state);
    this.resizer.changed(state, undefined);
    return state;
  }

  ask(name: string, resources: ResourceRequirements): void {
    const state = this.states.get(name);
    if (state === undefined) throw new Error(name);
    const before = state.desired;
    const metadata = { ...before.metadata, generation: ++this.generation };
    const object = { ...before, metadata, spec: { ...before.spec, containers: [container('a', { resources })] } };
    state.adopt(this.resizer.granted(object), object);
    this.resizer.changed(state, before);
  }

  cpuOf(name: string): unknown {
    return this.states.get(name)?.pod.spec.containers[0]?.resources?.requests?.['cpu'];
  }

  reasonOf(name: string): string | undefined {
    return this.states.get(name)?.resize.pending?.reason;
  }
}

describe('granting resizes', () => {
  it('goes on planning a pod with what it has until it is granted more', () => {
    const node = new Node();
    node.add('a', of('1'));
    node.ask('a', of('2'));
    expect(node.cpuOf('a')).toBe('1');
    node.resizer.settle();
    expect(node.cpuOf('a')).toBe('2');
    expect(node.states.get('a')?.resize.inProgress).toMatchObject({
      type: 'PodResizeInProgress',
      observedGeneration: 2,
    });
    expect(node.events).toEqual([expect.stringMatching(/^ResizeStarted Pod resize started: .*"generation":2\}$/)]);
  });

  it('counts for others what they were granted, not what they ask for', () => {
    const node = new Node();
    node.add('a', of('1'));
    node.add('b', of('1'));
    node.ask('a', of('9'));
    node.ask('b', of('3'));
    node.resizer.settle();
    expect([node.cpuOf('a'), node.cpuOf('b')]).toEqual(['1', '3']);
    expect(node.reasonOf('a')).toBe('Deferred');
  });

  it('tries first who gives back, then by priority, class, and how long it has waited', () => {
    const node = new Node();
    node.add('old', of('1', '2'));
    node.add('new', of('1', '2'));
    node.add('guaranteed', of('1'));
    node.add('important', of('1', '2'), { priority: 5 });
    node.complete = false;
    node.ask('old', of('4', '5'));
    node.complete = true;
    node.resizer.settle();
    node.ask('new', of('4', '5'));
    node.ask('guaranteed', of('5'));
    node.ask('important', of('4', '5'));
    node.add('gives', of('1', '2'));
    node.ask('gives', of('500m', '2'));
    node.asked.length = 0;
    node.resizer.settle();
    expect(node.asked).toEqual(['gives', 'important', 'guaranteed', 'old', 'new']);
  });

  it('tells a deferral once, and again when the pod asks for something else', () => {
    const node = new Node();
    node.add('a', of('1'));
    node.ask('a', of('9'));
    node.resizer.settle();
    node.resizer.retry('pods_removed');
    node.resizer.settle();
    expect(node.events.filter((event) => event.startsWith('ResizeDeferred'))).toHaveLength(1);
    node.ask('a', of('8'));
    node.resizer.settle();
    expect(node.events.filter((event) => event.startsWith('ResizeDeferred'))).toHaveLength(2);
    node.ask('a', of('1'));
    expect(node.reasonOf('a')).toBeUndefined();
  });

  it('tries again by itself after three minutes, and counts what made it succeed', async () => {
    const node = new Node();
    node.add('a', of('1'));
    node.add('b', of('3'));
    node.ask('a', of('2'));
    node.resizer.settle();
    node.states.delete('b');
    node.resizer.settle();
    expect(node.cpuOf('a')).toBe('1');
    await node.clock.advance(180_000);
    node.resizer.settle();
    expect(node.cpuOf('a')).toBe('2');
    expect(await node.metrics.text()).toContain(
      'kubelet_pod_deferred_accepted_resizes_total{retry_trigger="periodic_retry"} 1',
    );
  });

  it('waits for all sources of pods before it gives anything away', async () => {
    const node = new Node();
    node.complete = false;
    node.add('a', of('1'));
    node.ask('a', of('2'));
    node.resizer.settle();
    expect(node.cpuOf('a')).toBe('1');
    node.complete = true;
    await node.clock.advance(30_000);
    node.resizer.settle();
    expect(node.cpuOf('a')).toBe('2');
  });

  it('takes up after a restart what waited, and what the API was told of it', () => {
    const node = new Node();
    node.allocated.set('a', { containers: { a: of('1') }, pod: undefined });
    const condition = { type: 'PodResizePending', status: 'True' as const, reason: 'Deferred', observedGeneration: 1 };
    const object = pod(
      { containers: [container('a', { resources: of('2') })] },
      { name: 'a', uid: 'a', generation: 1 },
    );
    const state = new PodState(node.resizer.granted(object), 'run', 0);
    state.desired = { ...object, status: { conditions: [condition] } };
    node.states.set('a', state);
    node.resizer.admitted(state);
    node.resizer.changed(state, undefined);
    expect([node.cpuOf('a'), node.reasonOf('a')]).toEqual(['1', 'Deferred']);
    node.resizer.settle();
    expect([node.cpuOf('a'), node.reasonOf('a')]).toEqual(['2', undefined]);
  });

  it('says when all is in force, and lets others try then', () => {
    const node = new Node();
    const state = node.add('a', of('1'));
    node.ask('a', of('2'));
    node.resizer.settle();
    const [a] = state.pod.spec.containers;
    const observed = runtime([sandbox()], a === undefined ? [] : [record(a)]);
    node.actuated.setContainer('a', 'a', of('1'));
    node.resizer.follow(state, observed, node.resizer.factsOf(state, observed), true);
    expect(state.resize.inProgress).toBeDefined();
    node.resizer.failed(state, 'no luck');
    expect(state.resize.inProgress).toMatchObject({ reason: 'Error', message: 'no luck' });
    node.resizer.failed(state, 'no luck');
    node.actuated.setContainer('a', 'a', of('2'));
    node.resizer.follow(state, observed, node.resizer.factsOf(state, observed), true);
    expect(state.resize.list).toEqual([]);
    expect(node.events.map((event) => event.split(' ')[0])).toEqual([
      'ResizeStarted',
      'ResizeError',
      'ResizeCompleted',
    ]);
  });
});
