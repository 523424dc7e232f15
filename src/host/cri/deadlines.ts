const MINUTE_MS = 60_000;

/** Longest that a call may take, in milliseconds; undefined is no limit. */
export interface CriDeadlines {
  readonly other: number;
  readonly runPodSandbox: number;
  /** The runtime itself enforces the time given in the request; the client only catches a runtime that does not. */
  afterGrace(graceSeconds: number): number;
  afterTimeout(timeoutSeconds: number): number | undefined;
}

/**
 * Deadlines as kubelet sets them (cri-client remote_runtime.go): `runtimeRequestTimeout` for most calls, twice that for
 * RunPodSandbox, on top of the grace for StopContainer and of the timeout for ExecSync, none for PullImage.
 */
export function criDeadlines(runtimeRequestTimeoutMs: number = 2 * MINUTE_MS): CriDeadlines {
  return {
    other: runtimeRequestTimeoutMs,
    runPodSandbox: 2 * runtimeRequestTimeoutMs,
    afterGrace: (graceSeconds) => graceSeconds * 1000 + runtimeRequestTimeoutMs,
    afterTimeout: (timeoutSeconds) =>
      timeoutSeconds > 0 ? timeoutSeconds * 1000 + runtimeRequestTimeoutMs : undefined,
  };
}
