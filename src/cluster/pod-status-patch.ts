import { canonicalQuantity } from '../model/canonical-quantity.ts';
import type { ContainerStatus, Pod, PodCondition, PodStatus, RestartPolicy } from '../model/pod.ts';
import { isQuantity } from '../model/quantity.ts';
import { canRestartAll } from '../model/restart-rules.ts';
import { isAbsent, sameInApi } from './api-equality.ts';

/** Conditions that the node writes; others belong to somebody else and are left alone (pkg/kubelet/types/pod_status.go). */
const OWNED_CONDITIONS: ReadonlySet<string> = new Set([
  'PodScheduled',
  'Ready',
  'Initialized',
  'ContainersReady',
  'PodReadyToStartContainers',
  'PodResizePending',
  'PodResizeInProgress',
  'AllContainersRestarting',
]);

/** Fields that the node writes and clears. Not here: nominatedNodeName, resourceClaimStatuses and other people's. */
const OWNED_FIELDS = [
  'observedGeneration',
  'phase',
  'message',
  'reason',
  'hostIP',
  'hostIPs',
  'podIP',
  'podIPs',
  'startTime',
  'initContainerStatuses',
  'containerStatuses',
  'ephemeralContainerStatuses',
  'qosClass',
  'allocatedResources',
  'resources',
] as const satisfies readonly (keyof PodStatus)[];

/** Fields that are kept once they are set, should the new status not have them. */
const KEPT_FIELDS: ReadonlySet<string> = new Set(['startTime', 'qosClass', 'hostIP', 'hostIPs', 'observedGeneration']);
/** Fields whose values are quantities, by name; the API gives them back in their canonical form. */
const RESOURCE_LISTS: ReadonlySet<string> = new Set(['allocatedResources', 'requests', 'limits']);
/** Lists with patchMergeKey "ip" (core/v1 types.go): without a directive an old address would stay. */
const REPLACED_LISTS: ReadonlySet<string> = new Set(['podIPs', 'hostIPs']);
/** Objects that stand as a whole: merged, they would keep what is not in them any more. Empty says something, too. */
const WHOLE_FIELDS: ReadonlySet<string> = new Set(['resources', 'allocatedResources']);
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/;

/**
 * What the status should become, given what the API has: a terminal phase and a container's end are final, an unchanged
 * condition keeps its transition time, times have whole seconds as the API stores them (metav1.Time).
 */
export function mergedStatus(
  current: PodStatus,
  wanted: PodStatus,
  restartPolicyOf: (container: string) => RestartPolicy,
): PodStatus {
  const merged = asInApi(wanted) as PodStatus;
  if (isTerminal(current) && !isTerminal(merged)) {
    if (current.phase !== undefined) merged.phase = current.phase;
    if (current.reason !== undefined) merged.reason = current.reason;
    if (current.message !== undefined) merged.message = current.message;
  }
  if (current.startTime !== undefined) merged.startTime = current.startTime;
  if ((current.observedGeneration ?? 0) > (merged.observedGeneration ?? 0)) {
    merged.observedGeneration = current.observedGeneration ?? 0;
  }
  if (merged.containerStatuses !== undefined) {
    merged.containerStatuses = keepEnded(current.containerStatuses, merged.containerStatuses, restartPolicyOf);
  }
  if (merged.initContainerStatuses !== undefined) {
    merged.initContainerStatuses = keepEnded(
      current.initContainerStatuses,
      merged.initContainerStatuses,
      restartPolicyOf,
    );
  }
  if (merged.conditions !== undefined) merged.conditions = keepTransitions(current.conditions, merged.conditions);
  return merged;
}

/**
 * A strategic merge patch of pods/status that turns `current` into `merged`, or undefined when nothing differs. It
 * carries the UID, so that another pod of the same name is refused (409) instead of overwritten.
 */
export function statusPatch(uid: string, current: PodStatus, merged: PodStatus): object | undefined {
  const status: Record<string, unknown> = {};
  for (const field of OWNED_FIELDS) {
    const has = current[field];
    const wants = merged[field];
    const emptied = field === 'resources' && (has === undefined) !== (wants === undefined);
    if (sameInApi(has, wants) && !emptied) continue;
    if (WHOLE_FIELDS.has(field) && wants !== undefined) {
      // Where there is nothing to replace, the API server would drop an empty object for its directive.
      status[field] = has === undefined ? wants : { $patch: 'replace', ...(wants as object) };
      continue;
    }
    if (isAbsent(wants)) {
      if (!KEPT_FIELDS.has(field)) status[field] = null;
    } else {
      status[field] =
        REPLACED_LISTS.has(field) && Array.isArray(wants) ? [{ $patch: 'replace' }, ...(wants as object[])] : wants;
    }
  }
  const conditions = conditionsPatch(current.conditions ?? [], merged.conditions);
  if (conditions.length > 0) {
    status['conditions'] = conditions;
    status['$setElementOrder/conditions'] = conditionOrder(current.conditions ?? [], merged.conditions ?? []);
  }
  return Object.keys(status).length === 0 ? undefined : { metadata: { uid }, status };
}

