import type { ApiClient } from '../cluster/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Lease } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { rfc3339Micro } from '../model/time.ts';

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
  readonly random?: () => number;
}

const NAMESPACE = 'kube-node-lease';
/** A lease is renewed when a quarter of it is over, later by up to 4 % (component-helpers/apimachinery/lease). */
const RENEW_FRACTION = 0.25;
const RENEW_JITTER = 0.04;

/** Says "this node lives" in its Lease, for as long as it runs. */
export class NodeLease {
  private readonly options: NodeLeaseOptions;
  private readonly deps: NodeLeaseDeps;
  private lease: Lease | undefined;
  /** When the Lease was last renewed (monotonic), for health checks. */
  renewedAt: number | undefined;

  constructor(options: NodeLeaseOptions, deps: NodeLeaseDeps) {
    this.options = options;
    this.deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.deps;
    const delays = new RetryDelays({ baseMs: 200, maxMs: 7000, jitter: 0.2, random });
    while (!signal.aborted) {
      let delay: number;
      try {
        await this.renew(signal);
        this.renewedAt = clock.monotonic();
        delays.reset();
        delay = this.options.durationSeconds * 1000 * RENEW_FRACTION * (1 + RENEW_JITTER * random());
      } catch (error) {
        if (signal.aborted) return;
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

  /** One round: an update of what is known, else what is there is read, else it is made. */
  async renew(signal?: AbortSignal): Promise<void> {
    const { api } = this.deps;
    const target = { namespace: NAMESPACE, name: this.options.nodeName };
    if (this.lease !== undefined) {
      try {
        this.lease = await api.update<Lease>(resources.leases, target, this.renewed(this.lease), signal);
        return;
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
    this.lease =
      there === undefined
        ? await api.create<Lease>(resources.leases, { namespace: NAMESPACE }, this.renewed(undefined), signal)
        : await api.update<Lease>(resources.leases, target, this.renewed(there), signal);
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
        namespace: NAMESPACE,
        ...(owner === undefined ? {} : { ownerReferences: owner }),
      },
      spec: {
        ...lease?.spec,
        holderIdentity: nodeName,
        leaseDurationSeconds: durationSeconds,
        renewTime: rfc3339Micro(this.deps.clock.now()),
      },
    };
  }
}
