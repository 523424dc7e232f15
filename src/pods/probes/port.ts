import type { Pod, Probe } from '../../model/pod.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';
export type ProbeResult = 'success' | 'failure' | 'unknown';

/** One running container whose probes should run. */
export interface ProbeTarget {
  readonly pod: Pod;
  readonly containerName: string;
  readonly containerId: string;
  readonly podIP: string | undefined;
  /** Container start, milliseconds since the epoch; initialDelaySeconds counts from it. */
  readonly startedAt: number;
  readonly probes: Readonly<Partial<Record<ProbeKind, Probe>>>;
  /**
   * What the API said of a container that ran before this process started, so that a restart keeps Ready and started
   * (KEP-less: kubelet ChangeContainerStatusOnKubeletRestart off).
   */
  readonly adopted: { readonly ready: boolean; readonly started: boolean } | undefined;
  /** A pod that is being deleted keeps only its readiness probes. */
  readonly terminating: boolean;
}

export interface ProbeOutcome {
  readonly podUid: string;
  readonly containerName: string;
  readonly containerId: string;
  readonly kind: ProbeKind;
  readonly result: ProbeResult;
  /** For the Killing and Unhealthy events. */
  readonly message: string;
}

/** Runs the probes of all pods. Results are per container id: a new container starts from the initial result. */
export interface ProbeManager {
  /** Replaces what runs for this pod by exactly these targets; unchanged ones are left undisturbed. */
  set(podUid: string, targets: readonly ProbeTarget[]): void;
  remove(podUid: string): void;
  /**
   * The settled result (thresholds applied). Before the first run: startup unknown, liveness success, readiness failure.
   * undefined: no such probe runs for this container.
   */
  result(containerId: string, kind: ProbeKind): ProbeResult | undefined;
  /** A probe's settled result changed. */
  subscribe(listener: (outcome: ProbeOutcome) => void): () => void;
  close(): Promise<void>;
}