/** By container: its own policy (ContainerRestartRules), else its pod's. A container with rules may always come back. */
export function restartPolicies(pod: Pod): (container: string) => RestartPolicy {
  if (canRestartAll(pod)) return () => 'Always';
  return (name) => {
    const { containers, initContainers = [] } = pod.spec;
    const container = [...initContainers, ...containers].find((candidate) => candidate.name === name);
    if ((container?.restartPolicyRules?.length ?? 0) > 0) return 'Always';
    return container?.restartPolicy ?? pod.spec.restartPolicy ?? 'Always';
  };
}

function conditionsPatch(current: readonly PodCondition[], wanted: readonly PodCondition[] | undefined): object[] {
  if (wanted === undefined) return [];
  const patch: object[] = [];
  const before = new Map(current.map((condition) => [condition.type, condition]));
  const types = new Set<string>();
  for (const condition of wanted) {
    types.add(condition.type);
    const known = before.get(condition.type);
    if (known !== undefined && sameInApi(known, condition)) continue;
    const cleared: Record<string, null> = {};
    for (const field of ['reason', 'message', 'observedGeneration'] as const) {
      if (!isAbsent(known?.[field]) && isAbsent(condition[field])) cleared[field] = null;
    }
    patch.push({ ...condition, ...cleared });
  }
  for (const { type } of current) {
    if (OWNED_CONDITIONS.has(type) && !types.has(type)) patch.push({ $patch: 'delete', type });
  }
  return patch;
}

/** As kubelet has them: others' first, then the node's own in their order, whenever each was written. */
function conditionOrder(current: readonly PodCondition[], wanted: readonly PodCondition[]): { type: string }[] {
  const own = wanted.map(({ type }) => type);
  const others = current.map(({ type }) => type).filter((type) => !OWNED_CONDITIONS.has(type) && !own.includes(type));
  return [...others, ...own].map((type) => ({ type }));
}

/** A container that ended for good stays ended (status_manager.go, checkContainerStateTransition). */
function keepEnded(
  current: readonly ContainerStatus[] | undefined,
  wanted: ContainerStatus[],
  restartPolicyOf: (container: string) => RestartPolicy,
): ContainerStatus[] {
  return wanted.map((status) => {
    const ended = current?.find((candidate) => candidate.name === status.name);
    const end = ended?.state?.terminated;
    if (ended === undefined || end === undefined || status.state?.terminated !== undefined) return status;
    const policy = restartPolicyOf(status.name);
    return policy === 'Always' || (policy === 'OnFailure' && end.exitCode !== 0) ? status : ended;
  });
}

function keepTransitions(current: readonly PodCondition[] | undefined, wanted: PodCondition[]): PodCondition[] {
  return wanted.map((condition) => {
    const known = current?.find((candidate) => candidate.type === condition.type);
    if (known?.status !== condition.status || known.lastTransitionTime === undefined) return condition;
    return { ...condition, lastTransitionTime: known.lastTransitionTime };
  });
}

function isTerminal(status: PodStatus): boolean {
  return status.phase === 'Succeeded' || status.phase === 'Failed';
}

/** Times and quantities as the API will give them back. */
function asInApi(value: unknown): unknown {
  if (typeof value === 'string') return TIME.test(value) ? value.replace(/\.\d+Z$/, 'Z') : value;
  if (Array.isArray(value)) return value.map(asInApi);
  if (typeof value !== 'object' || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    // What a container wrote as its last words is text, whatever it looks like.
    if (key === 'message') result[key] = inner;
    else result[key] = RESOURCE_LISTS.has(key) && typeof inner === 'object' ? canonicalList(inner) : asInApi(inner);
  }
  return result;
}

function canonicalList(list: object | null): object {
  return Object.fromEntries(
    Object.entries(list ?? {}).map(([name, value]) => [name, isQuantity(value) ? canonicalQuantity(value) : value]),
  );
}
