import type { ApiClient } from '../cluster/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Lease } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { parseTime, rfc3339Micro } from '../model/time.ts';

export interface NodeLeaseOptions {
  readonly nodeName: string;
  readonly durationSeconds: number;
}

export interface NodeLeaseDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The Node's UID, which owns the Lease; undefined while it is not known. */
  readonly nodeUid: () => string | undefined;
  /** Somebody else renewed the lease between two renewals of ours. */
  readonly foreignRenewal?: (renewTime: string) => void;
  /** The API answers again, after some time without. */
  readonly recovered?: () => void;
  readonly random?: () => number;
}

export const LEASE_NAMESPACE = 'kube-node-lease';
/** A lease is renewed when a quarter of it is over, later by up to 4 % (component-helpers/apimachinery/lease). */
const RENEW_FRACTION = 0.25;
const RENEW_JITTER = 0.04;
/** While there is neither a Lease nor a Node to own one. */
const UNOWNED_MS = 200;
/** After an outage of the API a node should be back before the node controller (each 5 s) judges what it missed. */
const RETRY_MS = 5000;
/** Renewals that were sent and never answered may have arrived: so many are remembered as ours. */
const SENT_LIMIT = 16;

/**
 * Says "this node lives" in its Lease, for as long as it runs. Who watches a Lease takes only a later renewTime for a
 * renewal, so that one never goes back, although the wall clock may.
 */
export class NodeLease {
  private readonly options: NodeLeaseOptions;
  private readonly deps: NodeLeaseDeps;
  private lease: Lease | undefined;
  private sent: string[] = [];
  /** When the newest renewTime of ours was worked out (Clock.monotonic). */
  private sentAt: number | undefined;
  private behind = false;
  /** When the Lease was last renewed (monotonic), for health checks. */
  renewedAt: number | undefined;

  constructor(options: NodeLeaseOptions, deps: NodeLeaseDeps) {
    this.options = options;
    this.deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.deps;
    const delays = new RetryDelays({ baseMs: 200, maxMs: RETRY_MS, jitter: 0.5, random });
    let failed = false;
    while (!signal.aborted) {
      let delay: number;
      try {
        const renewed = await this.renew(signal);
        if (renewed) this.renewedAt = clock.monotonic();
        delays.reset();
        if (failed) this.deps.recovered?.();
        failed = false;
        delay = renewed
          ? this.options.durationSeconds * 1000 * RENEW_FRACTION * (1 + RENEW_JITTER * random())
          : UNOWNED_MS;
      } catch (error) {
        if (signal.aborted) return;
        failed = true;
        // What is known of the Lease may be what is wrong.
        this.lease = undefined;
        delay = delays.next();
        logger.warn(
          { error: messageOf(error), inMs: Math.round(delay) },
          'could not renew the node lease; it is retried',
        );
      }
      await clock.sleep(delay, signal).catch(() => {});
    }
  }

  /**
   * One round: an update of what is known, else what is there is read, else it is made. False: there is none, and none
   * is made while there is no Node to own it.
   */
  async renew(signal?: AbortSignal): Promise<boolean> {
    const { api } = this.deps;
    const target = { namespace: LEASE_NAMESPACE, name: this.options.nodeName };
    if (this.lease !== undefined) {
      try {
        this.lease = await api.update<Lease>(resources.leases, target, this.renewed(this.lease), signal);
        return true;
      } catch (error) {
        if (!hasCode(error, 'Conflict', 'NotFound')) throw error;
        this.lease = undefined;
      }
    }
    let there: Lease | undefined;
    try {
      there = await api.get<Lease>(resources.leases, target, signal);
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
    }
    if (there === undefined && this.deps.nodeUid() === undefined) return false;
    this.lookForOthers(there?.spec?.renewTime);
    this.lease =
      there === undefined
        ? await api.create<Lease>(resources.leases, { namespace: LEASE_NAMESPACE }, this.renewed(undefined), signal)
        : await api.update<Lease>(resources.leases, target, this.renewed(there), signal);
    return true;
  }

  private lookForOthers(renewTime: string | undefined): void {
    // The renewal that a predecessor left is nobody's challenge, nor is a Lease that was made anew.
    if (renewTime === undefined || this.sent.length === 0) return;
    const time = parseTime(renewTime);
    if (this.sent.some((ours) => ours === renewTime || parseTime(ours) === time)) return;
    this.deps.foreignRenewal?.(renewTime);
  }

  private renewed(lease: Lease | undefined): Lease {
    const { nodeName, durationSeconds } = this.options;
    const uid = this.deps.nodeUid();
    const owner =
      uid === undefined ? lease?.metadata.ownerReferences : [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }];
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        ...lease?.metadata,
        name: nodeName,
        namespace: LEASE_NAMESPACE,
        ...(owner === undefined ? {} : { ownerReferences: owner }),
      },
      spec: {
        ...lease?.spec,
        holderIdentity: lease?.spec?.holderIdentity ?? nodeName,
        leaseDurationSeconds: durationSeconds,
        renewTime: this.nextRenewTime(parseTime(lease?.spec?.renewTime)),
      },
    };
  }

  /** The wall clock's time, or where that is behind the last renewal: the last renewal and what has passed since. */
  private nextRenewTime(last: number | undefined): string {
    const { clock, logger } = this.deps;
    const now = clock.now();
    const monotonic = clock.monotonic();
    let time = now;
    if (last !== undefined && now <= last) {
      time = last + Math.max(1, Math.round(monotonic - (this.sentAt ?? monotonic)));
      if (!this.behind && last - now > 1000) {
        logger.warn(
          { aheadMs: last - now },
          'the wall clock is behind the last renewal of the node lease; renewals go on from there',
        );
      }
    }
    this.behind = last !== undefined && now <= last;
    this.sentAt = monotonic;
    const text = rfc3339Micro(time);
    this.sent.push(text);
    if (this.sent.length > SENT_LIMIT) this.sent.shift();
    return text;
  }
}
