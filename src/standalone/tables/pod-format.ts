import type { KubeObject } from '../../model/meta.ts';
import type { ContainerStatus, Pod } from '../../model/pod.ts';
import { parseTime } from '../../model/time.ts';
import { age, humanDuration } from './human-duration.ts';
import { type Cell, NONE, type TableFormat } from './table.ts';

/** `kubectl get pods` (pkg/printers/internalversion printPod). */
export const podFormat: TableFormat = {
  columns: [
    { name: 'Name', type: 'string', format: 'name' },
    { name: 'Ready', type: 'string' },
    { name: 'Status', type: 'string' },
    { name: 'Restarts', type: 'string' },
    { name: 'Age', type: 'string' },
    { name: 'IP', type: 'string', priority: 1 },
    { name: 'Node', type: 'string', priority: 1 },
    { name: 'Nominated Node', type: 'string', priority: 1 },
    { name: 'Readiness Gates', type: 'string', priority: 1 },
  ],
  cells: (object: KubeObject, now: number): Cell[] => {
    const pod = object as Pod;
    const { status } = pod;
    const summary = summarize(pod, now);
    return [
      pod.metadata.name ?? '',
      `${summary.ready}/${summary.total}`,
      summary.status,
      summary.restarts,
      age(pod.metadata.creationTimestamp, now),
      status?.podIPs?.[0]?.ip || status?.podIP || NONE,
      pod.spec.nodeName || NONE,
      (status as { nominatedNodeName?: string } | undefined)?.nominatedNodeName || NONE,
      readinessGates(pod),
    ];
  },
};

export interface PodSummary {
  readonly ready: number;
  readonly total: number;
  /** Such as Running, Init:0/2, CrashLoopBackOff, Terminating. */
  readonly status: string;
  /** Such as `0` or `3 (12s ago)`. */
  readonly restarts: string;
}

/** One word for the state of a pod, and its counts. */
export function summarize(pod: Pod, now: number): PodSummary {
  const { spec, status = {} } = pod;
  const initStatuses = status.initContainerStatuses ?? [];
  const sidecars = new Set(
    (spec.initContainers ?? []).filter((one) => one.restartPolicy === 'Always').map(({ name }) => name),
  );
  const counts = {
    ready: 0,
    restarts: 0,
    lastRestart: Number.NEGATIVE_INFINITY,
    sidecarRestarts: 0,
    sidecarLast: Number.NEGATIVE_INFINITY,
  };
  let word = status.reason || status.phase || '';
  if (status.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'SchedulingGated'))
    word = 'SchedulingGated';

  for (const one of initStatuses) {
    counts.restarts += one.restartCount;
    counts.lastRestart = Math.max(counts.lastRestart, finishedAt(one));
    if (!sidecars.has(one.name)) continue;
    counts.sidecarRestarts += one.restartCount;
    counts.sidecarLast = Math.max(counts.sidecarLast, finishedAt(one));
  }
  const initializing = initWord(pod, sidecars, counts);
  if (initializing !== undefined) word = initializing;

  if (initializing === undefined || hasCondition(pod, 'Initialized')) {
    counts.restarts = counts.sidecarRestarts;
    counts.lastRestart = counts.sidecarLast;
    let running = false;
    for (const one of (status.containerStatuses ?? []).toReversed()) {
      counts.restarts += one.restartCount;
      counts.lastRestart = Math.max(counts.lastRestart, finishedAt(one));
      const { waiting, terminated, running: runs } = one.state ?? {};
      if (waiting?.reason) word = waiting.reason;
      else if (terminated !== undefined) word = terminated.reason || exitWord(terminated);
      else if (one.ready && runs !== undefined) {
        running = true;
        counts.ready++;
      }
    }
    // A pod of which one container is done and another runs is not done.
    if (word === 'Completed' && running) word = hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') word = 'Unknown';
    else if (status.phase !== 'Succeeded' && status.phase !== 'Failed') word = 'Terminating';
  }
  const ago =
    counts.restarts > 0 && Number.isFinite(counts.lastRestart)
      ? ` (${humanDuration(now - counts.lastRestart)} ago)`
      : '';
  return {
    ready: counts.ready,
    total: spec.containers.length + sidecars.size,
    status: word,
    restarts: `${counts.restarts}${ago}`,
  };
}

/** The first init container that is not done yet; sidecars count as done once they have started. */
function initWord(pod: Pod, sidecars: ReadonlySet<string>, counts: { ready: number }): string | undefined {
  for (const [index, one] of (pod.status?.initContainerStatuses ?? []).entries()) {
    const { terminated, waiting } = one.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (sidecars.has(one.name) && one.started === true) {
      if (one.ready) counts.ready++;
      continue;
    }
    if (terminated !== undefined) return `Init:${terminated.reason || exitWord(terminated)}`;
    if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
    return `Init:${index}/${pod.spec.initContainers?.length ?? 0}`;
  }
  return undefined;
}

function exitWord({ signal, exitCode }: { readonly signal?: number; readonly exitCode: number }): string {
  return signal !== undefined && signal !== 0 ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}

function finishedAt(status: ContainerStatus): number {
  return parseTime(status.lastState?.terminated?.finishedAt) ?? Number.NEGATIVE_INFINITY;
}

function hasCondition(pod: Pod, type: string): boolean {
  return pod.status?.conditions?.some((one) => one.type === type && one.status === 'True') ?? false;
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return NONE;
  return `${gates.filter(({ conditionType }) => hasCondition(pod, conditionType)).length}/${gates.length}`;
}
