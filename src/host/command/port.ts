/** Programs of this host that others have written, such as credential provider plugins. */
export interface Programs {
  /**
   * Runs a program, never a shell, with `input` on its standard input, and answers however it ends. Throws CodedError:
   * Unavailable when it cannot be started, DeadlineExceeded past the deadline (it is killed, and its children with it),
   * ResourceExhausted when it writes more than `maxOutputBytes`.
   */
  run(request: ProgramRequest): Promise<ProgramResult>;
  /** The path, if there is a program that may be run; otherwise NotFound or Forbidden. */
  check(path: string): Promise<void>;
}

export interface ProgramRequest {
  readonly path: string;
  readonly args: readonly string[];
  /** In addition to this process's own environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly input: string;
  readonly deadlineMs: number;
  /** Of standard output; of standard error the last 4 KiB are kept. */
  readonly maxOutputBytes: number;
}

export interface ProgramResult {
  /** "exit status 1" or "signal: killed"; undefined when it ended well. */
  readonly failure: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}
