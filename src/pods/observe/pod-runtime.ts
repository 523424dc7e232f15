import type { ContainerStateName, LinuxResources, SandboxState } from '../../host/cri/port.ts';

/** A container as the runtime has it. Times are milliseconds since the epoch, 0 for "not yet". */
export interface ContainerRecord {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly state: ContainerStateName;
  readonly restartCount: number;
  /** The hash annotation; '' when the container has none. */
  readonly hash: string;
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly reason: string;
  /** The runtime's message, or the termination message once it was read. */
  readonly message: string;
  readonly image: string;
  readonly imageRef: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly resources: LinuxResources | undefined;
  readonly user:
    | { readonly uid: number; readonly gid: number; readonly supplementalGroups: readonly number[] }
    | undefined;
  /** Known to have ended from an early notice only; the runtime has yet to say how (OOMKilled, message). */
  readonly provisional: boolean;
}

export interface SandboxRecord {
  readonly id: string;
  readonly attempt: number;
  readonly state: SandboxState;
  readonly createdAt: number;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
}

/** What the runtime has of one pod; sandboxes and containers newest first. */
export interface PodRuntime {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly sandboxes: readonly SandboxRecord[];
  readonly containers: readonly ContainerRecord[];
}

export function nothingRuns(uid: string, namespace: string, name: string): PodRuntime {
  return { uid, namespace, name, sandboxes: [], containers: [] };
}

/** The newest container of a name, in one sandbox or in any. */
export function newestContainer(runtime: PodRuntime, name: string, sandboxId?: string): ContainerRecord | undefined {
  return runtime.containers.find((c) => c.name === name && (sandboxId === undefined || c.sandboxId === sandboxId));
}

export function readySandbox(runtime: PodRuntime): SandboxRecord | undefined {
  return runtime.sandboxes.find((sandbox) => sandbox.state === 'READY');
}

export function isAlive(container: ContainerRecord): boolean {
  return container.state === 'RUNNING' || container.state === 'CREATED' || container.state === 'UNKNOWN';
}

/** Killed by SIGKILL, for a reason that the runtime may still have to learn from the kernel. */
export function mayHaveRunOutOfMemory({ state, exitCode, reason }: ContainerRecord): boolean {
  return state === 'EXITED' && exitCode === 137 && (reason === 'Error' || reason === '');
}
