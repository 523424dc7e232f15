import { ADMIN_GROUP, AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, type Identity, NODES_GROUP } from './identity.ts';

/** What is asked for: verbs on resources, or on other paths. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Set for paths that are no resources, such as /metrics; the rest is "" then. */
  readonly path?: string;
}

const READ = ['get', 'list', 'watch'];
const REQUEST = ['get', 'list', 'watch', 'create'];
const EVERYTHING_BUT_DELETE_COLLECTION = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];

// What kubelet and kube-proxy need (system:node, system:node-proxier; bootstrappolicy/policy.go), by resource[/subresource].
const NODE_RULES: Readonly<Record<string, readonly string[]>> = {
  namespaces: READ,
  nodes: ['get', 'list', 'watch', 'create', 'update', 'patch'],
  'nodes/status': ['get', 'update', 'patch'],
  pods: ['get', 'list', 'watch', 'create', 'delete'],
  'pods/status': ['get', 'update', 'patch'],
  'pods/eviction': ['create'],
  services: READ,
  endpointslices: READ,
  configmaps: READ,
  secrets: READ,
  serviceaccounts: READ,
  'serviceaccounts/token': ['create'],
  persistentvolumes: READ,
  persistentvolumeclaims: READ,
  'persistentvolumeclaims/status': ['get', 'update', 'patch'],
  priorityclasses: READ,
  runtimeclasses: READ,
  servicecidrs: READ,
  csidrivers: READ,
  clustertrustbundles: READ,
  csinodes: ['get', 'create', 'update', 'patch', 'delete'],
  volumeattachments: ['get'],
  events: ['create', 'update', 'patch'],
  leases: EVERYTHING_BUT_DELETE_COLLECTION,
  certificatesigningrequests: REQUEST,
  // Not a real part of the API: who may create it gets certificates of its own kind approved without being asked.
  'certificatesigningrequests/selfnodeclient': ['create'],
  tokenreviews: ['create'],
  subjectaccessreviews: ['create'],
  localsubjectaccessreviews: ['create'],
};

// What a node without a certificate of its own may do (system:node-bootstrapper, and kubeadm's approval of it).
const BOOTSTRAPPER_RULES: Readonly<Record<string, readonly string[]>> = {
  certificatesigningrequests: REQUEST,
  'certificatesigningrequests/nodeclient': ['create'],
};

// Anyone may see these (system:public-info-viewer), and anyone authenticated may look around (system:discovery).
const PUBLIC_PATHS = ['/healthz', '/livez', '/readyz', '/version'];
const DISCOVERY_PATHS = ['/api', '/apis', '/openapi', ...PUBLIC_PATHS];
const SELF_REVIEWS: ReadonlySet<string> = new Set([
  'selfsubjectreviews',
  'selfsubjectaccessreviews',
  'selfsubjectrulesreviews',
]);

/**
 * Four kinds of callers: administrators may do everything, a node what a node does, who has a bootstrap token asks for a
 * certificate, others look around.
 */
export function isAllowed(identity: Identity, attributes: Attributes): boolean {
  const { groups } = identity;
  if (groups.includes(ADMIN_GROUP)) return true;
  const { path, verb, resource, subresource } = attributes;
  const authenticated = groups.includes(AUTHENTICATED_GROUP);
  if (path !== undefined) {
    const open = authenticated ? DISCOVERY_PATHS : PUBLIC_PATHS;
    return verb === 'get' && open.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
  }
  if (authenticated && verb === 'create' && SELF_REVIEWS.has(resource)) return true;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  if (groups.includes(BOOTSTRAPPERS_GROUP) && BOOTSTRAPPER_RULES[what]?.includes(verb) === true) return true;
  return groups.includes(NODES_GROUP) && NODE_RULES[what]?.includes(verb) === true;
}

/** The sentence of a 403 (authorization/… responsewriters/errors.go). */
export function deniedMessage(identity: Identity, attributes: Attributes): string {
  const user = `User "${identity.username}" cannot`;
  if (attributes.path !== undefined) return `${user} ${attributes.verb} path "${attributes.path}"`;
  const { verb, group, resource, subresource, namespace } = attributes;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return `${user} ${verb} resource "${what}" in API group "${group}" ${where}`;
}
