import { type ContainerRecord, isAlive } from '../observe/pod-runtime.ts';
import type { PlanBuilder } from './plan.ts';

/** Left to the runtime at the least, however long a preStop hook took (kubelet minimumGracePeriodInSeconds). */
export const MINIMUM_STOP_SECONDS = 2;

export interface KillOrder {
  readonly record: ContainerRecord;
  readonly graceSeconds: number;
  readonly message: string;
  readonly runPreStop: boolean;
  /** False while it is not yet this container's turn to be stopped; its preStop hook runs all the same. */
  readonly mayStop: boolean;
}

/**
 * Moves the stopping of one container on: announce and preStop, then StopContainer with what is left of its grace. One
 * that never ran is removed.
 */
export function planKill(builder: PlanBuilder, order: KillOrder): void {
  const { record } = order;
  if (!isAlive(record)) return;
  const { facts, now } = builder.input;
  if (record.state === 'CREATED') {
    // Made but never started, by an agent that died in between: a runtime has nothing to stop there and leaves it so.
    if (!facts.running.has('start')) builder.push({ do: 'removeContainer', id: record.id });
    return;
  }
  const kill = facts.kills.get(record.id);
  if (kill === undefined) {
    builder.push({
      do: 'beginKill',
      container: record.name,
      id: record.id,
      graceSeconds: order.graceSeconds,
      message: order.message,
      runPreStop: order.runPreStop && record.state === 'RUNNING',
    });
    return;
  }
  const wanted = kill.since + order.graceSeconds * 1000;
  if (wanted < kill.deadline) {
    builder.push({ do: 'shortenKill', id: record.id, deadline: wanted });
    return;
  }
  const overdue = now >= kill.deadline;
  if ((!kill.preStopDone || !order.mayStop) && !overdue) {
    builder.lookAgainAt(kill.deadline);
    return;
  }
  if (kill.stopSentFor !== undefined && kill.stopSentFor <= kill.deadline && isRunning(builder, record.id)) return;
  // No more than the whole grace, even when the clock was set back meanwhile.
  const left = Math.min(Math.ceil((kill.deadline - now) / 1000), order.graceSeconds);
  builder.push({
    do: 'stopContainer',
    container: record.name,
    id: record.id,
    timeoutSeconds: Math.max(left, Math.min(order.graceSeconds, MINIMUM_STOP_SECONDS)),
    deadline: kill.deadline,
  });
}

function isRunning(builder: PlanBuilder, id: string): boolean {
  const prefix = `stopContainer/${id}/`;
  for (const key of builder.input.facts.running) if (key.startsWith(prefix)) return true;
  return false;
}
