import type { Files } from '../../host/files/port.ts';
import type { NumaNode } from '../../host/machine/port.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import { formatCpus } from '../../model/cpu-set.ts';
import type { Container, Pod } from '../../model/pod.ts';
import {
  type Amounts,
  containerRequests,
  hasPodLevelResources,
  isSidecar,
  requestsOf,
} from '../../model/pod-resources.ts';
import { qosClassOf } from '../../model/qos.ts';
import type { Refusal } from '../admit/admit-pod.ts';
import { type ActivePods, isOver } from './active-pods.ts';
import { containersOf, type Hint, type Hints, type ResourceManager, unexpected } from './hints.ts';
import { bestHint, hasFree, memoryHints, mixesGroups } from './memory-hints.ts';
import {
  initContainersBefore,
  type MemoryBlock,
  MemoryLedger,
  type MemoryRequest,
  type ReservedMemory,
} from './memory-ledger.ts';
import { type MemoryState, memoryStateText, readMemoryState, stateOf } from './memory-state.ts';
import { maskOf, type NumaMask } from './numa-mask.ts';
import { StateFile } from './state-file.ts';

export interface MemoryManagerOptions {
  /** <root-dir>/memory_manager_state */
  readonly statePath: string;
  /** Bytes that no pod gets, by node. */
  readonly reserved: ReservedMemory;
}

export interface MemoryManagerDeps {
  readonly nodes: readonly NumaNode[];
  readonly files: Pick<Files, 'read' | 'write' | 'rename'>;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const ONE = 1_000_000_000n;

/**
 * Sets memory and huge pages of NUMA nodes aside for the containers of Guaranteed pods, and tells the runtime to keep them
 * there (kubelet's memory manager, policy Static; KEP-1769). What was given is kept in kubelet's state file.
 */
export class MemoryManager implements ResourceManager {
  private readonly options: MemoryManagerOptions;
  private readonly deps: MemoryManagerDeps;
  private readonly file: StateFile;
  private ledger: MemoryLedger;
  private readonly requests;
  private readonly errors;

  constructor(options: MemoryManagerOptions, deps: MemoryManagerDeps) {
    this.options = options;
    this.deps = deps;
    this.file = new StateFile(options.statePath, deps);
    this.ledger = this.emptyLedger();
    const { metrics } = deps;
    this.requests = metrics.counter(
      'kubelet_memory_manager_pinning_requests_total',
      'Containers that asked for memory of NUMA nodes.',
    );
    this.errors = metrics.counter(
      'kubelet_memory_manager_pinning_errors_total',
      'Of these, those that could not get it.',
    );
  }

  /** Takes up what an earlier process gave away. Throws InvalidConfig when that does not fit this machine or these settings. */
  async load(): Promise<void> {
    const { statePath } = this.options;
    try {
      this.restore(readMemoryState((await this.deps.files.read(statePath)).toString()));
    } catch (error) {
      if (!hasCode(error, 'NotFound')) {
        const advice = `please drain this node and delete the memory manager checkpoint file ${statePath} before starting again`;
        throw new CodedError('InvalidConfig', `${statePath} ${messageOf(error)}; ${advice}`, {}, error);
      }
    }
    this.store();
  }

  wants(pod: Pod): boolean {
    return isServed(pod);
  }

  hints(pod: Pod, container: Container): Hints {
    return this.wanted(
      pod,
      (request) => {
        const blocks = this.ledger.of(uidOf(pod), container.name);
        if (blocks !== undefined) return regenerated(blocks, request, runsOnce(pod, container));
        return this.hintsFor(pod, container.name, request);
      },
      requestsOf(container.resources),
    );
  }

  podHints(pod: Pod): Hints {
    return this.wanted(
      pod,
      (request) => {
        const blocks = containersOf(pod).flatMap(({ name }) => this.ledger.of(uidOf(pod), name) ?? []);
        if (blocks.length > 0) return regenerated(blocks, request, false);
        return memoryHints(this.ledger, request, () => 0);
      },
      containerRequests(pod),
    );
  }

