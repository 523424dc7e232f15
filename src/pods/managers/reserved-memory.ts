import type { NumaNode } from '../../host/machine/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { ResourceList } from '../../model/meta.ts';
import { type Amounts, amountsOf, plus } from '../../model/pod-resources.ts';
import { formatBytes } from '../../model/quantity.ts';
import type { ReservedMemory } from './memory-ledger.ts';

const ONE = 1_000_000_000n;
/** Each set of nodes is looked at for each container: 16 have 65,535. kubelet would try, and not come to an end. */
const MAX_NODES = 16;

/**
 * reservedMemory by node, in bytes. It has to be, kind by kind, what the node keeps back as a whole (kubelet
 * memorymanager/memory_manager.go getSystemReservedMemory). Throws InvalidConfig.
 */
export function reservedMemoryOf(
  reserved: readonly { readonly numaNode: number; readonly limits: ResourceList }[],
  nodes: readonly NumaNode[],
  nodeReservations: Amounts,
): ReservedMemory {
  const refuse = (why: string): never => {
    throw new CodedError('InvalidConfig', `reservedMemory: ${why}`);
  };
  if (nodes.length > MAX_NODES) {
    throw new CodedError(
      'InvalidConfig',
      `memoryManagerPolicy Static: unsupported on machines with more than ${MAX_NODES} NUMA nodes, this one has ${nodes.length}`,
    );
  }
  let total: Amounts = {};
  const byNode = new Map<number, Record<string, number>>(nodes.map(({ id }) => [id, {}]));
  for (const { numaNode, limits } of reserved) {
    const own = byNode.get(numaNode);
    if (own === undefined) {
      return refuse(`references a NUMA node ${numaNode} that does not exist on this machine`);
    }
    total = plus(total, amountsOf(limits));
    for (const [type, amount] of Object.entries(amountsOf(limits))) own[type] = (own[type] ?? 0) + Number(amount / ONE);
  }
  const kinds = new Set([...Object.keys(total), ...Object.keys(nodeReservations).filter(isMemory)]);
  for (const type of kinds) {
    const [given, needed] = [total[type] ?? 0n, nodeReservations[type] ?? 0n];
    if (given === needed) continue;
    const text = (amount: bigint): string => formatBytes(Number(amount / ONE));
    refuse(
      `the total amount "${text(given)}" of type "${type}" is not equal to the value "${text(needed)}" ` +
        'determined by Node Allocatable feature (kubeReserved, systemReserved and evictionHard together)',
    );
  }
  for (const { id, memoryBytes, hugepages } of nodes) {
    const inPages = hugepages.reduce((sum, { bytes }) => sum + bytes, 0);
    const has: Record<string, number> = { memory: memoryBytes - inPages };
    for (const { size, bytes } of hugepages) has[`hugepages-${size}`] = bytes;
    for (const [type, bytes] of Object.entries(byNode.get(id) ?? {})) {
      if (bytes > (has[type] ?? 0)) {
        refuse(`${formatBytes(bytes)} of ${type} of NUMA node ${id}, which has ${formatBytes(has[type] ?? 0)}`);
      }
    }
  }
  return byNode;
}

function isMemory(name: string): boolean {
  return name === 'memory' || name.startsWith('hugepages-');
}
