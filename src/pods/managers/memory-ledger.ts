import type { NumaNode } from '../../host/machine/port.ts';
import type { Container } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { maskOf, type NumaMask, nodesOf } from './numa-mask.ts';

/** What a container has of one kind of memory, in bytes, from a group of NUMA nodes. The names are the checkpoint's. */
export interface MemoryBlock {
  readonly numaAffinity: readonly number[];
  /** "memory" or "hugepages-2Mi". */
  readonly type: string;
  readonly size: number;
}

/** One kind of memory of a node, in bytes. */
export interface MemoryTable {
  readonly total: number;
  readonly systemReserved: number;
  readonly allocatable: number;
  reserved: number;
  free: number;
}

export interface NodeMemory {
  /** How many blocks lie on it. */
  numberOfAssignments: number;
  readonly memoryMap: ReadonlyMap<string, MemoryTable>;
  /** The nodes that what lies on it is spread over: a node is used alone or with always the same others. */
  cells: readonly number[];
}

export type ReservedMemory = ReadonlyMap<number, Readonly<Record<string, number>>>;

/** Bytes by kind of memory. */
export type MemoryRequest = ReadonlyMap<string, number>;

/** Who has which memory (kubelet memorymanager/policy_static.go). In a group the bytes are counted off node after node. */
export class MemoryLedger {
  readonly nodes: ReadonlyMap<number, NodeMemory>;
  private readonly pods = new Map<string, Map<string, readonly MemoryBlock[]>>();

  constructor(nodes: readonly NumaNode[], reserved: ReservedMemory) {
    this.nodes = new Map(nodes.map((node) => [node.id, emptyNode(node, reserved.get(node.id) ?? {})]));
  }

  of(podUid: string, container: string): readonly MemoryBlock[] | undefined {
    return this.pods.get(podUid)?.get(container);
  }

  get entries(): ReadonlyMap<string, ReadonlyMap<string, readonly MemoryBlock[]>> {
    return this.pods;
  }

  table(node: number, type: string): MemoryTable | undefined {
    return this.nodes.get(node)?.memoryMap.get(type);
  }

  /** Bytes that init containers had from just these nodes, and have no more when those after them run. */
  reusable(podUid: string, earlier: readonly Container[], nodes: NumaMask, type: string): number {
    let bytes = 0;
    for (const { name } of earlier) {
      for (const block of this.of(podUid, name) ?? []) {
        if (block.type === type && maskOf(block.numaAffinity) === nodes) bytes += block.size;
      }
    }
    return bytes;
  }

  /** `earlier`: the init containers before it, whose memory is used again first. */
  take(
    podUid: string,
    container: string,
    nodes: NumaMask,
    request: MemoryRequest,
    earlier: readonly Container[],
  ): void {
    const blocks: MemoryBlock[] = [];
    for (const [type, size] of request) {
      const numaAffinity = nodesOf(nodes);
      const again = Math.min(size, this.reusable(podUid, earlier, nodes, type));
      this.count(numaAffinity, type, size - again);
      // The pod's blocks together are what it has: what is used again is no longer the init container's.
      this.shrink(podUid, earlier, nodes, type, again);
      blocks.push({ numaAffinity, type, size });
    }
    this.set(podUid, container, blocks);
  }

  /** Writes down what an earlier process gave. False: there is no such node, or none with such memory. */
  restore(podUid: string, container: string, blocks: readonly MemoryBlock[]): boolean {
    const known = blocks.every(({ numaAffinity, type }) =>
      numaAffinity.every((node) => this.table(node, type) !== undefined),
    );
    if (!known) return false;
    for (const { numaAffinity, type, size } of blocks) this.count(numaAffinity, type, size);
    this.set(podUid, container, blocks);
    return true;
  }

  /** Which node of a group bytes were counted off depends on what went before: so it was. */
  recount(node: number, type: string, reserved: number): void {
    const table = this.table(node, type);
    if (table === undefined || !(reserved >= 0 && reserved <= table.allocatable)) return;
    table.reserved = reserved;
    table.free = table.allocatable - reserved;
  }

  /** False: it had nothing. */
  give(podUid: string, container: string): boolean {
    const ofPod = this.pods.get(podUid);
    const blocks = ofPod?.get(container);
    if (ofPod === undefined || blocks === undefined) return false;
    ofPod.delete(container);
    if (ofPod.size === 0) this.pods.delete(podUid);
    for (const { numaAffinity, type, size } of blocks) {
      let left = size;
      for (const id of numaAffinity) {
        const node = this.nodes.get(id);
        if (node === undefined) continue;
        node.numberOfAssignments--;
        if (node.numberOfAssignments === 0) node.cells = [id];
        const table = node.memoryMap.get(type);
        if (table === undefined) continue;
        const back = Math.min(left, table.reserved);
        table.reserved -= back;
        table.free += back;
        left -= back;
      }
    }
    return true;
  }

  private count(numaAffinity: readonly number[], type: string, size: number): void {
    let left = size;
    for (const id of numaAffinity) {
      const node = this.nodes.get(id);
      if (node === undefined) continue;
      node.numberOfAssignments++;
      node.cells = numaAffinity;
      const table = node.memoryMap.get(type);
      if (table === undefined) continue;
      const taken = Math.min(left, Math.max(table.free, 0));
      table.reserved += taken;
      table.free -= taken;
      left -= taken;
    }
  }

  private shrink(podUid: string, earlier: readonly Container[], nodes: NumaMask, type: string, bytes: number): void {
    let left = bytes;
    for (const { name } of earlier) {
      const blocks = this.of(podUid, name);
      if (blocks === undefined) continue;
      const smaller = blocks.map((block) => {
        if (block.type !== type || maskOf(block.numaAffinity) !== nodes) return block;
        const used = Math.min(left, block.size);
        left -= used;
        return { ...block, size: block.size - used };
      });
      this.set(podUid, name, smaller);
    }
  }

  private set(podUid: string, container: string, blocks: readonly MemoryBlock[]): void {
    const ofPod = this.pods.get(podUid) ?? new Map<string, readonly MemoryBlock[]>();
    this.pods.set(podUid, ofPod.set(container, blocks));
  }
}

/** Init containers that have ended before the named one begins. */
export function initContainersBefore(initContainers: readonly Container[], name: string): readonly Container[] {
  const at = initContainers.findIndex((each) => each.name === name);
  return initContainers.slice(0, at === -1 ? undefined : at).filter((each) => !isSidecar(each));
}

function emptyNode({ id, memoryBytes, hugepages }: NumaNode, reserved: Readonly<Record<string, number>>): NodeMemory {
  const table = (type: string, total: number, usable: number): [string, MemoryTable] => {
    const systemReserved = reserved[type] ?? 0;
    const allocatable = usable - systemReserved;
    return [type, { total, systemReserved, allocatable, reserved: 0, free: allocatable }];
  };
  // What stands in huge pages is no longer there for others.
  const inPages = hugepages.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    numberOfAssignments: 0,
    memoryMap: new Map([
      ...hugepages.map(({ size, bytes }) => table(`hugepages-${size}`, bytes, bytes)),
      table('memory', memoryBytes, memoryBytes - inPages),
    ]),
    cells: [id],
  };
}
