import type { CriRuntime } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import { formatCpus } from '../../model/cpu-set.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { hasPodLevelResources, isSidecar } from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import { parseQuantity } from '../../model/quantity.ts';
import type { Refusal } from '../admit/admit-pod.ts';
import { newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import { cpuStateText, readCpuState } from './cpu-state.ts';
import { type CpuTopology, cpusPerCore } from './cpu-topology.ts';
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
  readonly reconcileMs: number;
}

export interface CpuManagerDeps {
  readonly topology: CpuTopology;
  readonly files: Pick<Files, 'read' | 'write' | 'rename'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** The pods that hold their resources, with what runs of them. */
export type ActivePods = () => readonly { readonly pod: Pod; readonly runtime: PodRuntime | undefined }[];

type Exclusive = Map<string, Map<string, ReadonlySet<number>>>;

const ONE = 1_000_000_000n;

/**
 * Gives containers of Guaranteed pods that ask for whole CPUs these CPUs for themselves; all others share the rest
 * (kubelet's CPU manager, policy static). What was given is kept in kubelet's state file. A container learns of a change of
 * the shared ones at the next reconciliation.
 */
export class CpuManager {
  private readonly options: CpuManagerOptions;
  private readonly deps: CpuManagerDeps;
  private readonly reserved: ReadonlySet<number>;
  private shared: ReadonlySet<number>;
  private exclusive: Exclusive = new Map();
  private active: ActivePods | undefined;
  /** What the runtime was told last, by container id. */
  private told = new Map<string, string>();
  private writing: Promise<void> = Promise.resolve();
  private readonly requests;
  private readonly errors;

  /** Throws InvalidConfig when there are not that many CPUs to reserve. */
  constructor(options: CpuManagerOptions, deps: CpuManagerDeps) {
    this.options = options;
    this.deps = deps;
    const all = new Set(deps.topology.map(({ id }) => id));
    const { reserved } = options;
    const cpus = typeof reserved === 'number' ? takeCpus(deps.topology, all, reserved) : reserved;
    if (cpus === undefined || [...cpus].some((cpu) => !all.has(cpu))) {
      const asked = typeof reserved === 'number' ? `${reserved} CPUs` : `the CPUs ${formatCpus(reserved)}`;
      throw new CodedError(
        'InvalidConfig',
        `cpuManagerPolicy static: ${asked} are to be reserved, the machine has ${formatCpus(all)}`,
      );
    }
    this.reserved = cpus;
    this.shared = this.usable();
    const { metrics } = deps;
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
  }

