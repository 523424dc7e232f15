import type { Taint } from '../../model/node.ts';
import type { Pod, Toleration } from '../../model/pod.ts';

/** Whether the pod tolerates the taint (core/v1 toleration.go). */
export function tolerates(pod: Pod, taint: Taint): boolean {
  return (pod.spec.tolerations ?? []).some((toleration) => matchesTaint(toleration, taint));
}

/** kubelet looks at NoExecute only: NoSchedule binds the scheduler. */
export function hasUntoleratedNoExecute(pod: Pod, taints: readonly Taint[]): boolean {
  return taints.some((taint) => taint.effect === 'NoExecute' && !tolerates(pod, taint));
}

function matchesTaint({ key = '', operator = 'Equal', value = '', effect = '' }: Toleration, taint: Taint): boolean {
  if (effect !== '' && effect !== taint.effect) return false;
  if (key !== '' && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  // An empty operator is "Equal"; the comparing ones are alpha (TaintTolerationComparisonOperators) and match nothing.
  return (operator === 'Equal' || operator === '') && value === (taint.value ?? '');
}
