import type { CriRuntime } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import { formatCpus } from '../../model/cpu-set.ts';
import type { Container, Pod } from '../../model/pod.ts';
import type { Refusal } from '../admit/admit-pod.ts';
import { newestContainer } from '../observe/pod-runtime.ts';
import { type ActivePods, isOver } from './active-pods.ts';
import type { AlignmentMetrics } from './alignment-metrics.ts';
import { checkSockets, cpuHints, nodesCpus, socketsOf } from './cpu-hints.ts';
import { cpusOfPod, exclusiveCount } from './cpu-request.ts';
import { type Cpus, checkCpuState, difference, union } from './cpu-sets.ts';
import { cpuStateText, readCpuState } from './cpu-state.ts';
import { type CpuTopology, cpusPerCore } from './cpu-topology.ts';
import { distributeCpus } from './distribute-cpus.ts';
import { containersOf, type Hint, type Hints, type ResourceManager, unexpected } from './hints.ts';
import { initContainersBefore } from './memory-ledger.ts';
import type { NumaMask } from './numa-mask.ts';
import { StateFile } from './state-file.ts';
import { takeCpus } from './take-cpus.ts';

export interface CpuManagerOptions {
  /** <root-dir>/cpu_manager_state */
  readonly statePath: string;
  /** These CPUs are never exclusive: a list, or so many (the machine's first). */
  readonly reserved: ReadonlySet<number> | number;
  /** full-pcpus-only: whole cores, or the pod is refused. */
  readonly fullPhysicalCpusOnly: boolean;
  /** strict-cpu-reservation: no pod runs on the reserved ones. */
  readonly strictReservation: boolean;
  /** distribute-cpus-across-numa: from several NUMA nodes as many each. */
  readonly acrossNuma?: boolean;
  /** align-by-socket: another NUMA node of the same socket is as good. */
  readonly bySocket?: boolean;
  /** distribute-cpus-across-cores: one thread of each core first. */
  readonly acrossCores?: boolean;
  /** prefer-align-cpus-by-uncorecache: that share their last cache, where that can be. */
  readonly byUncoreCache?: boolean;
  readonly reconcileMs: number;
}

export interface CpuManagerDeps {
  readonly topology: CpuTopology;
  readonly files: Pick<Files, 'read' | 'write' | 'rename'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly aligned: AlignmentMetrics;
}

type Exclusive = Map<string, Map<string, Cpus>>;

/**
 * Gives containers of Guaranteed pods that ask for whole CPUs these CPUs for themselves; all others share the rest
 * (kubelet's CPU manager, policy static). What was given is kept in kubelet's state file. A container learns of a change of
 * the shared ones at the next reconciliation.
 */
export class CpuManager implements ResourceManager {
  private readonly options: CpuManagerOptions;
  private readonly deps: CpuManagerDeps;
  private readonly reserved: Cpus;
  private shared: Cpus;
  private exclusive: Exclusive = new Map();
  /** What the runtime was told last, by container id. */
  private told = new Map<string, string>();
  private readonly file: StateFile;
  private readonly requests;
  private readonly errors;

