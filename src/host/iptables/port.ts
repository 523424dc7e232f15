import type { IPFamily } from '../../model/service.ts';

/**
 * The packet filter rules of one address family, in the network namespace of this process. Throws CodedError:
 * CommandFailed when the rules are refused (metadata: `line` where the kernel or the tool said so), Unavailable when
 * the same call may work later (the xtables lock is held, the process table is full).
 */
export interface IptablesPort {
  readonly family: IPFamily;
  /** Which of the two kernel interfaces holds the rules. They do not see each other's. */
  readonly flavour: 'nft' | 'legacy';
  /**
   * `iptables-restore --noflush`: each table up to its COMMIT is applied as a whole or not at all; chains that are
   * declared are made or emptied, others stay. Tables before a refused one are applied.
   */
  restore(text: string, signal?: AbortSignal): Promise<void>;
  /** `iptables-save`: all tables, or one. */
  save(table?: string): Promise<string>;
  /** `iptables -S CHAIN`: the chain's "-A" lines; undefined when there is no such chain. */
  list(table: string, chain: string): Promise<readonly string[] | undefined>;
}
