import type { BackoffEntry } from '../kit/backoff.ts';
import type { PodStatus } from '../model/pod.ts';

/**
 * What deckhand remembers of a pod beside what can be observed (design principle 1): attempts, back-off, deadlines,
 * the last failure of a step. All times are milliseconds since the epoch. A restarted process starts with none of them.
 */
export interface PodFacts {
  /** When this process saw the pod first, or status.startTime when the API has one. */
  readonly startTime: number;
  /** Steps under way, by run key. */
  readonly running: ReadonlySet<string>;
  /** Volumes and log directory are there. */
  readonly prepared: boolean;
  /** The pod's cgroup is there, with its limits. */
  readonly cgroupReady: boolean;
  /** Sandboxes whose network and processes this process has seen taken down by StopPodSandbox. */
  readonly stoppedSandboxes: ReadonlySet<string>;
  readonly volumesGone: boolean;
  readonly cgroupGone: boolean;
  /** The last failure of a step, by failure key; gone when the step succeeds. */
  readonly failures: ReadonlyMap<string, StepFailure>;
  readonly containers: ReadonlyMap<string, ContainerFacts>;
  /** Containers being stopped, by id. */
  readonly kills: ReadonlyMap<string, KillFacts>;
  /** The end of the pod has begun: it never returns from there, whatever is observed later (kubelet pod_workers.go). */
  readonly ending: boolean;
  /** Why the pod must end although the API did not say so. */
  readonly end: PodEnd | undefined;
  /** Nothing of a pod that has ended is kept although the API still has it: it was evicted, or the disk is short. */
  readonly discard: boolean;
  /** The last status computed, or the API's at the start. */
  readonly lastStatus: PodStatus | undefined;
  /** The API was asked to remove the pod object. */
  readonly finalized: boolean;
  /** Containers, sandboxes, logs and directories of a deleted pod have been removed. */
  readonly cleanedUp: boolean;
}

/** Crash back-off starts over after a run that lasted longer than this (kubelet: 10 minutes, whatever the maximum). */
export const CRASH_RESET_MS = 600_000;

export interface StepFailure {
  /** The Waiting reason (containers) or the event reason (pod-wide steps). */
  readonly reason: string;
  readonly message: string;
  readonly backoff: BackoffEntry;
}

export interface ContainerFacts {
  /** Crash back-off: `failedAt` is when it was counted last, `delayMs` what the next restart waits after an exit. */
  readonly crash: BackoffEntry | undefined;
  /** The image to create from, known to be on the node for the next start. */
  readonly imageRef: string | undefined;
  /** The container that is being started, its postStart hook included; one whose hook has failed remains so. */
  readonly starting: string | undefined;
}

export interface KillFacts {
  readonly since: number;
  /** When SIGKILL is due. */
  readonly deadline: number;
  /** The preStop hook has ended, was cut off, or there is none. */
  readonly preStopDone: boolean;
  /** StopContainer has been called with a time-out that ends at this deadline. */
  readonly stopSentFor: number | undefined;
}

/** A pod's end decided on this node: by its deadline, by admission, to make room for others. */
export interface PodEnd {
  readonly reason: string;
  readonly message: string;
  /** Overrides terminationGracePeriodSeconds. */
  readonly graceSeconds: number | undefined;
  /** It ends for want of a resource of the node: what it leaves goes at once. */
  readonly evicted?: true;
  /** The pod was not admitted: nothing of it has ever run here. */
  readonly refused?: true;
  /** What the condition DisruptionTarget says (reason TerminationByKubelet) once the pod has ended. */
  readonly disruption?: string;
}

export const noContainerFacts: ContainerFacts = { crash: undefined, imageRef: undefined, starting: undefined };
