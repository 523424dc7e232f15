import type { NodeCondition } from '../model/node.ts';
import { rfc3339 } from '../model/time.ts';
import { type PressureKind, type PressureState, underPressure } from './pressure.ts';
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

/** The node's conditions in kubelet's order: the pressures, Ready last. Foreign conditions are not among them. */
export function nodeConditions(
  facts: {
    readonly runtime: RuntimeFacts;
    readonly pressure: PressureState;
    /** Resources that the node should have a capacity of, and has none. */
    readonly missing: readonly string[];
  },
  previous: readonly NodeCondition[] | undefined,
  now: number,
): NodeCondition[] {
  const found: NodeCondition[] = PRESSURES.map(({ kind, type, under, fine }) => {
    const isUnder = underPressure(facts.pressure, kind, now);
    const [reason, message] = isUnder ? under : fine;
    return { type, status: isUnder ? 'True' : 'False', reason, message };
  });
  const why = whyNotReady(facts.runtime, facts.missing, now);
  found.push(
    why === undefined
      ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }
      : { type: 'Ready', status: 'False', reason: 'KubeletNotReady', message: why },
  );
  const time = rfc3339(now);
  return found.map((condition) => {
    const before = previous?.find((candidate) => candidate.type === condition.type);
    const since = before?.status === condition.status ? before.lastTransitionTime : undefined;
    return { ...condition, lastHeartbeatTime: time, lastTransitionTime: since ?? time };
  });
}

/** All that keeps the node from being ready, as kubelet words it (runtime.go, nodestatus/setters.go). */
function whyNotReady(runtime: RuntimeFacts, missing: readonly string[], now: number): string | undefined {
  const reasons: string[] = [];
  if (runtime.answeredAt === undefined) reasons.push('container runtime status check may not have completed yet');
  else if (now - runtime.answeredAt > RUNTIME_SILENCE_MS) reasons.push('container runtime is down');
  if (runtime.status !== undefined) {
    const ready = conditionText(runtime.status.conditions, 'RuntimeReady');
    if (ready !== undefined) reasons.push(`container runtime not ready: ${ready}`);
    const network = conditionText(runtime.status.conditions, 'NetworkReady');
    if (network !== undefined) reasons.push(`container runtime network not ready: ${network}`);
  }
  if (missing.length > 0) reasons.push(`missing node capacity for resources: ${missing.join(', ')}`);
  if (reasons.length === 0) return undefined;
  return reasons.length === 1 ? reasons[0] : `[${reasons.join(', ')}]`;
}

function conditionText(
  conditions: readonly { type: string; status: boolean; reason: string; message: string }[],
  type: string,
): string | undefined {
  const condition = conditions.find((candidate) => candidate.type === type);
  if (condition === undefined) return `${type} condition unknown`;
  if (condition.status) return undefined;
  return `${type}=false reason:${condition.reason} message:${condition.message}`;
}
