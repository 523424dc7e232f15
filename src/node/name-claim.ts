import type { ApiClient } from '../cluster/port.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { isConditionTrue } from '../model/conditions.ts';
import type { Node } from '../model/node.ts';
import type { Lease } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { type Identity, sameMachine } from './name-conflict.ts';
import type { NodeEvent } from './node-events.ts';
import { LEASE_NAMESPACE } from './node-lease.ts';

export interface NameClaimOptions {
  readonly nodeName: string;
  readonly identity: Identity;
  readonly leaseSeconds: number;
}

export interface NameClaimDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly event: (event: NodeEvent) => void;
}

/** An API that does not answer must not keep a node from starting: what it runs is checked while it runs. */
const PATIENCE_MS = 3000;
const LOOK_MS = 2500;

/**
 * Waits while another living machine uses this node's name, so that two machines never run the same pods. The same
 * machine (a restart, a reboot) never waits. Another one lives while its Lease is seen to be renewed; the clocks of the
 * two are not compared. A machine that was replaced is free after one lease duration at the latest, at once when the
 * node controller has found it gone. Rejects only when aborted.
 */
export async function claimNodeName(
  options: NameClaimOptions,
  deps: NameClaimDeps,
  signal: AbortSignal,
): Promise<void> {
  const { clock, logger } = deps;
  let renewTime: string | undefined;
  let sameSince: number | undefined;
  let told = false;
  for (;;) {
    const holder = await look(options, deps, signal);
    if (holder === undefined) break;
    const now = clock.monotonic();
    if (sameSince === undefined) sameSince = now;
    else if (holder.renewTime !== renewTime) {
      sameSince = now;
      if (!told) tell(options, holder.identity, deps);
      told = true;
    } else if (now - sameSince >= options.leaseSeconds * 1000) break;
    renewTime = holder.renewTime;
    await clock.sleep(LOOK_MS, signal);
  }
  if (told) logger.info({ node: options.nodeName }, 'the other machine is gone; going on with its name');
}

/** Who holds the name, if that is another machine that may be alive. */
async function look(
  { nodeName, identity }: NameClaimOptions,
  { api, clock, logger }: NameClaimDeps,
  signal: AbortSignal,
): Promise<{ readonly identity: Identity; readonly renewTime: string } | undefined> {
  const patience = new AbortController();
  const giveUp = AbortSignal.any([signal, patience.signal]);
  const timer = clock.after(PATIENCE_MS, () => patience.abort(new Error(`no answer in ${PATIENCE_MS} ms`)));
  try {
    const node = await api.get<Node>(resources.nodes, { name: nodeName }, giveUp);
    const other = node.status?.nodeInfo;
    if (other === undefined || other.systemUUID === '' || sameMachine(other, identity)) return undefined;
    const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
    if (!isConditionTrue(node.status?.conditions, 'Ready') && ready?.status !== 'False') return undefined;
    const lease = await api.get<Lease>(resources.leases, { namespace: LEASE_NAMESPACE, name: nodeName }, giveUp);
    return { identity: other, renewTime: lease.spec?.renewTime ?? '' };
  } catch (error) {
    signal.throwIfAborted();
    if (!hasCode(error, 'NotFound')) {
      logger.debug({ node: nodeName, error: messageOf(error) }, 'cannot see whether the node name is in use');
    }
    return undefined;
  } finally {
    timer.cancel();
  }
}

function tell({ nodeName, identity }: NameClaimOptions, other: Identity, { logger, event }: NameClaimDeps): void {
  const message = `another machine is alive and uses the node name ${nodeName} (its system UUID is ${other.systemUUID}, this machine's is ${identity.systemUUID}); nothing is started here until it is gone. Give one of them another name (--hostname-override)`;
  logger.error({ node: nodeName, other }, message);
  event({ type: 'Warning', reason: 'NodeNameConflict', message });
}
