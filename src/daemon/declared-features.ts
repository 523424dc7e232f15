import { FeatureGates } from '../config/feature-gates.ts';

/**
 * What status.declaredFeatures says (component-helpers/nodedeclaredfeatures), sorted. Upstream knows five, of which
 * UserNamespacesHostNetworkSupport is not there yet. The API server and the scheduler keep pods that need one away from a node that does not declare it;
 * so does a feature gate that is off.
 */
const DECLARED_FEATURES: readonly string[] = [
  'ExtendWebSocketsToKubelet',
  'InPlacePodLevelResourcesVerticalScaling',
  'InPlacePodVerticalScalingInitContainers',
  'RestartAllContainersOnContainerExits',
];

/** Sorted; undefined where the gate NodeDeclaredFeatures is off. */
export function declaredFeatures(set: Readonly<Record<string, boolean>>): readonly string[] | undefined {
  const gates = new FeatureGates(set);
  if (!gates.enabled('NodeDeclaredFeatures')) return undefined;
  return DECLARED_FEATURES.filter((feature) => gates.enabled(feature));
}
