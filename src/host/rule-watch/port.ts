import type { Unsubscribe } from '../../kit/emitter.ts';

/** A process that has changed rules, as the kernel names it. */
export interface Writer {
  readonly pid: number;
  /** At most 15 characters (comm of proc(5)). */
  readonly name: string;
}

/**
 * Tells of each transaction of nf_tables that another process has committed in this network namespace; iptables in its
 * nft flavour commits such, too. Throws nothing: what it cannot hear, `hears` says.
 */
export interface RuleWatch {
  /** False: somebody may write without a word here, and who wants to know has to look. */
  readonly hears: boolean;
  /** Told after the commit; undefined: something may have been missed. */
  subscribe(listener: (writer: Writer | undefined) => void): Unsubscribe;
  close(): Promise<void>;
}
