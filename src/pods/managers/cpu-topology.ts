/** One CPU (hardware thread). A core's number is that of its lowest CPU, so that it is unique in the machine. */
export interface Cpu {
  readonly id: number;
  readonly core: number;
  readonly socket: number;
  readonly numaNode: number;
  /** CPUs with the same number share their last cache; that of its lowest CPU. */
  readonly uncoreCache: number;
}

export type CpuTopology = readonly Cpu[];

export function cpusPerCore(topology: CpuTopology): number {
  const cores = new Set(topology.map(({ core }) => core)).size;
  return cores === 0 ? 0 : Math.floor(topology.length / cores);
}