  /** Throws InvalidConfig when there are not that many CPUs to reserve. */
  constructor(options: CpuManagerOptions, deps: CpuManagerDeps) {
    this.options = options;
    this.deps = deps;
    this.file = new StateFile(options.statePath, deps);
    const all = new Set(deps.topology.map(({ id }) => id));
    const { reserved } = options;
    const cpus = typeof reserved === 'number' ? this.take(all, reserved) : reserved;
    if (cpus === undefined || [...cpus].some((cpu) => !all.has(cpu))) {
      const asked = typeof reserved === 'number' ? `${reserved} CPUs` : `the CPUs ${formatCpus(reserved)}`;
      throw new CodedError(
        'InvalidConfig',
        `cpuManagerPolicy static: ${asked} are to be reserved, the machine has ${formatCpus(all)}`,
      );
    }
    this.reserved = cpus;
    if (options.bySocket === true) checkSockets(deps.topology);
    this.shared = this.usable();
    const { metrics, aligned } = deps;
    aligned.expect('container', 'physical_cpu');
    aligned.expect('container', 'uncore_cache');
    this.requests = metrics.counter(
      'kubelet_cpu_manager_pinning_requests_total',
      'Containers that asked for CPUs of their own.',
    );
    this.errors = metrics.counter(
      'kubelet_cpu_manager_pinning_errors_total',
      'Of these, those that could not get them.',
    );
    metrics.gauge(
      'kubelet_cpu_manager_exclusive_cpu_allocation_count',
      'CPUs that belong to one container.',
      [],
      (gauge) => gauge.set(this.usable().size - this.shared.size),
    );
    metrics.gauge(
      'kubelet_cpu_manager_shared_pool_size_millicores',
      'CPUs that are shared, in thousandths.',
      [],
      (gauge) => gauge.set(difference(this.shared, this.reserved).size * 1000),
    );
    metrics.gauge(
      'kubelet_cpu_manager_allocation_per_numa',
      'CPUs of a NUMA node that belong to one container.',
      ['numa_node'],
      (gauge) => {
        for (const [node, count] of this.givenByNode()) gauge.set({ numa_node: node }, count);
      },
    );
  }

  /** Takes up what an earlier process gave away. Throws InvalidConfig when that does not fit this machine or these settings. */
  async load(): Promise<void> {
    const { statePath } = this.options;
    try {
      const { shared, exclusive } = readCpuState((await this.deps.files.read(statePath)).toString());
      checkCpuState(
        { shared, exclusive },
        { reserved: this.reserved, usable: this.usable(), strict: this.options.strictReservation },
      );
      this.shared = shared;
      this.exclusive = new Map([...exclusive].map(([uid, containers]) => [uid, new Map(containers)]));
    } catch (error) {
      if (!hasCode(error, 'NotFound')) {
        const advice = `drain this node and delete the CPU manager checkpoint file ${statePath} before starting again`;
        throw new CodedError('InvalidConfig', `${statePath} ${messageOf(error)}; ${advice}`, {}, error);
      }
      this.store();
    }
  }

  wants(pod: Pod): boolean {
    return containersOf(pod).some((container) => exclusiveCount(pod, container) > 0);
  }

  hints(pod: Pod, container: Container): Hints {
    const count = exclusiveCount(pod, container);
    if (count === 0) return new Map();
    const { topology } = this.deps;
    const { bySocket = false } = this.options;
    const has = this.exclusive.get(uidOf(pod))?.get(container.name);
    if (has !== undefined) {
      return new Map([
        ['cpu', has.size === count ? cpuHints(topology, { free: has, reusable: new Set(), count, bySocket }) : []],
      ]);
    }
    const reusable = this.reusable(pod, container.name);
    return new Map([['cpu', cpuHints(topology, { free: this.free(), reusable, count, bySocket })]]);
  }

  podHints(pod: Pod): Hints {
    const count = cpusOfPod(pod);
    if (count === 0) return new Map();
    let has: Cpus = new Set();
    for (const container of containersOf(pod)) {
      const own = this.exclusive.get(uidOf(pod))?.get(container.name);
      if (own !== undefined && own.size !== exclusiveCount(pod, container)) return new Map([['cpu', []]]);
      has = union(has, own ?? []);
    }
    const { topology } = this.deps;
    const { bySocket = false } = this.options;
    if (has.size === count)
      return new Map([['cpu', cpuHints(topology, { free: has, reusable: new Set(), count, bySocket })]]);
    return new Map([['cpu', cpuHints(topology, { free: this.free(), reusable: has, count, bySocket })]]);
  }

