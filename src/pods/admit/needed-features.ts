import type { Container, Pod } from '../../model/pod.ts';

/**
 * The declared features (Node status.declaredFeatures, KEP-5328) that a pod cannot run without, by name
 * (component-helpers nodedeclaredfeatures/features, those that bear on scheduling).
 */
export function neededFeatures(pod: Pod): string[] {
  const needed: string[] = [];
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  if (containers.some(restartsAll)) needed.push('RestartAllContainersOnContainerExits');
  if (pod.spec.hostNetwork === true && pod.spec.hostUsers === false) needed.push('UserNamespacesHostNetworkSupport');
  return needed;
}

function restartsAll({ restartPolicyRules = [] }: Container): boolean {
  return restartPolicyRules.some((rule) => rule.action === 'RestartAllContainers');
}
