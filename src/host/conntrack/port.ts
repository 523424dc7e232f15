import type { IPFamily } from '../../model/service.ts';

/** One UDP flow that the kernel translates or lets through; addresses in the spelling of formatIp. */
export interface UdpFlow {
  readonly family: IPFamily;
  readonly source: string;
  readonly sourcePort: number;
  /** Where the client sent to. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Who answers: the endpoint after DNAT, the destination itself without. */
  readonly replySource: string;
  readonly replySourcePort: number;
}

/** Which flows to forget: those that have every value that is given. */
export interface UdpFlowFilter {
  readonly family: IPFamily;
  readonly destination?: string;
  readonly destinationPort: number;
  readonly replySource?: string;
  readonly replySourcePort?: number;
}

/** The kernel's connection tracking of this process's network namespace. Throws CodedError (CommandFailed). */
export interface ConntrackPort {
  listUdp(family: IPFamily): Promise<readonly UdpFlow[]>;
  /** Forgets the flows of all filters; the answer is how many there were. No such flow is fine. */
  deleteUdp(filters: readonly UdpFlowFilter[]): Promise<number>;
}
