import type { NodeStatus } from '../model/node.ts';

export interface NodeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

/** Reasons by condition and its new status (kubelet events/event.go); the pressures' are their conditions' in short. */
const REASONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Ready: { True: 'NodeReady', False: 'NodeNotReady' },
  MemoryPressure: { True: 'NodeHasInsufficientMemory', False: 'NodeHasSufficientMemory' },
  DiskPressure: { True: 'NodeHasDiskPressure', False: 'NodeHasNoDiskPressure' },
  PIDPressure: { True: 'NodeHasInsufficientPID', False: 'NodeHasSufficientPID' },
};

/** What is worth an event between two statuses of a node; `before` is undefined for a Node that was just made. */
export function nodeEvents(nodeName: string, before: NodeStatus | undefined, after: NodeStatus): NodeEvent[] {
  const events: NodeEvent[] = [];
  const bootID = after.nodeInfo?.bootID ?? '';
  const lastBootID = before?.nodeInfo?.bootID ?? '';
  if (lastBootID !== '' && lastBootID !== bootID) {
    const message = `Node ${nodeName} has been rebooted, boot id: ${bootID}`;
    events.push({ type: 'Warning', reason: 'Rebooted', message });
  }
  for (const condition of after.conditions ?? []) {
    const was = before?.conditions?.find((candidate) => candidate.type === condition.type)?.status;
    const reason = REASONS[condition.type]?.[condition.status];
    if (was === condition.status || reason === undefined) continue;
    // A Node that begins not ready has not become so.
    if (was === undefined && reason === 'NodeNotReady') continue;
    events.push(statusEvent(nodeName, reason));
  }
  return events;
}

export function statusEvent(nodeName: string, reason: string): NodeEvent {
  return { type: 'Normal', reason, message: `Node ${nodeName} status is now: ${reason}` };
}
