import type { Container, Pod, PodPhase, RestartPolicy } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { matchingRule } from '../../model/restart-rules.ts';
import type { PodFacts } from '../facts.ts';
import { containerHash } from '../identity.ts';
import { type ContainerRecord, newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import { type ResizeFacts, stoppedForResize } from '../resize/resize-plan.ts';
import { restartsAll } from './restart-all.ts';

export function restartPolicyOf(pod: Pod): RestartPolicy {
  return pod.spec.restartPolicy ?? 'Always';
}

interface Ended {
  readonly pod: Pod;
  readonly runtime: PodRuntime;
  readonly facts: Pick<PodFacts, 'kills'>;
  readonly resize?: ResizeFacts;
}

/** Whether a container with this definition is started again after such an exit. */
export function restartsAfterExit(pod: Pod, container: Container, exitCode: number): boolean {
  // Both actions of a rule bring the container back, RestartAllContainers all the others with it.
  if (container.restartPolicy !== undefined && matchingRule(container, exitCode) !== undefined) return true;
  const policy = container.restartPolicy ?? restartPolicyOf(pod);
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

/** Whether one that is killed for a probe's sake comes back: rules speak of exits only (kubelet computePodActions). */
export function restartsAfterProbe(pod: Pod, container: Container): boolean {
  return (container.restartPolicy ?? restartPolicyOf(pod)) !== 'Never';
}

/** Whether this container, which has ended, is started again. */
export function restarts(ended: Ended, container: Container, record: ContainerRecord): boolean {
  const { pod, facts } = ended;
  if (restartsAfterExit(pod, container, record.exitCode) || wasStoppedForResize(ended, container, record)) return true;
  // Stopped for a new definition: that is started whatever the policy (kubelet computePodActions).
  return facts.kills.has(record.id) && isOutdated(container, record);
}

/** It was stopped in order to come back with the resources that the pod was granted. */
export function wasStoppedForResize(
  { pod, facts, resize }: Ended,
  container: Container,
  record: ContainerRecord,
): boolean {
  return facts.kills.has(record.id) && stoppedForResize(pod, container, resize);
}

/** The container was made from another image than the pod asks for now. */
export function isOutdated(container: Container, record: ContainerRecord): boolean {
  return record.hash !== '' && record.hash !== containerHash(container);
}

/** An init container that failed for good and takes the pod with it. */
function failedInit({ pod, runtime }: Ended): ContainerRecord | undefined {
  const sandbox = runtime.sandboxes[0];
  for (const container of pod.spec.initContainers ?? []) {
    if (isSidecar(container)) continue;
    const record = newestContainer(runtime, container.name, sandbox?.id);
    if (record?.state === 'EXITED' && record.exitCode !== 0 && !restartsAfterExit(pod, container, record.exitCode)) {
      return record;
    }
  }
  return undefined;
}

/**
 * The phase that a pod has reached for good by what its containers did, or undefined while it may go on (kubelet
 * getPhase; sidecars do not hold a pod).
 */
export function outcomeOf(ended: Ended): Extract<PodPhase, 'Succeeded' | 'Failed'> | undefined {
  const { pod, runtime } = ended;
  if (restartsAll(ended)) return undefined;
  if (failedInit(ended) !== undefined) return 'Failed';
  let failed = false;
  for (const container of pod.spec.containers) {
    const record = newestContainer(runtime, container.name);
    if (record === undefined || record.state !== 'EXITED') return undefined;
    if (restarts(ended, container, record)) return undefined;
    if (record.exitCode !== 0) failed = true;
  }
  return failed ? 'Failed' : 'Succeeded';
}
