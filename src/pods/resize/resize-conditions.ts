import type { PodCondition } from '../../model/pod.ts';
import { rfc3339 } from '../../model/time.ts';

/** Why a resize waits: `Deferred` may still be granted, `Infeasible` never will be on this node. */
export type PendingReason = 'Deferred' | 'Infeasible';

/**
 * PodResizePending and PodResizeInProgress of one pod (kubelet status_manager.go). A condition's transition time moves
 * when its reason does.
 */
export class ResizeConditions {
  private pendingNow: PodCondition | undefined;
  private progressNow: PodCondition | undefined;

  get list(): readonly PodCondition[] {
    return [this.pendingNow, this.progressNow].filter((condition) => condition !== undefined);
  }

  get pending(): PodCondition | undefined {
    return this.pendingNow;
  }

  get inProgress(): PodCondition | undefined {
    return this.progressNow;
  }

  /** Takes over what the API was told before this process. */
  adopt(conditions: readonly PodCondition[]): void {
    for (const condition of conditions) {
      if (condition.type === 'PodResizePending') this.pendingNow = condition;
      if (condition.type === 'PodResizeInProgress') this.progressNow = condition;
    }
  }

  /** Answers whether there is news in it: another reason, or another generation of the pod. */
  setPending(reason: PendingReason, message: string, generation: number | undefined, now: number): boolean {
    const before = this.pendingNow;
    if (before?.reason === reason && before.observedGeneration === generation && before.message === message) {
      return false;
    }
    this.pendingNow = conditionOf('PodResizePending', before, { reason, message, generation }, now);
    return before === undefined || before.reason !== reason || before.observedGeneration !== generation;
  }

  clearPending(): void {
    this.pendingNow = undefined;
  }

  /**
   * The generation that an earlier condition was set for stays, and so do its reason and message when none are given;
   * whoever begins a new resize clears the condition first. Answers whether anything changed.
   */
  setInProgress(reason: string, message: string, generation: number | undefined, now: number): boolean {
    const before = this.progressNow;
    const silent = reason === '' && message === '';
    const next = {
      reason: silent ? (before?.reason ?? '') : reason,
      message: silent ? (before?.message ?? '') : message,
      generation: before === undefined ? generation : before.observedGeneration,
    };
    if (before !== undefined && (before.reason ?? '') === next.reason && (before.message ?? '') === next.message) {
      return false;
    }
    this.progressNow = conditionOf('PodResizeInProgress', before, next, now);
    return true;
  }

  /** Answers the condition that there was. */
  clearInProgress(): PodCondition | undefined {
    const before = this.progressNow;
    this.progressNow = undefined;
    return before;
  }
}

function conditionOf(
  type: string,
  before: PodCondition | undefined,
  { reason, message, generation }: { reason: string; message: string; generation: number | undefined },
  now: number,
): PodCondition {
  const time = rfc3339(now);
  const kept = before !== undefined && (before.reason ?? '') === reason ? before.lastTransitionTime : undefined;
  return {
    type,
    status: 'True',
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    lastProbeTime: time,
    lastTransitionTime: kept ?? time,
    ...(reason === '' ? {} : { reason }),
    ...(message === '' ? {} : { message }),
  };
}