  /** Takes up what an earlier process gave away. Throws InvalidConfig when that does not fit this machine or these settings. */
  async load(): Promise<void> {
    const { statePath } = this.options;
    try {
      const { shared, exclusive } = readCpuState((await this.deps.files.read(statePath)).toString());
      this.check(shared, exclusive);
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

  /** Why the pod cannot have the CPUs that it asks for; undefined: it has them now, or needs none. */
  allocate(pod: Pod): Refusal | undefined {
    this.release();
    const { uid = '' } = pod.metadata;
    const before = { shared: this.shared, mine: this.exclusive.get(uid) };
    const reusable = new Set<number>();
    for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
      const count = exclusiveCount(pod, container);
      if (count === 0) continue;
      this.requests.inc();
      const refusal = this.allocateOne(pod, container, count, reusable);
      if (refusal === undefined) continue;
      this.errors.inc();
      this.shared = before.shared;
      if (before.mine === undefined) this.exclusive.delete(uid);
      else this.exclusive.set(uid, before.mine);
      return refusal;
    }
    if (this.shared !== before.shared) this.store();
    return undefined;
  }

  /** The CPUs that a container may run on, as the runtime is told. */
  cpusOf(podUid: string, container: string): string {
    return formatCpus(this.exclusive.get(podUid)?.get(container) ?? this.shared);
  }

  /** Whether a container, or any of the pod, has CPUs of its own. */
  hasExclusive(podUid: string, container?: string): boolean {
    const mine = this.exclusive.get(podUid);
    return mine !== undefined && (container === undefined || mine.has(container));
  }

  /** Keeps what runs on its CPUs, until aborted. */
  async run(active: ActivePods, cri: Pick<CriRuntime, 'updateContainerResources'>, signal: AbortSignal): Promise<void> {
    this.active = active;
    while (!signal.aborted) {
      await this.reconcile(active, cri);
      await this.deps.clock.sleep(this.options.reconcileMs, signal).catch(() => {});
    }
    await this.writing;
  }

  async reconcile(active: ActivePods, cri: Pick<CriRuntime, 'updateContainerResources'>): Promise<void> {
    this.active = active;
    this.release();
    const told = new Map<string, string>();
    for (const { pod, runtime } of active()) {
      if (runtime === undefined) continue;
      for (const { name } of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
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

  private allocateOne(pod: Pod, container: Container, count: number, reusable: Set<number>): Refusal | undefined {
    const { uid = '' } = pod.metadata;
    const alignment = this.alignmentRefusal(count);
    if (alignment !== undefined) return alignment;
    const mine = this.exclusive.get(uid) ?? new Map<string, ReadonlySet<number>>();
    let cpus = mine.get(container.name);
    if (cpus === undefined) {
      const free = union(difference(this.shared, this.reserved), reusable);
      cpus = takeCpus(this.deps.topology, free, count);
      if (cpus === undefined) {
        const why = `not enough cpus available to satisfy request: requested=${count}, available=${free.size}`;
        return { reason: 'UnexpectedAdmissionError', message: `Allocate failed due to ${why}, which is unexpected` };
      }
      this.shared = difference(this.shared, cpus);
      this.exclusive.set(uid, new Map(mine).set(container.name, cpus));
    }
    // What an init container had, those after it may have; a sidecar goes on running.
    const isInit =
      pod.spec.initContainers?.some(({ name }) => name === container.name) === true && !isSidecar(container);
    for (const cpu of cpus) {
      if (isInit) reusable.add(cpu);
      else reusable.delete(cpu);
    }
    return undefined;
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

  /** Takes back what pods that are over or gone had. */
  private release(): void {
    if (this.active === undefined) return;
    const uids = new Set(this.active().map(({ pod }) => pod.metadata.uid ?? ''));
    let changed = false;
    for (const [uid, containers] of this.exclusive) {
      if (uids.has(uid)) continue;
      this.exclusive.delete(uid);
      for (const cpus of containers.values()) this.shared = union(this.shared, cpus);
      changed = true;
    }
    if (changed) this.store();
  }

  private usable(): ReadonlySet<number> {
    const all = new Set(this.deps.topology.map(({ id }) => id));
    return this.options.strictReservation ? difference(all, this.reserved) : all;
  }

  private check(
    shared: ReadonlySet<number>,
    exclusive: ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<number>>>,
  ): void {
    const { strictReservation } = this.options;
    const refuse = (why: string): never => {
      throw new CodedError('InvalidObject', `does not fit: ${why}`);
    };
    const reservedShared = [...this.reserved].filter((cpu) => shared.has(cpu));
    if (strictReservation && reservedShared.length > 0) {
      refuse(
        `some of strictly reserved cpus: "${formatCpus(reservedShared)}" are present in defaultCpuSet: "${formatCpus(shared)}"`,
      );
    }
    if (!strictReservation && reservedShared.length !== this.reserved.size) {
      refuse(
        `not all reserved cpus: "${formatCpus(this.reserved)}" are present in defaultCpuSet: "${formatCpus(shared)}"`,
      );
    }
    let known = shared;
    for (const [uid, containers] of exclusive) {
      for (const [name, cpus] of containers) {
        if ([...cpus].some((cpu) => shared.has(cpu))) {
          refuse(
            `pod: ${uid}, container: ${name} cpuset: "${formatCpus(cpus)}" overlaps with default cpuset "${formatCpus(shared)}"`,
          );
        }
        known = union(known, cpus);
      }
    }
    const usable = formatCpus(this.usable());
    if (formatCpus(known) !== usable) {
      refuse(`current set of available CPUs "${usable}" doesn't match with CPUs in state "${formatCpus(known)}"`);
    }
  }

  private store(): void {
    const text = cpuStateText({ shared: this.shared, exclusive: this.exclusive });
    const { files, log } = this.deps;
    const { statePath } = this.options;
    this.writing = this.writing.then(async () => {
      try {
        await files.write(`${statePath}.tmp`, text, 0o600);
        await files.rename(`${statePath}.tmp`, statePath);
      } catch (error) {
        log.warn({ statePath, error: messageOf(error) }, 'cannot write which CPUs were given away');
      }
    });
  }
}

/** How many whole CPUs a container asks for itself; 0: it shares. */
function exclusiveCount(pod: Pod, { resources }: Container): number {
  if (qosClassOf(pod) !== 'Guaranteed' || hasPodLevelResources(pod)) return 0;
  const cpu = parseQuantity(resources?.requests?.['cpu'] ?? resources?.limits?.['cpu'] ?? 0);
  return cpu % ONE === 0n ? Number(cpu / ONE) : 0;
}

function union(a: ReadonlySet<number>, b: ReadonlySet<number>): ReadonlySet<number> {
  return new Set([...a, ...b]);
}

function difference(a: ReadonlySet<number>, b: ReadonlySet<number>): ReadonlySet<number> {
  return new Set([...a].filter((each) => !b.has(each)));
}
