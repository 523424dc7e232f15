import type { ContainerStatus, PodSandboxStatus } from '../../host/cri/port.ts';
import { annotation, label } from '../identity.ts';
import type { ContainerRecord, SandboxRecord } from './pod-runtime.ts';

export function sandboxRecord(status: PodSandboxStatus): SandboxRecord {
  return {
    id: status.id,
    attempt: status.metadata.attempt,
    state: status.state,
    createdAt: status.createdAt,
    ips: status.ips,
    hostNetwork: status.namespaceOptions.network === 'NODE',
  };
}

/** `message` stands in for the runtime's: the termination message, once the container has ended. */
export function containerRecord(sandboxId: string, status: ContainerStatus, message: string): ContainerRecord {
  return {
    id: status.id,
    name: status.labels[label.containerName] ?? status.metadata.name,
    sandboxId,
    state: status.state,
    restartCount: restartCountOf(status),
    hash: status.annotations[annotation.hash] ?? '',
    createdAt: status.createdAt,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    exitCode: status.exitCode,
    reason: status.reason,
    message,
    image: status.image,
    imageRef: status.imageRef,
    annotations: status.annotations,
    resources: status.resources,
    user: status.user,
    provisional: false,
  };
}

function restartCountOf(status: ContainerStatus): number {
  const annotated = Number(status.annotations[annotation.restartCount]);
  return Number.isInteger(annotated) && annotated >= 0 ? annotated : status.metadata.attempt;
}
