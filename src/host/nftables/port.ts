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
  /** A table as `nft -n list table` prints it, elements and all (`handles`: nft -a); undefined when there is none. */
  table(name: string, handles?: 'handles'): Promise<string | undefined>;
  /**
   * Chains as they are printed; undefined when one of them or the table is not there. Before nft 1.0.7 this reads every
   * element of the table as well, however many there are, for each of the chains.
   */
  chains(table: string, names: readonly string[], handles?: 'handles'): Promise<string | undefined>;
  /** Whether all these rules are still there, unchanged: what is replaced gets another handle. Costs one transaction. */
  holds(table: string, rules: readonly RuleHandle[]): Promise<boolean>;
  /** Ends what is kept open for speed. */
  close(): Promise<void>;
}

/** A rule by the number that the kernel gave it, which is never given again in this table. */
export interface RuleHandle {
  readonly chain: string;
  readonly handle: number;
}

/**
 * A transaction that cannot succeed: it would delete the rules and then make a chain anew that is there. If the kernel's
 * first complaint is about the latter, all rules are there; nothing has changed either way. (nft has no cheaper way to
 * ask: its lists read whole tables.)
 */
export function probeOf(family: IPFamily, table: string, rules: readonly RuleHandle[]): string | undefined {
  const [first] = rules;
  if (first === undefined) return undefined;
  const where = `${nftFamily(family)} ${table}`;
  const lines = rules.map(({ chain, handle }) => `delete rule ${where} ${chain} handle ${handle}\n`);
  return `${lines.join('')}create chain ${where} ${first.chain}\n`;
}

/** What the kernel said to such a transaction; undefined when it says neither. */
export function probeSays(complaints: string): boolean | undefined {
  if (/No such file or directory/.test(complaints)) return false;
  return /File exists/.test(complaints) ? true : undefined;
}

/**
 * For `nft -i`, which else reads what it was told in its whole life at the start (~/.nft.history), and at the end writes
 * it back: 80 and 400 ms with a million lines.
 */
export const withoutHistory = { HOME: '/dev/null' };

/** How nft names the family. */
export function nftFamily(family: IPFamily): 'ip' | 'ip6' {
  return family === 'IPv4' ? 'ip' : 'ip6';
}
