import type { Container, Pod, PodPhase, RestartPolicy } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { type ContainerRecord, newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';

export function restartPolicyOf(pod: Pod): RestartPolicy {
  return pod.spec.restartPolicy ?? 'Always';
}

/** Whether a container that ended so is started again. */
export function restartsAfterExit(pod: Pod, container: Container, exitCode: number): boolean {
  const policy = container.restartPolicy ?? restartPolicyOf(pod);
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

/** An init container that failed for good and takes the pod with it. */
export function failedInit(pod: Pod, runtime: PodRuntime): ContainerRecord | undefined {
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
export function outcomeOf(pod: Pod, runtime: PodRuntime): Extract<PodPhase, 'Succeeded' | 'Failed'> | undefined {
  if (failedInit(pod, runtime) !== undefined) return 'Failed';
  let failed = false;
  for (const container of pod.spec.containers) {
    const record = newestContainer(runtime, container.name);
    if (record === undefined || record.state !== 'EXITED') return undefined;
    if (restartsAfterExit(pod, container, record.exitCode)) return undefined;
    if (record.exitCode !== 0) failed = true;
  }
  return failed ? 'Failed' : 'Succeeded';
}
