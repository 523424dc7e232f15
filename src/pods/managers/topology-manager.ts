import type { NumaNode } from '../../host/machine/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { Container, Pod } from '../../model/pod.ts';
import type { Refusal } from '../admit/admit-pod.ts';
import type { AlignmentMetrics } from './alignment-metrics.ts';
import { containersOf, type Hint, type HintProvider, type Hints, NO_AFFINITY, type ResourceManager } from './hints.ts';
import { mergeHints, type NumaInfo, type TopologyPolicy } from './merge-hints.ts';

export interface TopologyManagerOptions {
  readonly policy: TopologyPolicy;
  /** Whether each container is to be on nodes of its own choice, or the pod as a whole. */
  readonly scope: 'container' | 'pod';
}

/** Gives devices, for which it has to ask their plugins; what it throws is why it does not. */
export interface DeviceProvider extends HintProvider {
  /** Undefined: the pod wants none. */
  reserve(pod: Pod): Promise<void> | undefined;
  allocate(pod: Pod, container: Container, affinity: Hint): Promise<void>;
  release(podUid: string): void;
}

export interface TopologyManagerDeps {
  readonly numa: NumaInfo;
  /** CPUs and memory, as far as anybody gives them away. */
  readonly managers: readonly ResourceManager[];
  readonly devices: DeviceProvider;
  /** Has all managers take back what is over. */
  readonly takeBack: () => void;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly aligned: AlignmentMetrics;
}

/** 0.05 ms to 819 ms. */
const BUCKETS = Array.from({ length: 15 }, (_, power) => 0.05 * 2 ** power);
const NOT_LOCAL: Refusal = {
  reason: 'TopologyAffinityError',
  message: 'Resources cannot be allocated with Topology locality',
};

/**
 * Gives a pod its CPUs, memory and devices when it is let in, all or nothing, from NUMA nodes that suit them all (kubelet
 * cm/topologymanager; KEP-693). While one pod's plugins are asked, no other pod's nodes are chosen.
 */
export class TopologyManager {
  private readonly options: TopologyManagerOptions;
  private readonly deps: TopologyManagerDeps;
  private last: Promise<unknown> = Promise.resolve();
  private readonly requests;
  private readonly errors;
  private readonly duration;

  constructor(options: TopologyManagerOptions, deps: TopologyManagerDeps) {
    this.options = options;
    this.deps = deps;
    const { metrics, aligned } = deps;
    this.requests = metrics.counter(
      'kubelet_topology_manager_admission_requests_total',
      'Pods whose resources were to be chosen.',
    );
    this.errors = metrics.counter(
      'kubelet_topology_manager_admission_errors_total',
      'Of these, those whose resources could not be given as the policy has it.',
    );
    this.duration = metrics.histogram(
      'kubelet_topology_manager_admission_duration_ms',
      'How long choosing took, in milliseconds.',
      BUCKETS,
    );
    if (options.policy === 'none') return;
    aligned.expect('container', 'numa_node');
    aligned.expect('pod', 'numa_node');
  }

  /** Why the pod cannot have what it asks for; undefined: it has it. A promise where that takes asking others. */
  allocate(pod: Pod): Refusal | undefined | Promise<Refusal | undefined> {
    this.requests.inc();
    const begin = this.deps.clock.monotonic();
    const done = (refusal: Refusal | undefined): Refusal | undefined => {
      if (refusal !== undefined) this.giveUp(pod);
      this.duration.observe(this.deps.clock.monotonic() - begin);
      return refusal;
    };
    if (this.options.policy === 'none') {
      this.deps.takeBack();
      const refusal = this.allocateAnywhere(pod);
      return refusal instanceof Promise ? refusal.then(done) : done(refusal);
    }
    const { managers, devices } = this.deps;
    if (![...managers, devices].some((provider) => provider.wants(pod))) {
      for (const _ of this.options.scope === 'pod' ? [pod] : containersOf(pod)) this.countAligned(true);
      return done(undefined);
    }
    const mine = this.last.then(() => this.allocateNear(pod)).then(done);
    this.last = mine.catch(() => {});
    return mine;
  }

  private allocateAnywhere(pod: Pod): Refusal | undefined | Promise<Refusal | undefined> {
    for (const container of containersOf(pod)) {
      const refusal = this.allocateOf(pod, container, NO_AFFINITY);
      if (refusal !== undefined) return refusal;
    }
    return this.deps.devices.reserve(pod)?.then(() => undefined, refusalOf);
  }

  private async allocateNear(pod: Pod): Promise<Refusal | undefined> {
    const { scope } = this.options;
    this.deps.takeBack();
    const whole = scope === 'pod' ? this.choose(pod, (provider) => provider.podHints(pod)) : undefined;
    for (const container of containersOf(pod)) {
      const hint = scope === 'pod' ? whole : this.choose(pod, (provider) => provider.hints(pod, container));
      const refusal = hint === undefined ? NOT_LOCAL : await this.allocateAll(pod, container, hint);
      if (refusal !== undefined) {
        this.errors.inc();
        return refusal;
      }
      if (scope === 'container') this.countAligned(true);
    }
    if (scope === 'pod') this.countAligned(true);
    return undefined;
  }

  /** Undefined: there are no nodes that the policy lets the pod be on. */
  private choose(pod: Pod, hintsOf: (provider: HintProvider) => Hints): Hint | undefined {
    const { policy } = this.options;
    const { numa, managers, devices } = this.deps;
    if (policy === 'none') return NO_AFFINITY;
    const providers = devices.wants(pod) ? [devices, ...managers] : managers;
    const { hint, admit } = mergeHints(policy, providers.map(hintsOf), numa);
    if (!admit) this.countAligned(false);
    return admit ? hint : undefined;
  }

  private async allocateAll(pod: Pod, container: Container, hint: Hint): Promise<Refusal | undefined> {
    const refusal = this.allocateOf(pod, container, hint);
    if (refusal !== undefined || !this.deps.devices.wants(pod)) return refusal;
    return this.deps.devices.allocate(pod, container, hint).then(() => undefined, refusalOf);
  }

  private allocateOf(pod: Pod, container: Container, hint: Hint): Refusal | undefined {
    for (const manager of this.deps.managers) {
      const refusal = manager.allocate(pod, container, hint);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  private giveUp(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    for (const manager of this.deps.managers) manager.forget(uid);
    this.deps.devices.release(uid);
  }

  private countAligned(granted: boolean): void {
    const { policy, scope } = this.options;
    if (policy === 'single-numa-node') this.deps.aligned.count(scope, 'numa_node', granted);
  }
}

function refusalOf(error: unknown): Refusal {
  return { reason: 'UnexpectedAdmissionError', message: messageOf(error) };
}

/** Throws InvalidConfig for a machine that the policy is not made for (topology_manager.go NewManager). */
export function checkNumaNodes(
  settings: { readonly policy: TopologyPolicy; readonly maxNumaNodes: number; readonly preferClosest: boolean },
  nodes: readonly NumaNode[],
): void {
  const { policy, maxNumaNodes: most, preferClosest } = settings;
  if (policy === 'none') return;
  const refuse = (why: string): never => {
    throw new CodedError('InvalidConfig', `topologyManagerPolicy ${policy}: ${why}`);
  };
  if (nodes.length > most) {
    refuse(`unsupported on machines with more than ${most} NUMA Nodes, this one has ${nodes.length}`);
  }
  if (preferClosest && nodes.some(({ distances }) => distances.size === 0)) {
    refuse('prefer-closest-numa-nodes needs the distances of NUMA nodes, which the kernel does not tell here');
  }
}
