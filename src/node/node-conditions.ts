import type { NodeCondition } from '../model/node.ts';
import { rfc3339 } from '../model/time.ts';
import type { PressureKind } from './pressure.ts';
import type { RuntimeFacts } from './runtime-facts.ts';

/** A runtime that is silent for longer is down (kubelet.go, maxWaitForContainerRuntime). */
const RUNTIME_SILENCE_MS = 30_000;

const PRESSURES: readonly {
  readonly kind: PressureKind;
  readonly type: string;
  readonly under: readonly [reason: string, message: string];
  readonly fine: readonly [reason: string, message: string];
}[] = [
  {
    kind: 'memory',
    type: 'MemoryPressure',
    under: ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
    fine: ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
  },
  {
    kind: 'disk',
    type: 'DiskPressure',
    under: ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
    fine: ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
  },
  {
    kind: 'pid',
    type: 'PIDPressure',
    under: ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
    fine: ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
  },
];

export interface ConditionFacts {
  readonly runtime: RuntimeFacts;
  /** What else is wrong with the node's own parts, in kubelet's words: "PLEG is not healthy: …". */
  readonly unhealthy: readonly string[];
  /** The machine is going down (graceful node shutdown). */
  readonly shuttingDown?: boolean;
  readonly pressures: ReadonlySet<PressureKind>;
  /** Resources that the node should have a capacity of, and has none. */
  readonly missing: readonly string[];
}

/**
 * The node's conditions in kubelet's order: the pressures, Ready last. Foreign conditions are not among them. Times:
 * `now` is milliseconds since the epoch, `monotonic` the clock that the runtime's silence is measured by.
 */
export function nodeConditions(
  facts: ConditionFacts,
  previous: readonly NodeCondition[] | undefined,
  now: number,
  monotonic: number,
): NodeCondition[] {
  const time = rfc3339(now);
  const before = (type: string): NodeCondition | undefined => previous?.find((candidate) => candidate.type === type);
  const conditions = PRESSURES.map(({ kind, type, under, fine }): NodeCondition => {
    const isUnder = facts.pressures.has(kind);
    const status = isUnder ? 'True' : 'False';
    const was = before(type);
    // As kubelet: reason and message are written when the status turns, and only then.
    if (was?.status === status) return { ...was, lastHeartbeatTime: time };
    const [reason, message] = isUnder ? under : fine;
    return { type, status, reason, message, lastHeartbeatTime: time, lastTransitionTime: time };
  });
  const why = whyNotReady(facts, monotonic);
  const wasReady = before('Ready');
  const status = why === undefined ? 'True' : 'False';
  conditions.push({
    type: 'Ready',
    status,
    reason: why === undefined ? 'KubeletReady' : 'KubeletNotReady',
    message: why ?? 'kubelet is posting ready status',
    lastHeartbeatTime: time,
    lastTransitionTime: (wasReady?.status === status ? wasReady.lastTransitionTime : undefined) ?? time,
  });
  return conditions;
}

/** All that keeps the node from being ready, as kubelet words it (runtime.go, nodestatus/setters.go). */
function whyNotReady(
  { runtime, unhealthy, shuttingDown, missing }: ConditionFacts,
  monotonic: number,
): string | undefined {
  const reasons: string[] = [];
  if (runtime.readyAt === undefined) reasons.push('container runtime status check may not have completed yet');
  else if (monotonic - runtime.readyAt >= RUNTIME_SILENCE_MS) reasons.push('container runtime is down');
  reasons.push(...unhealthy);
  if (runtime.status === undefined) reasons.push('network state unknown');
  else {
    const ready = conditionText(runtime.status.conditions, 'RuntimeReady');
    if (ready !== undefined) reasons.push(`container runtime not ready: ${ready}`);
    const network = conditionText(runtime.status.conditions, 'NetworkReady');
    if (network !== undefined) reasons.push(`container runtime network not ready: ${network}`);
  }
  if (shuttingDown === true) reasons.push('node is shutting down');
  if (missing.length > 0) reasons.push(`missing node capacity for resources: ${missing.join(', ')}`);
  if (reasons.length === 0) return undefined;
  return reasons.length === 1 ? reasons[0] : `[${reasons.join(', ')}]`;
}

function conditionText(
  conditions: readonly { type: string; status: boolean; reason: string; message: string }[],
  type: string,
): string | undefined {
  const condition = conditions.find((candidate) => candidate.type === type);
  if (condition === undefined) return '<nil>';
  if (condition.status) return undefined;
  return `${type}=false reason:${condition.reason} message:${condition.message}`;
}
