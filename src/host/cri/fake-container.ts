import type { Clock, Timer } from '../../kit/clock.ts';
import type { ContainerConfig, ContainerStateName, ContainerStatus, LinuxResources } from './port.ts';

/** What the process of a fake container does. By default it runs until it is told to stop, and then ends at once. */
export interface FakeProgram {
  /** Ends by itself so long after its start. */
  readonly exitAfterMs?: number;
  /** Of an end by itself. Default 0. */
  readonly exitCode?: number;
  /** The kernel kills it for its memory when it ends by itself. */
  readonly oomKilled?: boolean;
  /** Only SIGKILL ends it. */
  readonly ignoresTerm?: boolean;
  /** From the stop signal to its end. Default 0. */
  readonly stopTakesMs?: number;
  /** Of an end after the stop signal. Default 143. */
  readonly stopExitCode?: number;
  /** StartContainer fails with these words, as for a command that does not exist. */
  readonly startError?: string;
  /** Written to the container's termination log when it ends. */
  readonly terminationMessage?: string;
}

export interface FakeSignal {
  readonly containerId: string;
  readonly containerName: string;
  readonly podUid: string;
  readonly signal: 'SIGTERM' | 'SIGKILL';
  readonly atMs: number;
}

/** How a process ended. */
export interface FakeExit {
  readonly code: number;
  /** Default: Completed for 0, else Error. */
  readonly reason?: string;
  readonly message?: string;
}

/** One container of the fake runtime, from its creation to its end. */
export class FakeContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly imageRef: string;
  readonly config: ContainerConfig;
  readonly createdAt: number;
  readonly program: FakeProgram;
  state: ContainerStateName = 'CREATED';
  startedAt = 0;
  finishedAt = 0;
  exitCode = 0;
  reason = '';
  message = '';
  resources: LinuxResources;
  private ending: Timer | undefined;
  private readonly clock: Clock;
  private readonly onExit: (container: FakeContainer) => void;
  private readonly waiting: (() => void)[] = [];

  constructor(
    init: {
      readonly id: string;
      readonly sandboxId: string;
      readonly imageRef: string;
      readonly config: ContainerConfig;
      readonly program: FakeProgram;
    },
    clock: Clock,
    onExit: (container: FakeContainer) => void,
  ) {
    this.id = init.id;
    this.sandboxId = init.sandboxId;
    this.imageRef = init.imageRef;
    this.config = init.config;
    this.program = init.program;
    this.resources = init.config.resources;
    this.createdAt = clock.now();
    this.clock = clock;
    this.onExit = onExit;
  }

  get name(): string {
    return this.config.metadata.name;
  }

  get attempt(): number {
    return this.config.metadata.attempt;
  }

  start(): void {
    this.state = 'RUNNING';
    this.startedAt = this.clock.now();
    const { exitAfterMs, exitCode = 0, oomKilled = false } = this.program;
    if (exitAfterMs === undefined) return;
    this.ending = this.clock.after(exitAfterMs, () =>
      this.exit(oomKilled ? { code: 137, reason: 'OOMKilled' } : { code: exitCode }),
    );
  }

  /** As a start that failed leaves it. */
  failStart(message: string): void {
    this.state = 'EXITED';
    this.finishedAt = this.clock.now();
    this.exitCode = 128;
    this.reason = 'StartError';
    this.message = message;
  }

  exit(how: FakeExit): void {
    if (this.state !== 'RUNNING') return;
    this.ending?.cancel();
    this.state = 'EXITED';
    this.finishedAt = this.clock.now();
    this.exitCode = how.code;
    this.reason = how.reason ?? (how.code === 0 ? 'Completed' : 'Error');
    this.message = how.message ?? '';
    this.onExit(this);
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** The stop signal reaches the process. */
  terminate(): void {
    if (this.program.ignoresTerm || this.state !== 'RUNNING') return;
    const end = (): void => this.exit({ code: this.program.stopExitCode ?? 143 });
    const takes = this.program.stopTakesMs ?? 0;
    if (takes === 0) end();
    else {
      this.ending?.cancel();
      this.ending = this.clock.after(takes, end);
    }
  }

  /** Resolves true when the process ended within `graceMs`. */
  ended(graceMs: number): Promise<boolean> {
    if (this.state !== 'RUNNING') return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = this.clock.after(graceMs, () => resolve(false));
      this.waiting.push(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  status(sandboxLogDirectory: string): ContainerStatus {
    const { config } = this;
    const uid = config.security.runAsUser;
    return {
      id: this.id,
      metadata: { ...config.metadata },
      state: this.state,
      createdAt: this.createdAt,
      startedAt: this.startedAt,
      finishedAt: this.finishedAt,
      exitCode: this.exitCode,
      image: config.userSpecifiedImage || config.image,
      imageRef: this.imageRef,
      reason: this.reason,
      message: this.message,
      labels: config.labels,
      annotations: config.annotations,
      mounts: config.mounts,
      logPath: `${sandboxLogDirectory}/${config.logPath}`,
      resources: this.resources,
      ...(uid === undefined
        ? {}
        : {
            user: {
              uid,
              gid: config.security.runAsGroup ?? 0,
              supplementalGroups: [...config.security.supplementalGroups],
            },
          }),
    };
  }
}
