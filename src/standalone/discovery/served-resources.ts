import { apiVersionOf, type ResourceType, resources } from '../../model/resource.ts';

export interface Subresource {
  readonly name: string;
  /** What its body is, when that is not the resource's own kind. */
  readonly kind?: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** How a kind shows itself in discovery, and which parts of it can be addressed. */
export interface ServedResource {
  readonly type: ResourceType;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly Subresource[];
}

export const RESOURCE_VERBS = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
] as const;

const status: Subresource = { name: 'status', verbs: ['get', 'patch', 'update'] };
const connect = (name: string, kind: string): Subresource => ({ name, kind, verbs: ['create', 'get'] });

function serve(
  type: ResourceType,
  shortNames: readonly string[] = [],
  subresources: readonly Subresource[] = [],
  categories: readonly string[] = [],
): ServedResource {
  return { type, singular: type.kind.toLowerCase(), shortNames, categories, subresources };
}

/** Every kind that the API stores, with the names that kubectl knows it by (kubectl api-resources). */
export const servedResources: readonly ServedResource[] = [
  serve(resources.configmaps, ['cm']),
  serve(resources.events, ['ev']),
  serve(resources.namespaces, ['ns'], [{ name: 'finalize', verbs: ['update'] }, status]),
  serve(
    resources.nodes,
    ['no'],
    [{ name: 'proxy', kind: 'NodeProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] }, status],
  ),
  serve(resources.persistentvolumeclaims, ['pvc'], [status]),
  serve(resources.persistentvolumes, ['pv'], [status]),
  serve(
    resources.pods,
    ['po'],
    [
      connect('attach', 'PodAttachOptions'),
      { name: 'binding', kind: 'Binding', verbs: ['create'] },
      { name: 'ephemeralcontainers', verbs: ['get', 'patch', 'update'] },
      { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
      connect('exec', 'PodExecOptions'),
      { name: 'log', verbs: ['get'] },
      connect('portforward', 'PodPortForwardOptions'),
      { name: 'resize', verbs: ['get', 'patch', 'update'] },
      status,
    ],
    ['all'],
  ),
  serve(resources.secrets),
  serve(
    resources.serviceaccounts,
    ['sa'],
    [{ name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] }],
  ),
  serve(resources.services, ['svc'], [status], ['all']),
  serve(resources.endpointslices),
  serve(resources.leases),
  serve(
    resources.certificatesigningrequests,
    ['csr'],
    [{ name: 'approval', verbs: ['get', 'patch', 'update'] }, status],
  ),
  serve(resources.clustertrustbundles),
  serve(resources.priorityclasses, ['pc']),
  serve(resources.servicecidrs, [], [status]),
  serve(resources.runtimeclasses),
  serve(resources.csidrivers),
  serve(resources.csinodes),
  serve(resources.storageclasses, ['sc']),
  serve(resources.volumeattachments, [], [status]),
];

/** Kinds that can only be created: they are answered and not stored. */
export interface Review {
  readonly type: ResourceType;
  readonly singular: string;
}

const review = (group: string, plural: string, kind: string, namespaced = false): Review => ({
  type: { group, version: 'v1', plural, kind, namespaced },
  singular: kind.toLowerCase(),
});

export const servedReviews: readonly Review[] = [
  review('authentication.k8s.io', 'selfsubjectreviews', 'SelfSubjectReview'),
  review('authentication.k8s.io', 'tokenreviews', 'TokenReview'),
  review('authorization.k8s.io', 'localsubjectaccessreviews', 'LocalSubjectAccessReview', true),
  review('authorization.k8s.io', 'selfsubjectaccessreviews', 'SelfSubjectAccessReview'),
  review('authorization.k8s.io', 'selfsubjectrulesreviews', 'SelfSubjectRulesReview'),
  review('authorization.k8s.io', 'subjectaccessreviews', 'SubjectAccessReview'),
];

/** By "v1" or "group/v1", the stored kinds and the reviews. */
export function servedIn(apiVersion: string): { readonly stored: ServedResource[]; readonly reviews: Review[] } {
  return {
    stored: servedResources.filter(({ type }) => apiVersionOf(type) === apiVersion),
    reviews: servedReviews.filter(({ type }) => apiVersionOf(type) === apiVersion),
  };
}

/** The named groups, without the core group, in the order of their names. */
export function servedGroups(): string[] {
  const groups = [...servedResources, ...servedReviews].map(({ type }) => type.group);
  return [...new Set(groups)].filter((group) => group !== '').sort();
}

/** The versions of a group that kinds are served in, the preferred one first. */
export function servedVersions(group: string): string[] {
  const types = [...servedResources, ...servedReviews].map(({ type }) => type).filter((type) => type.group === group);
  return [...new Set(types.map(({ version }) => version))].sort();
}

export function hasStatus(resource: ServedResource): boolean {
  return resource.subresources.includes(status);
}
