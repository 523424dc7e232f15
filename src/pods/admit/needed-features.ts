import type { Container, Pod } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';

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

/**
 * Those that a change of a pod needs. The API server lets none through that the node does not declare; one that came in
 * before the node changed its mind is told (kubelet HandlePodUpdates).
 */
export function featuresNeededBy(before: Pod, after: Pod): string[] {
  const differ = (one: unknown, other: unknown): boolean => JSON.stringify(one) !== JSON.stringify(other);
  const needed: string[] = [];
  if (differ(before.spec.resources, after.spec.resources)) needed.push('InPlacePodLevelResourcesVerticalScaling');
  const resized = (before.spec.initContainers ?? []).some(
    (container, index) =>
      !isSidecar(container) && differ(container.resources, after.spec.initContainers?.[index]?.resources),
  );
  if (resized) needed.push('InPlacePodVerticalScalingInitContainers');
  return needed;
}

function restartsAll({ restartPolicyRules = [] }: Container): boolean {
  return restartPolicyRules.some((rule) => rule.action === 'RestartAllContainers');
}
