import type { IPFamily } from '../../model/service.ts';

/**
 * The nftables of one address family, in the network namespace of this process. Throws CodedError: CommandFailed when
 * the kernel or the tool refuses a transaction (metadata: `line` where it said so), Unavailable when the same call may
 * work later (the process table is full, the command was killed).
 */
export interface NftablesPort {
  readonly family: IPFamily;
  /** One transaction in the language of nft(8): all of it is applied, or nothing. */
  apply(text: string, signal?: AbortSignal): Promise<void>;
  /** A table as `nft -n list table` prints it, elements and all; undefined when there is none. */
  table(name: string): Promise<string | undefined>;
  /** A chain as it is printed; undefined when it or its table is not there. */
  chain(table: string, name: string): Promise<string | undefined>;
  /** Ends what is kept open for speed. */
  close(): Promise<void>;
}

/** How nft names the family. */
export function nftFamily(family: IPFamily): 'ip' | 'ip6' {
  return family === 'IPv4' ? 'ip' : 'ip6';
}
