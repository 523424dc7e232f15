import type { Container, Pod } from '../../model/pod.ts';
import { canRestartAll, matchingRule } from '../../model/restart-rules.ts';
import { type ContainerRecord, isAlive, newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import { MINIMUM_STOP_SECONDS, planKill } from './kill.ts';
import type { PlanBuilder } from './plan.ts';

/** Reason of containers that were taken away so that the whole pod begins anew (kubelet_pods.go RestartingAllContainers). */
export const RESTARTING_ALL = 'RestartingAllContainers';

/**
 * What triggered it stays this long after its end (milliseconds): kubelet sees an end at its next relist, and a pod that
 * fails at once must not be begun anew without a pause, for which there is no back-off.
 */
const PAUSE_MS = 1000;

/** This exit asks for all containers of the pod to be started anew. */
function asksForAll(container: Container, record: ContainerRecord | undefined): boolean {
  return record?.state === 'EXITED' && matchingRule(container, record.exitCode)?.action === 'RestartAllContainers';
}

/** Those that ask for it: what stands in the runtime until all others are away. */
function sourcesOf(pod: Pod, runtime: PodRuntime): ReadonlySet<ContainerRecord> {
  const sources = new Set<ContainerRecord>();
  if (!canRestartAll(pod)) return sources;
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    const newest = newestContainer(runtime, container.name);
    if (newest !== undefined && asksForAll(container, newest)) sources.add(newest);
  }
  return sources;
}

/**
 * Whether the pod is being restarted in place: a container has exited with a code whose rule says RestartAllContainers
 * (kubelet ShouldAllContainersRestart). What triggered it goes last, so that a restarted agent finds it still.
 */
export function restartsAll({ pod, runtime }: { readonly pod: Pod; readonly runtime: PodRuntime }): boolean {
  return sourcesOf(pod, runtime).size > 0;
}

/**
 * Takes all init, sidecar and app containers out of the runtime, in kubelet's order (kuberuntime_manager.go
 * ContainersToReset): app containers, then those of init, then what triggered it. Nobody gets a preStop hook or more
 * than the least grace; sandbox, volumes, logs and ephemeral containers stay. With nothing left the pod begins anew.
 */
export function planRestartAll(builder: PlanBuilder): void {
  const { pod, runtime, now } = builder.input;
  const sources = sourcesOf(pod, runtime);
  const of = (containers: readonly Container[] = []): ContainerRecord[] =>
    runtime.containers.filter((record) => containers.some(({ name }) => name === record.name));
  const apps = of(pod.spec.containers);
  const inits = of(pod.spec.initContainers);
  const stages = [
    apps.filter((record) => !sources.has(record)),
    inits.filter((record) => !sources.has(record)),
    apps.filter((record) => sources.has(record)),
    inits.filter((record) => sources.has(record)),
  ];
  for (const stage of stages) {
    for (const record of stage) {
      if (isAlive(record)) {
        const graceSeconds = MINIMUM_STOP_SECONDS;
        planKill(builder, { record, graceSeconds, message: 'killing', runPreStop: false, mayStop: true });
      } else if (sources.has(record) && now >= record.finishedAt && now - record.finishedAt < PAUSE_MS) {
        builder.lookAgainAt(record.finishedAt + PAUSE_MS);
      } else if (!record.provisional) {
        builder.push({ do: 'removeContainer', id: record.id, keepLog: true });
      }
    }
    if (stage.length > 0) return;
  }
}
