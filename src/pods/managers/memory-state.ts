import { CodedError } from '../../kit/errors.ts';
import { fnv1a32 } from '../fnv1a32.ts';
import type { MemoryBlock, MemoryLedger } from './memory-ledger.ts';

interface TableInFile {
  readonly total: number;
  readonly systemReserved: number;
  readonly allocatable: number;
  readonly reserved: number;
  readonly free: number;
}

interface NodeInFile {
  readonly numberOfAssignments: number;
  readonly memoryMap: Readonly<Record<string, TableInFile>>;
  readonly cells: readonly number[];
}

type Entries = Readonly<Record<string, Readonly<Record<string, readonly MemoryBlock[]>>>>;

/** What a memory_manager_state says. */
export interface MemoryState {
  readonly machineState: Readonly<Record<string, NodeInFile>>;
  readonly entries: Entries;
}

const POLICY = 'Static';

export function stateOf(ledger: MemoryLedger): MemoryState {
  const machineState: Record<string, NodeInFile> = {};
  for (const [id, { numberOfAssignments, memoryMap, cells }] of ledger.nodes) {
    machineState[id] = { numberOfAssignments, memoryMap: Object.fromEntries([...memoryMap].sort(byKey)), cells };
  }
  const entries: Record<string, Record<string, readonly MemoryBlock[]>> = {};
  for (const [uid, containers] of [...ledger.entries].sort(byKey)) {
    entries[uid] = Object.fromEntries([...containers].sort(byKey));
  }
  return { machineState, entries };
}

/** kubelet's memory_manager_state (memorymanager/state/checkpoint.go, the form without entries of whole pods). */
export function memoryStateText({ machineState, entries }: MemoryState): string {
  return JSON.stringify({
    policyName: POLICY,
    machineState,
    ...(Object.keys(entries).length === 0 ? {} : { entries }),
    checksum: checksumOf(POLICY, machineState, entries),
  });
}

/** Throws InvalidObject. */
export function readMemoryState(text: string): MemoryState {
  let file: Partial<MemoryState> & { readonly policyName?: unknown; readonly checksum?: unknown };
  try {
    file = JSON.parse(text) as typeof file;
  } catch (error) {
    throw new CodedError('InvalidObject', 'is no JSON', {}, error);
  }
  const { policyName, machineState = {}, entries = {}, checksum } = file;
  if (typeof policyName !== 'string') throw new CodedError('InvalidObject', 'has no policyName');
  let actual: number;
  try {
    actual = checksumOf(policyName, machineState, entries);
  } catch (error) {
    throw new CodedError('InvalidObject', 'is no state of a memory manager', {}, error);
  }
  if (checksum !== 0 && checksum !== undefined && checksum !== actual) {
    throw new CodedError('InvalidObject', 'is corrupt: its checksum does not fit');
  }
  if (policyName !== POLICY) {
    throw new CodedError(
      'InvalidObject',
      `[memorymanager] configured policy "${POLICY}" differs from state checkpoint policy "${policyName}"`,
    );
  }
  return { machineState, entries };
}

/** Over the struct as Go's spew prints it ("%#v", keys sorted). */
function checksumOf(policy: string, machineState: MemoryState['machineState'], entries: Entries): number {
  const table = (of: TableInFile): string =>
    `<*>{TotalMemSize:(uint64)${of.total} SystemReserved:(uint64)${of.systemReserved} ` +
    `Allocatable:(uint64)${of.allocatable} Reserved:(uint64)${of.reserved} Free:(uint64)${of.free}}`;
  const node = ({ numberOfAssignments, memoryMap, cells }: NodeInFile): string =>
    `<*>{NumberOfAssignments:(int)${numberOfAssignments} ` +
    `MemoryMap:(map[v1.ResourceName]*state.MemoryTable)${map(memoryMap, table, byKey)} Cells:([]int)[${cells.join(' ')}]}`;
  const block = ({ numaAffinity, type, size }: MemoryBlock): string =>
    `{NUMAAffinity:([]int)[${numaAffinity.join(' ')}] Type:(v1.ResourceName)${type} Size:(uint64)${size}}`;
  const blocks = (of: readonly MemoryBlock[]): string => `[${of.map(block).join(' ')}]`;
  return fnv1a32(
    `(*state.MemoryManagerCheckpoint){PolicyName:(string)${policy} ` +
      `MachineState:(state.NUMANodeMap)${map(machineState, node, ([a], [b]) => Number(a) - Number(b))} ` +
      `Entries:(state.ContainerMemoryAssignments)${map(entries, (of) => map(of, blocks, byKey), byKey)} ` +
      'Checksum:(checksum.Checksum)0}',
  );
}

type ByKey = (a: readonly [string, unknown], b: readonly [string, unknown]) => number;

function map<T>(record: Readonly<Record<string, T>>, value: (of: T) => string, order: ByKey): string {
  const parts = Object.entries(record)
    .sort(order)
    .map(([key, of]) => `${key}:${value(of)}`);
  return `map[${parts.join(' ')}]`;
}

function byKey([a]: readonly [string | number, unknown], [b]: readonly [string | number, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
