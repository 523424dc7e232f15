import type { Pod } from '../../model/pod.ts';
import { isMirrorPod, isStaticPod } from '../../model/static-pod.ts';

/** PriorityClasses from here on are the system's own (scheduling.SystemCriticalPriority). */
const SYSTEM_CRITICAL = 2_000_000_000;

/** Admitted even at the cost of others, and never evicted for want of resources. */
export function isCriticalPod(pod: Pod): boolean {
  return isStaticPod(pod) || isMirrorPod(pod) || (pod.spec.priority ?? 0) >= SYSTEM_CRITICAL;
}

/** Whether `preemptor` may take the place of `other`. */
export function isPreemptable(preemptor: Pod, other: Pod): boolean {
  if (isCriticalPod(preemptor) && !isCriticalPod(other)) return true;
  const [mine, theirs] = [preemptor.spec.priority, other.spec.priority];
  return mine !== undefined && theirs !== undefined && mine > theirs;
}