  allocate(pod: Pod, container: Container, affinity: Hint): Refusal | undefined {
    if (!isServed(pod)) return undefined;
    this.requests.inc();
    const uid = uidOf(pod);
    if (this.ledger.of(uid, container.name) !== undefined) return undefined;
    const request = requestOf(requestsOf(container.resources));
    const chosen =
      request === undefined
        ? '[memorymanager] failed to represent quantity as int64'
        : this.choose(pod, container.name, request, affinity);
    if (request === undefined || typeof chosen === 'string') {
      this.errors.inc();
      return unexpected(String(chosen));
    }
    this.ledger.take(uid, container.name, chosen, request, earlier(pod, container.name));
    this.store();
    return undefined;
  }

  forget(podUid: string): void {
    const names = [...(this.ledger.entries.get(podUid)?.keys() ?? [])];
    for (const name of names) this.ledger.give(podUid, name);
    if (names.length > 0) this.store();
  }

  /** Takes back what pods that are over had, and init containers that have ended before another one began. */
  takeBack(active: ActivePods): void {
    const pods = new Map(active().map((each) => [uidOf(each.pod), each]));
    let changed = false;
    for (const [uid, containers] of this.ledger.entries) {
      const pod = pods.get(uid);
      for (const name of [...containers.keys()]) {
        if (isOver(pod, name)) changed = this.ledger.give(uid, name) || changed;
      }
    }
    if (changed) this.store();
  }

  /** The nodes that a container's memory is on, as the runtime is told; undefined: any. */
  memsOf(podUid: string, container: string): string | undefined {
    const nodes = (this.ledger.of(podUid, container) ?? []).flatMap(({ numaAffinity }) => numaAffinity);
    return nodes.length === 0 ? undefined : formatCpus(nodes);
  }

  blocksOf(podUid: string, container: string): readonly MemoryBlock[] {
    return this.ledger.of(podUid, container) ?? [];
  }

  /** What pods may have of each node, given away or not. */
  allocatable(): MemoryBlock[] {
    return [...this.ledger.nodes].flatMap(([id, { memoryMap }]) =>
      [...memoryMap]
        .filter(([, { allocatable }]) => allocatable > 0)
        .map(([type, { allocatable }]) => ({ numaAffinity: [id], type, size: allocatable })),
    );
  }

  /** What is written is written. */
  close(): Promise<void> {
    return this.file.written;
  }

  private wanted(pod: Pod, hints: (request: MemoryRequest) => readonly Hint[], amounts: Amounts): Hints {
    const request = isServed(pod) ? requestOf(amounts) : undefined;
    if (request === undefined || request.size === 0) return new Map();
    const found = hints(request);
    // Kinds of memory go together: the same nodes for all.
    return new Map([...request.keys()].map((type) => [type, found]));
  }

  private hintsFor(pod: Pod, container: string, request: MemoryRequest): Hint[] {
    const before = earlier(pod, container);
    return memoryHints(this.ledger, request, (nodes, type) => this.ledger.reusable(uidOf(pod), before, nodes, type));
  }

  /** The nodes, or why there are none. */
  private choose(pod: Pod, container: string, request: MemoryRequest, affinity: Hint): NumaMask | string {
    const hints = this.hintsFor(pod, container, request);
    let { nodes } = affinity;
    let preferred = affinity.preferred;
    if (nodes === undefined) {
      const usual = bestHint(hints);
      if (usual?.nodes === undefined) {
        return '[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available';
      }
      if (!usual.preferred && affinity.preferred) return '[memorymanager] failed to find the default preferred hint';
      nodes = usual.nodes;
      preferred = usual.preferred;
    }
    const alone = nodes;
    if (hints.some((hint) => hint.nodes === alone)) return alone;
    // What all providers agreed on is less than it takes here, or breaks up a group: more nodes, but these among them.
    const wider = bestHint(hints.filter((hint) => ((hint.nodes ?? 0n) & alone) === alone));
    if (wider?.nodes === undefined) {
      return hasFree(this.ledger, alone, request) && mixesGroups(this.ledger, alone)
        ? '[memorymanager] preferred hint violates NUMA node allocation'
        : '[memorymanager] failed to find NUMA nodes to extend the current topology hint';
    }
    if (!wider.preferred && preferred) return '[memorymanager] failed to find the extended preferred hint';
    return wider.nodes;
  }

