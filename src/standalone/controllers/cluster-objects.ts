import { hasCode } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { PriorityClass, ServiceCIDR } from '../../model/objects.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { EndpointSlice, Service } from '../../model/service.ts';
import type { Admission, Store } from '../port.ts';
import { SYSTEM_CLASSES } from '../validation/cluster-objects.ts';
import { SERVICE_NAME_LABEL } from './endpoint-slice-plan.ts';
import type { Controller } from './port.ts';

const CLASS_DESCRIPTIONS: Readonly<Record<string, string>> = {
  'system-node-critical': 'Used for system critical pods that must not be moved from their current node.',
  'system-cluster-critical':
    'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
};

export interface ClusterObjectsOptions {
  /**
   * Where pods reach the API. Without it (the API listens on loopback, where no pod can reach it) the `kubernetes`
   * Service has no endpoints.
   */
  readonly apiEndpoint?: { readonly address: string; readonly port: number };
}

export interface ClusterObjectsDeps {
  readonly store: Store;
  readonly admission: Pick<Admission, 'defaults' | 'allocate'>;
  /** The first address of the Services' range (ObjectAdmission.apiAddress). */
  readonly apiAddress: string;
  /** ObjectAdmission.serviceCidrs. */
  readonly serviceCidrs: readonly string[];
}

/**
 * What every cluster has from the start: the `kubernetes` ServiceCIDR and Service with its endpoints, the system
 * PriorityClasses.
 */
export class ClusterObjects implements Controller {
  private readonly options: ClusterObjectsOptions;
  private readonly deps: ClusterObjectsDeps;

  constructor(options: ClusterObjectsOptions, deps: ClusterObjectsDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** After the namespaces are there. Throws what the Store throws. */
  async start(): Promise<void> {
    await Promise.all([
      ...[...SYSTEM_CLASSES].map(([name, value]) => {
        const description = CLASS_DESCRIPTIONS[name] ?? '';
        return this.ensure(resources.priorityclasses, { metadata: { name }, value, description } as PriorityClass);
      }),
      this.ensureServiceCidr(),
      this.ensureApiService(),
    ]);
  }

  async close(): Promise<void> {}

  private async ensureServiceCidr(): Promise<void> {
    const { store, serviceCidrs } = this.deps;
    const cidrs = [...serviceCidrs];
    const current = store.get(resources.servicecidrs, undefined, 'kubernetes') as ServiceCIDR | undefined;
    if (current !== undefined && current.spec?.cidrs?.join() !== cidrs.join()) {
      await store.remove(resources.servicecidrs, undefined, 'kubernetes');
    }
    await this.ensure(resources.servicecidrs, { metadata: { name: 'kubernetes' }, spec: { cidrs } } as ServiceCIDR);
  }

  private async ensureApiService(): Promise<void> {
    const { apiEndpoint } = this.options;
    const { store, apiAddress } = this.deps;
    const labels = { component: 'apiserver', provider: 'kubernetes' };
    const metadata = { namespace: 'default', name: 'kubernetes', labels };
    const targetPort = apiEndpoint?.port ?? 6443;
    const ports = [{ name: 'https', protocol: 'TCP', port: 443, targetPort }];
    const current = store.get(resources.services, 'default', 'kubernetes') as Service | undefined;
    if (current !== undefined && current.spec.clusterIP !== apiAddress) {
      // The range is another one than when this file was written.
      await store.remove(resources.services, 'default', 'kubernetes');
    }
    await this.ensure(resources.services, { metadata, spec: { type: 'ClusterIP', ports } } as unknown as Service);
    const addressType = apiEndpoint?.address.includes(':') === true ? 'IPv6' : 'IPv4';
    const slice = {
      metadata: { namespace: 'default', name: 'kubernetes', labels: { [SERVICE_NAME_LABEL]: 'kubernetes' } },
      addressType,
      endpoints: apiEndpoint === undefined ? [] : [{ addresses: [apiEndpoint.address], conditions: { ready: true } }],
      ports: [{ name: 'https', protocol: 'TCP', port: targetPort }],
    } as EndpointSlice;
    const known = store.get(resources.endpointslices, 'default', 'kubernetes') as EndpointSlice | undefined;
    if (known?.addressType !== undefined && known.addressType !== addressType) {
      await store.remove(resources.endpointslices, 'default', 'kubernetes');
      await store.create(resources.endpointslices, slice);
    } else if (known === undefined) await this.ensure(resources.endpointslices, slice);
    else
      await store.update(resources.endpointslices, {
        ...known,
        endpoints: slice.endpoints,
        ports: slice.ports,
      } as EndpointSlice);
  }

  private async ensure(type: ResourceType, object: KubeObject): Promise<void> {
    const { store, admission } = this.deps;
    if (store.get(type, object.metadata.namespace, object.metadata.name ?? '') !== undefined) return;
    try {
      await store.create(type, admission.allocate(type, admission.defaults(type, object), undefined));
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
}
