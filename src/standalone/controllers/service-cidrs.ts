import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue, type RunResult } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { cidrContains, parseCidr, parseIp } from '../../model/cidr.ts';
import { type Condition, conditionOf, withCondition } from '../../model/conditions.ts';
import type { ServiceCIDR } from '../../model/objects.ts';
import { resources } from '../../model/resource.ts';
import type { Service } from '../../model/service.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Store, StoredEvent } from '../port.ts';
import type { Controller, ObjectDeleter } from './port.ts';

const FINALIZER = 'networking.k8s.io/service-cidr-finalizer';

export interface ServiceCidrsDeps {
  readonly store: Store;
  readonly deleter: ObjectDeleter;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Says of each ServiceCIDR that it is ready, and keeps one that is being deleted for as long as a Service has an address
 * that no other one holds (pkg/controller/servicecidrs).
 */
export class ServiceCidrs implements Controller {
  private readonly deps: ServiceCidrsDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;

  constructor(deps: ServiceCidrsDeps) {
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (name) => this.reconcile(name), {
      retry: { baseMs: 50, maxMs: 30_000 },
      onError: (name, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound');
        deps.log[expected ? 'debug' : 'warn']({ name, error: messageOf(error) }, 'ServiceCIDR not settled; retrying');
      },
    });
  }

  start(): void {
    this.unsubscribe = this.deps.store.subscribe((event) => this.follow(event));
    this.requestAll();
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    await this.queue.close();
  }

  private follow({ resource, type, object }: StoredEvent): void {
    if (resource.plural === resources.servicecidrs.plural) {
      if (type === 'DELETED') this.queue.forget(object.metadata.name ?? '');
      this.requestAll();
    } else if (resource.plural === resources.services.plural && type !== 'ADDED') this.requestAll();
  }

  private requestAll(): void {
    for (const { metadata } of this.all()) this.queue.request(metadata.name ?? '');
  }

  private all(): ServiceCIDR[] {
    return this.deps.store.list(resources.servicecidrs) as ServiceCIDR[];
  }

  private async reconcile(name: string): Promise<RunResult> {
    const { store, deleter, clock } = this.deps;
    const found = store.get(resources.servicecidrs, undefined, name) as ServiceCIDR | undefined;
    if (found === undefined) return undefined;
    const finalizers = found.metadata.finalizers ?? [];
    const others = finalizers.filter((one) => one !== FINALIZER);
    const isGoing = found.metadata.deletionTimestamp !== undefined;
    if (isGoing && !this.isNeeded(found)) {
      if (others.length === finalizers.length) return undefined;
      const metadata = { ...found.metadata, finalizers: others };
      await deleter.updateOrRemove(resources.servicecidrs, { ...found, metadata });
      return undefined;
    }
    const wanted = isGoing ? TERMINATING : READY;
    const isSaid = conditionOf(found.status?.conditions, wanted.type)?.status === wanted.status;
    const isKept = isGoing || others.length < finalizers.length;
    if (isSaid && isKept) return undefined;
    const conditions = withCondition(found.status?.conditions, wanted, rfc3339(clock.now()));
    const metadata = { ...found.metadata, finalizers: isKept ? finalizers : [...finalizers, FINALIZER] };
    await store.update(resources.servicecidrs, { ...found, metadata, status: { conditions } } as ServiceCIDR);
    return undefined;
  }

  /** Whether a Service has an address of it that is in no ServiceCIDR that stays. */
  private isNeeded(object: ServiceCIDR): boolean {
    const own = cidrsOf(object);
    const rest = this.all()
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .flatMap(cidrsOf);
    return (this.deps.store.list(resources.services) as Service[]).some(({ spec }) =>
      (spec.clusterIPs ?? []).some((text) => {
        const ip = parseIp(text);
        if (ip === undefined) return false;
        return own.some((cidr) => cidrContains(cidr, ip)) && !rest.some((cidr) => cidrContains(cidr, ip));
      }),
    );
  }
}

const READY: Condition = { type: 'Ready', status: 'True', reason: '', message: 'Kubernetes Service CIDR is ready' };
const TERMINATING: Condition = {
  type: 'Ready',
  status: 'False',
  reason: 'Terminating',
  message: 'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR',
};

function cidrsOf({ spec }: ServiceCIDR) {
  return (spec?.cidrs ?? []).flatMap((text) => parseCidr(text) ?? []);
}
