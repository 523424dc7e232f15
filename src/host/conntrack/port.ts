import type { IPFamily } from '../../model/service.ts';

export type FlowProtocol = 'UDP' | 'TCP';

/** One flow that the kernel translates or lets through; addresses in the spelling of formatIp. */
export interface Flow {
  readonly protocol: FlowProtocol;
  readonly family: IPFamily;
  readonly source: string;
  readonly sourcePort: number;
  /** Where the client sent to. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Who answers: the endpoint after DNAT, the destination itself without. */
  readonly replySource: string;
  readonly replySourcePort: number;
  /** Nobody has answered yet. */
  readonly unreplied?: true;
}

/** Which flows to forget: those that have every value that is given. */
export interface FlowFilter {
  readonly protocol: FlowProtocol;
  readonly family: IPFamily;
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly destinationPort: number;
  readonly replySource?: string;
  readonly replySourcePort?: number;
  /** Those alone that somebody has answered: each such filter is a command of its own. */
  readonly replied?: true;
}

/** The kernel's connection tracking of this process's network namespace. Throws CodedError (CommandFailed). */
export interface ConntrackPort {
  list(family: IPFamily, protocol: FlowProtocol): Promise<readonly Flow[]>;
  /** Forgets the flows of all filters; the answer is how many there were. No such flow is fine. */
  delete(filters: readonly FlowFilter[]): Promise<number>;
}
