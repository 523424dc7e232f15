/** Keys outside kubelet's own namespaces that a node may put on itself (staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go). */
const ALLOWED: readonly string[] = [
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/os',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'kubernetes.io/arch',
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
];
const ALLOWED_NAMESPACES: readonly string[] = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

/**
 * What is wrong with labels to register with: those of the kubernetes.io and k8s.io namespaces that the
 * NodeRestriction admission plugin would refuse. kubelet's words; undefined when nothing is.
 */
export function nodeLabelsError(keys: Iterable<string>): string | undefined {
  const unknown = [...keys].filter((key) => isReserved(key) && !isAllowed(key)).sort();
  if (unknown.length === 0) return undefined;
  return (
    `unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [${unknown.join(' ')}]; ` +
    `--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix (${ALLOWED_NAMESPACES.join(', ')}) ` +
    `or be in the specifically allowed set (${ALLOWED.join(', ')})`
  );
}

function isReserved(key: string): boolean {
  return isWithin(namespaceOf(key), ['kubernetes.io', 'k8s.io']);
}

function isAllowed(key: string): boolean {
  return ALLOWED.includes(key) || isWithin(namespaceOf(key), ALLOWED_NAMESPACES);
}

function isWithin(namespace: string, parents: readonly string[]): boolean {
  return parents.some((parent) => namespace === parent || namespace.endsWith(`.${parent}`));
}

function namespaceOf(key: string): string {
  const slash = key.indexOf('/');
  return slash === -1 ? '' : key.slice(0, slash);
}
