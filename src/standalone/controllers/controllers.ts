import type { Clock } from '../../kit/clock.ts';
import { tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { resources } from '../../model/resource.ts';
import type { ObjectAdmission } from '../admission.ts';
import type { Authority } from '../certificates/authority.ts';
import type { Store } from '../port.ts';
import { CertificateRequests, type CertificateRequestsOptions } from './certificate-requests.ts';
import { ClusterObjects, type ClusterObjectsOptions } from './cluster-objects.ts';
import { EndpointSliceController } from './endpoint-slices.ts';
import { EphemeralVolumes } from './ephemeral-volumes.ts';
import { EventExpiry, type EventExpiryOptions } from './event-expiry.ts';
import { GarbageCollector } from './garbage-collector.ts';
import { NamespaceController } from './namespaces.ts';
import type { Controller, ObjectDeleter } from './port.ts';
import { Scheduler } from './scheduler.ts';
import { ServiceCidrs } from './service-cidrs.ts';
import { StoreDeleter } from './store-deleter.ts';
import { VolumeBinder } from './volume-binder.ts';

export interface ControllersOptions extends ClusterObjectsOptions {
  /** PEM text of the API's certificate authority. */
  readonly rootCa: string;
  readonly events?: EventExpiryOptions;
  readonly certificates?: CertificateRequestsOptions;
}

export interface ControllersDeps {
  readonly store: Store;
  readonly admission: ObjectAdmission;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Signs certificate requests; without it they wait for ever. */
  readonly authority?: Pick<Authority, 'sign' | 'notAfter'>;
  /** Default: StoreDeleter on the same store. */
  readonly deleter?: ObjectDeleter;
}

/** The embedded API's control loops. `start` resolves when the first namespaces and cluster objects are there. */
export class Controllers implements Controller {
  private readonly all: readonly Controller[];

  constructor(options: ControllersOptions, deps: ControllersDeps) {
    const { admission, authority } = deps;
    const deleter = deps.deleter ?? new StoreDeleter(deps.store, deps.clock);
    const shared = { ...deps, deleter };
    // In the order of starting: everything lives in namespaces, and binding frees what others wait for.
    this.all = [
      new NamespaceController({ ...shared, rootCa: options.rootCa }),
      new ClusterObjects(options, {
        ...shared,
        apiAddress: admission.apiAddress,
        serviceCidrs: admission.serviceCidrs,
      }),
      new ServiceCidrs(shared),
      new GarbageCollector(shared),
      new Scheduler({ ...shared, bind: (pod) => admission.bind(pod) }),
      new EndpointSliceController(shared),
      new EphemeralVolumes({
        ...shared,
        admit: (claim) => {
          const type = resources.persistentvolumeclaims;
          return admission.allocate(type, admission.defaults(type, claim), undefined);
        },
      }),
      new VolumeBinder(shared),
      new EventExpiry(options.events ?? {}, shared),
      ...(authority === undefined
        ? []
        : [new CertificateRequests(options.certificates ?? {}, { ...shared, authority })]),
    ];
  }

  async start(): Promise<void> {
    for (const controller of this.all) await controller.start();
  }

  /** In the reverse order; before the Store. */
  async close(): Promise<void> {
    await tryAll(
      'closing controllers',
      [...this.all].reverse().map((controller) => () => controller.close()),
    );
  }
}