  private restore({ machineState, entries }: MemoryState): void {
    const refuse = (why: string): never => {
      throw new CodedError('InvalidObject', `does not fit: [memorymanager] ${why}`);
    };
    const isEmpty = Object.keys(machineState).length === 0;
    if (isEmpty && Object.keys(entries).length > 0) {
      refuse('machine state can not be empty when it has memory assignments');
    }
    if (isEmpty) return;
    const ledger = this.emptyLedger();
    for (const [uid, containers] of Object.entries(entries)) {
      for (const [name, blocks] of Object.entries(containers)) {
        if (!ledger.restore(uid, name, blocks)) {
          refuse(`(pod: ${uid}, container: ${name}) the memory assignment uses the NUMA that does not exist`);
        }
      }
    }
    if (!isSameMachine(machineState, stateOf(ledger).machineState)) {
      refuse('the expected machine state is different from the real one');
    }
    for (const [id, { memoryMap }] of Object.entries(machineState)) {
      for (const [type, { reserved }] of Object.entries(memoryMap)) ledger.recount(Number(id), type, reserved);
    }
    this.ledger = ledger;
  }

  private emptyLedger(): MemoryLedger {
    return new MemoryLedger(this.deps.nodes, this.options.reserved);
  }

  private store(): void {
    this.file.write(memoryStateText(stateOf(this.ledger)));
  }
}

function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? '';
}

function isServed(pod: Pod): boolean {
  return qosClassOf(pod) === 'Guaranteed' && !hasPodLevelResources(pod);
}

function earlier({ spec }: Pod, container: string): readonly Container[] {
  return initContainersBefore(spec.initContainers ?? [], container);
}

/** Bytes; undefined: parts of a byte are asked for. */
function requestOf(amounts: Amounts): MemoryRequest | undefined {
  const request = new Map<string, number>();
  for (const [name, amount] of Object.entries(amounts)) {
    if (name !== 'memory' && !name.startsWith('hugepages-')) continue;
    if (amount % ONE !== 0n) return undefined;
    request.set(name, Number(amount / ONE));
  }
  return request;
}

function runsOnce({ spec }: Pod, { name }: Container): boolean {
  return spec.initContainers?.some((each) => each.name === name && !isSidecar(each)) === true;
}

/**
 * What the pod has already is where it wants to be; if it has other amounts, nothing is. `less`: containers after it use some
 * of it again.
 */
function regenerated(blocks: readonly MemoryBlock[], request: MemoryRequest, less: boolean): Hint[] {
  const sizes = new Map<string, number>();
  for (const { type, size } of blocks) sizes.set(type, (sizes.get(type) ?? 0) + size);
  const fits = (has: number | undefined, size: number): boolean => has === size || (less && (has ?? size + 1) < size);
  if ([...request].some(([type, size]) => !fits(sizes.get(type), size))) return [];
  return [{ nodes: maskOf(blocks.flatMap(({ numaAffinity }) => numaAffinity)), preferred: true }];
}

/** Bytes are compared by group: which of its nodes they were counted off may differ. */
function isSameMachine(a: MemoryState['machineState'], b: MemoryState['machineState']): boolean {
  const sum = (of: MemoryState['machineState'], cells: readonly number[], type: string, what: 'free' | 'reserved') =>
    cells.reduce((so, cell) => so + (of[cell]?.memoryMap[type]?.[what] ?? 0), 0);
  const names = (of: object): string => Object.keys(of).sort().join();
  return (
    names(a) === names(b) &&
    Object.entries(a).every(([id, node]) => {
      const other = b[id];
      if (other === undefined || other.numberOfAssignments !== node.numberOfAssignments) return false;
      if (maskOf(other.cells) !== maskOf(node.cells) || names(node.memoryMap) !== names(other.memoryMap)) return false;
      return Object.entries(node.memoryMap).every(([type, table]) => {
        const now = other.memoryMap[type];
        return (
          (['total', 'systemReserved', 'allocatable'] as const).every((what) => now?.[what] === table[what]) &&
          (['free', 'reserved'] as const).every(
            (what) => sum(a, node.cells, type, what) === sum(b, node.cells, type, what),
          )
        );
      });
    })
  );
}
