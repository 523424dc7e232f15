/**
 * The kernel's sets of addresses and ports (ipset), in the network namespace of this process. Throws CodedError:
 * CommandFailed when a line is refused (metadata `line` where the tool says which; those before it may have been done, none after it has), Unavailable
 * when the same call may work later.
 */
export interface IpsetPort {
  /** `ipset restore`: create, add, del, swap, flush and destroy, a line each, from first to last. */
  restore(text: string, signal?: AbortSignal): Promise<void>;
  /** `ipset save`: all sets and their members, in lines that `restore` takes. */
  save(): Promise<string>;
  /** How many members each set has. */
  sizes(): Promise<ReadonlyMap<string, number>>;
  /**
   * Destroys sets. The kernel takes rules away some time after they have been deleted, and until then a set that they
   * look into is in use: that is waited for, two seconds at most.
   */
  destroy(names: readonly string[]): Promise<void>;
}
