import type { ConditionStatus } from './pod.ts';

/** What all conditions share (pods, nodes, Services, PersistentVolumeClaims). */
export interface Condition {
  type: string;
  status: ConditionStatus;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function conditionOf<C extends { type: string }>(
  conditions: readonly C[] | undefined,
  type: C['type'],
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(
  conditions: readonly { type: string; status: ConditionStatus }[] | undefined,
  type: string,
): boolean {
  return conditionOf(conditions, type)?.status === 'True';
}

/**
 * A new list with `condition` in it, in the place of the one of its type. `lastTransitionTime` is kept while the
 * status stays, and is `now` (RFC 3339 text) when it changes.
 */
export function withCondition<C extends Condition>(
  conditions: readonly C[] | undefined,
  condition: C,
  now: string,
): C[] {
  const list = conditions ?? [];
  const previous = conditionOf(list, condition.type);
  const kept = previous?.status === condition.status ? previous.lastTransitionTime : undefined;
  const next: C = { ...condition, lastTransitionTime: kept ?? condition.lastTransitionTime ?? now };
  return previous === undefined ? [...list, next] : list.map((item) => (item === previous ? next : item));
}
