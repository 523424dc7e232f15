import type { Clock } from '../kit/clock.ts';
import type { Logger } from '../kit/log.ts';
import type { NodeSystemInfo } from '../model/node.ts';
import type { NodeEvent } from './node-events.ts';

/** What tells one run of a machine from another. */
export type Identity = Pick<NodeSystemInfo, 'machineID' | 'systemUUID' | 'bootID'>;

/** So many renewals by somebody else within a minute are no accident: an administrator's edit is one. */
const RENEWALS = 2;
const WITHIN_MS = 60_000;
/** The same trouble is told of again after so long. */
const QUIET_MS = 600_000;

/**
 * Notices that another kubelet or deckhand uses this node's name: it renews the same Lease, or writes another machine's
 * identity into the Node. One message and one event; nothing is stopped, since nobody can say which of them is wrong.
 */
export class NameConflict {
  private readonly nodeName: string;
  private readonly deps: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly event: (event: NodeEvent) => void;
  };
  private renewals: number[] = [];
  private toldAt: number | undefined;
  private other: Identity | undefined;

  constructor(nodeName: string, deps: NameConflict['deps']) {
    this.nodeName = nodeName;
    this.deps = deps;
  }

  /** True while somebody else was seen within the last minutes. */
  get seen(): boolean {
    return this.toldAt !== undefined && this.deps.clock.monotonic() - this.toldAt < QUIET_MS;
  }

  foreignRenewal(): void {
    const now = this.deps.clock.monotonic();
    this.renewals = [...this.renewals.filter((at) => now - at < WITHIN_MS), now];
    if (this.renewals.length >= RENEWALS) this.tell('renews the lease of this node');
  }

  /** The Node, after this process wrote its own identity into it, has another's. */
  foreignIdentity(other: Identity): void {
    this.other = other;
    this.tell('writes the status of this node');
  }

  private tell(what: string): void {
    const now = this.deps.clock.monotonic();
    if (this.toldAt !== undefined && now - this.toldAt < QUIET_MS) return;
    this.toldAt = now;
    const message = `another kubelet or deckhand ${what}, too: two use the name ${this.nodeName}${whereIs(this.other)}; expected one. Stop one of them, or give it another name (--hostname-override)`;
    this.deps.logger.error({ node: this.nodeName, ...this.other }, message);
    this.deps.event({ type: 'Warning', reason: 'NodeNameConflict', message });
  }
}

function whereIs(other: Identity | undefined): string {
  return other === undefined ? '' : ` (the other's system UUID is ${other.systemUUID}, its boot id ${other.bootID})`;
}

/** Whether two identities are the same machine: the same boot, or the same firmware. Cloned disks share a machine id. */
export function sameMachine(a: Identity, b: Identity): boolean {
  if (a.bootID !== '' && a.bootID === b.bootID) return true;
  return a.systemUUID.toLowerCase() === b.systemUUID.toLowerCase();
}