  /** Why the container cannot have the CPUs that it asks for; undefined: it has them now, or needs none. */
  allocate(pod: Pod, container: Container, { nodes }: Hint): Refusal | undefined {
    const count = exclusiveCount(pod, container);
    if (count === 0) return undefined;
    this.requests.inc();
    if (this.hasExclusive(uidOf(pod), container.name)) return undefined;
    const refusal = this.alignmentRefusal(count) ?? this.give(pod, container, count, nodes);
    if (refusal !== undefined) this.errors.inc();
    if (this.options.fullPhysicalCpusOnly) this.deps.aligned.count('container', 'physical_cpu', refusal === undefined);
    return refusal;
  }

  forget(podUid: string): void {
    this.giveBack(podUid, [...(this.exclusive.get(podUid)?.keys() ?? [])]);
  }
  /** Takes back what pods that are over had, and init containers that have ended before another one began. */
  takeBack(active: ActivePods): void {
    const pods = new Map(active().map((each) => [uidOf(each.pod), each]));
    for (const [uid, containers] of this.exclusive) {
      const pod = pods.get(uid);
      this.giveBack(
        uid,
        [...containers.keys()].filter((name) => isOver(pod, name)),
      );
    }
  }

  /** The CPUs that a container may run on, as the runtime is told. */
  cpusOf(podUid: string, container: string): string {
    return formatCpus(this.exclusive.get(podUid)?.get(container) ?? this.shared);
  }

  /** CPUs of a container's own. */
  exclusiveOf(podUid: string, container: string): readonly number[] {
    return [...(this.exclusive.get(podUid)?.get(container) ?? [])].sort((a, b) => a - b);
  }

  /** CPUs that may become somebody's own, given away or not. */
  allocatable(): readonly number[] {
    return this.deps.topology.map(({ id }) => id).filter((id) => !this.reserved.has(id));
  }

  /** Whether a container, or any of the pod, has CPUs of its own. */
  hasExclusive(podUid: string, container?: string): boolean {
    const mine = this.exclusive.get(podUid);
    return mine !== undefined && (container === undefined || mine.has(container));
  }

