import { CodedError } from '../kit/errors.ts';

/** One kind of object that the API serves: how its URL is made and what its JSON says of itself. */
export interface ResourceType {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  /** Plural, lower case: the last part of the URL. */
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const core = (plural: string, kind: string, namespaced = true): ResourceType => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced,
});
const of = (group: string, plural: string, kind: string, namespaced = true): ResourceType => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
});

/** The kinds that deckhand reads, writes or (standalone) serves. */
export const resources = {
  namespaces: core('namespaces', 'Namespace', false),
  nodes: core('nodes', 'Node', false),
  pods: core('pods', 'Pod'),
  services: core('services', 'Service'),
  configmaps: core('configmaps', 'ConfigMap'),
  secrets: core('secrets', 'Secret'),
  serviceaccounts: core('serviceaccounts', 'ServiceAccount'),
  events: core('events', 'Event'),
  persistentvolumes: core('persistentvolumes', 'PersistentVolume', false),
  persistentvolumeclaims: core('persistentvolumeclaims', 'PersistentVolumeClaim'),
  endpointslices: of('discovery.k8s.io', 'endpointslices', 'EndpointSlice'),
  leases: of('coordination.k8s.io', 'leases', 'Lease'),
  certificatesigningrequests: of(
    'certificates.k8s.io',
    'certificatesigningrequests',
    'CertificateSigningRequest',
    false,
  ),
  clustertrustbundles: {
    ...of('certificates.k8s.io', 'clustertrustbundles', 'ClusterTrustBundle', false),
    version: 'v1beta1',
  },
  servicecidrs: of('networking.k8s.io', 'servicecidrs', 'ServiceCIDR', false),
  runtimeclasses: of('node.k8s.io', 'runtimeclasses', 'RuntimeClass', false),
  csidrivers: of('storage.k8s.io', 'csidrivers', 'CSIDriver', false),
  csinodes: of('storage.k8s.io', 'csinodes', 'CSINode', false),
  volumeattachments: of('storage.k8s.io', 'volumeattachments', 'VolumeAttachment', false),
  storageclasses: of('storage.k8s.io', 'storageclasses', 'StorageClass', false),
  priorityclasses: of('scheduling.k8s.io', 'priorityclasses', 'PriorityClass', false),
} as const satisfies Record<string, ResourceType>;

/** "v1" or "group/v1", as in an object's apiVersion. */
export function apiVersionOf(type: ResourceType): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/** The URL path of a collection, an object or a subresource, percent-encoded. */
export function pathOf(
  type: ResourceType,
  where: { namespace?: string | undefined; name?: string | undefined; subresource?: string | undefined } = {},
): string {
  const parts = type.group === '' ? ['/api', type.version] : ['/apis', type.group, type.version];
  if (where.namespace !== undefined && where.namespace !== '') {
    if (!type.namespaced) {
      throw new CodedError('InvalidArgument', `${type.kind} has no namespace, but ${where.namespace} was given`);
    }
    parts.push('namespaces', encodeURIComponent(where.namespace));
  }
  parts.push(type.plural);
  if (where.name !== undefined) parts.push(encodeURIComponent(where.name));
  if (where.subresource !== undefined) parts.push(where.subresource);
  return parts.join('/');
}