  /** Keeps what runs on its CPUs, until aborted. */
  async run(active: ActivePods, cri: Pick<CriRuntime, 'updateContainerResources'>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.reconcile(active, cri);
      await this.deps.clock.sleep(this.options.reconcileMs, signal).catch(() => {});
    }
    await this.file.written;
  }

  async reconcile(active: ActivePods, cri: Pick<CriRuntime, 'updateContainerResources'>): Promise<void> {
    this.takeBack(active);
    const told = new Map<string, string>();
    for (const { pod, runtime } of active()) {
      if (runtime === undefined) continue;
      for (const { name } of containersOf(pod)) {
        const record = newestContainer(runtime, name);
        if (record?.state !== 'RUNNING') continue;
        const cpus = this.cpusOf(pod.metadata.uid ?? '', name);
        try {
          if (this.told.get(record.id) !== cpus) await cri.updateContainerResources(record.id, { cpusetCpus: cpus });
          told.set(record.id, cpus);
        } catch (error) {
          this.deps.log.warn(
            { container: name, cpus, error: messageOf(error) },
            'a container could not be put on its CPUs',
          );
        }
      }
    }
    this.told = told;
  }

  private givenByNode(): Map<number, number> {
    const counts = new Map<number, number>();
    for (const { id, numaNode } of this.deps.topology) {
      const given = this.usable().has(id) && !this.shared.has(id);
      counts.set(numaNode, (counts.get(numaNode) ?? 0) + (given ? 1 : 0));
    }
    return counts;
  }

  /** Shared CPUs that may become somebody's own. */
  private free(): Cpus {
    return difference(this.shared, this.reserved);
  }

  /** What init containers of the pod had that those after them may have; a sidecar goes on running. */
  private reusable(pod: Pod, container: string): Cpus {
    const has = this.exclusive.get(uidOf(pod));
    if (has === undefined) return new Set();
    const initContainers = pod.spec.initContainers ?? [];
    const once = initContainersBefore(initContainers, container);
    const ended = new Set(once.map(({ name }) => name));
    let cpus: Cpus = new Set();
    for (const name of ended) cpus = union(cpus, has.get(name) ?? []);
    for (const [name, own] of has) if (!ended.has(name)) cpus = difference(cpus, own);
    return cpus;
  }

  /** Those of the nodes first. */
  private give(pod: Pod, container: Container, count: number, nodes: NumaMask | undefined): Refusal | undefined {
    const free = union(this.free(), this.reusable(pod, container.name));
    const { topology } = this.deps;
    const place = nodes !== undefined && this.options.bySocket === true ? socketsOf(topology, nodes) : nodes;
    const near = place === undefined ? new Set<number>() : nodesCpus(topology, place, free);
    const first = this.take(near, Math.min(count, near.size)) ?? new Set<number>();
    const rest = this.take(difference(free, first), count - first.size);
    if (rest === undefined) {
      const available = free.size - first.size;
      return unexpected(
        `not enough cpus available to satisfy request: requested=${count - first.size}, available=${available}`,
      );
    }
    const cpus = union(first, rest);
    this.shared = difference(this.shared, cpus);
    if (new Set(topology.filter(({ id }) => cpus.has(id)).map((cpu) => cpu.uncoreCache)).size === 1) {
      this.deps.aligned.count('container', 'uncore_cache', true);
    }
    const uid = uidOf(pod);
    const mine = this.exclusive.get(uid) ?? new Map<string, Cpus>();
    this.exclusive.set(uid, mine.set(container.name, cpus));
    this.store();
    return undefined;
  }

  private take(free: Cpus, count: number): Cpus | undefined {
    const { topology } = this.deps;
    const {
      acrossNuma = false,
      acrossCores: spread = false,
      byUncoreCache = false,
      fullPhysicalCpusOnly,
    } = this.options;
    if (!acrossNuma) return takeCpus(topology, free, count, { spread, byUncoreCache });
    return distributeCpus(topology, free, count, fullPhysicalCpusOnly ? cpusPerCore(topology) : 1);
  }

  private giveBack(podUid: string, names: readonly string[]): void {
    const containers = this.exclusive.get(podUid);
    if (containers === undefined || names.length === 0) return;
    let cpus: Cpus = new Set();
    for (const name of names) {
      cpus = union(cpus, containers.get(name) ?? []);
      containers.delete(name);
    }
    if (containers.size === 0) this.exclusive.delete(podUid);
    for (const own of containers.values()) cpus = difference(cpus, own);
    this.shared = union(this.shared, cpus);
    this.store();
  }

  private alignmentRefusal(count: number): Refusal | undefined {
    if (!this.options.fullPhysicalCpusOnly) return undefined;
    const { topology } = this.deps;
    const perCore = cpusPerCore(topology);
    const refusal = (what: string): Refusal => ({
      reason: 'SMTAlignmentError',
      message: `SMT Alignment Error: ${what}`,
    });
    if (count % perCore !== 0) return refusal(`requested ${count} cpus not multiple cpus per core = ${perCore}`);
    const cores = new Set(topology.filter(({ id }) => this.reserved.has(id)).map(({ core }) => core));
    const free = topology.filter(({ id, core }) => this.shared.has(id) && !cores.has(core)).length;
    if (count <= free) return undefined;
    return refusal(
      `not enough free physical CPUs: available physical CPUs = ${free}, requested CPUs = ${count}, CPUs per core = ${perCore}`,
    );
  }

  private usable(): Cpus {
    const all = new Set(this.deps.topology.map(({ id }) => id));
    return this.options.strictReservation ? difference(all, this.reserved) : all;
  }

  private store(): void {
    this.file.write(cpuStateText({ shared: this.shared, exclusive: this.exclusive }));
  }
}

function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}
