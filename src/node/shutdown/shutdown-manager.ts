import type { InhibitLock, Logind, LogindPort } from '../../host/logind/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { Pod } from '../../model/pod.ts';
import { type ShutdownGroup, type ShutdownPeriod, shutdownGroups } from './shutdown-groups.ts';
import type { ShutdownStateFile } from './shutdown-state.ts';

export interface ShutdownManagerOptions {
  /** Lowest priority first; at least one. */
  readonly periods: readonly ShutdownPeriod[];
  /** The state file and the metrics are kept (gate GracefulNodeShutdownBasedOnPodPriority). */
  readonly keepState: boolean;
}

/** How a pod is ended. */
export interface ShutdownEnd {
  readonly reason: string;
  readonly message: string;
  readonly graceSeconds: number;
  /** Message of the condition DisruptionTarget. */
  readonly disruption: string;
}

export interface ShutdownManagerDeps {
  readonly logind: LogindPort;
  readonly pods: {
    activePods(): readonly Pod[];
    /** Resolves when nothing of the pod runs any more. */
    end(uid: string, end: ShutdownEnd): Promise<void>;
    /** The pod's volumes are unmounted as well. */
    isReclaimed(uid: string): boolean;
  };
  /** About the node. */
  readonly event: (event: { readonly type: 'Normal'; readonly reason: string; readonly message: string }) => void;
  /** The node's readiness has changed: its status is written soon. */
  readonly refreshNode: () => void;
  readonly state: ShutdownStateFile;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
}

const MESSAGE = 'Pod was terminated in response to imminent node shutdown.';
/** kubelet's dbusReconnectPeriod; without any success it is asked for less and less often. */
const RECONNECT_MS = 1000;
const RECONNECT_MOST_MS = 60_000;
/** How often, and after how long first, it is looked whether logind has taken the new delay (doubled each time). */
const DELAY_LOOKS = 5;
const DELAY_FIRST_MS = 100;
const UNMOUNT_POLL_MS = 200;

/**
 * Ends pods in order before the machine goes down: holds logind's delay lock, and when a shutdown begins gives each group of
 * pods its time, the least important first, before it lets go (kubelet nodeshutdown/nodeshutdown_manager_linux.go).
 */
export class ShutdownManager {
  private readonly options: ShutdownManagerOptions;
  private readonly deps: ShutdownManagerDeps;
  private readonly startTime;
  private readonly endTime;
  private down = false;

  constructor(options: ShutdownManagerOptions, deps: ShutdownManagerDeps) {
    this.options = options;
    this.deps = deps;
    this.startTime = deps.metrics.gauge(
      'kubelet_graceful_shutdown_start_time_seconds',
      'When the last graceful shutdown began, in seconds since the epoch.',
    );
    this.endTime = deps.metrics.gauge(
      'kubelet_graceful_shutdown_end_time_seconds',
      'When the last graceful shutdown had ended all pods, in seconds since the epoch.',
    );
  }

  /** A shutdown has begun and was not called off: no pod is taken any more. */
  get shuttingDown(): boolean {
    return this.down;
  }

  /** Holds the lock until aborted; connects again when the bus or logind went away. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    await this.tellOfLast();
    let failures = 0;
    while (!signal.aborted) {
      try {
        const why = await this.session(signal, () => {
          failures = 0;
        });
        if (!signal.aborted) log.warn({ why }, 'the connection to logind has ended; connecting again');
      } catch (error) {
        if (signal.aborted) return;
        const level = failures === 0 ? 'warn' : 'debug';
        log[level]({ error: messageOf(error) }, 'shutdowns of this machine cannot be held up; trying again');
        failures++;
      }
      const pause = Math.min(RECONNECT_MS * 2 ** Math.max(0, failures - 1), RECONNECT_MOST_MS);
      await clock.sleep(pause, signal).catch(() => {});
    }
  }

  /** One connection, from lock to end; answers why it ended. */
  private async session(signal: AbortSignal, held: () => void): Promise<string> {
    const { logind, log } = this.deps;
    const connection = await logind.connect(signal);
    const locks = new LockHolder(connection);
    const stop = (): void => connection.close();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await this.ensureDelay(connection);
      await locks.acquire();
      // One after the other: a shutdown that is called off is heard of when its pods have ended.
      let turn: Promise<void> = Promise.resolve();
      await connection.watchShutdown((active) => {
        turn = turn
          .then(() => this.changed(active, locks))
          .catch((error: unknown) => log.error({ error: messageOf(error) }, 'a shutdown could not be dealt with'));
      });
      held();
      log.info({ periods: this.options.periods }, 'shutdowns of this machine wait for its pods');
      const why = await connection.ended;
      // A daemon that is told to end does not wait for pods: they go on without it.
      if (!signal.aborted) await turn;
      return why;
    } finally {
      signal.removeEventListener('abort', stop);
      locks.release();
      connection.close();
    }
  }

  /** logind waits for as long as its configuration says, whatever a lock's holder needs. */
  private async ensureDelay(connection: Logind): Promise<void> {
    const wanted = this.options.periods.reduce((sum, { seconds }) => sum + seconds, 0) * 1000;
    if ((await connection.inhibitDelayMs()) >= wanted) return;
    await connection.overrideInhibitDelay(wanted);
    let now = 0;
    for (let look = 0, pause = DELAY_FIRST_MS; look < DELAY_LOOKS; look++, pause *= 2) {
      now = await connection.inhibitDelayMs();
      if (now >= wanted) return;
      if (look < DELAY_LOOKS - 1) await this.deps.clock.sleep(pause);
    }
    throw new CodedError(
      'Unavailable',
      `logind waits ${now} ms for a shutdown although ${wanted} ms were written to its configuration (InhibitDelayMaxSec)`,
    );
  }

  private async changed(active: boolean, locks: LockHolder): Promise<void> {
    const { event, refreshNode, log } = this.deps;
    const what = active ? 'shutdown event' : 'shutdown cancellation';
    log.warn({ active }, active ? 'this machine is shutting down' : 'the shutdown of this machine was called off');
    event({ type: 'Normal', reason: 'Shutdown', message: `Shutdown manager detected ${what}` });
    this.down = active;
    refreshNode();
    if (!active) {
      await locks.acquire();
      return;
    }
    try {
      await this.recorded(() => this.endPods());
    } finally {
      locks.release();
      log.warn({}, 'all pods have had their time; the shutdown goes on');
    }
  }

  private async recorded(work: () => Promise<void>): Promise<void> {
    const { clock, state, log } = this.deps;
    if (!this.options.keepState) return work();
    const startedAt = clock.now();
    const write = (endedAt: number | undefined): Promise<void> =>
      state
        .write({ startedAt, endedAt })
        .catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the shutdown could not be recorded'));
    await write(undefined);
    this.startTime.set(Math.floor(startedAt / 1000));
    this.endTime.set(0);
    await work();
    const endedAt = clock.now();
    await write(endedAt);
    this.endTime.set(Math.floor(endedAt / 1000));
  }

  private async endPods(): Promise<void> {
    for (const group of shutdownGroups(this.options.periods, this.deps.pods.activePods())) {
      // Nobody waits for those who are not there.
      if (group.pods.length > 0) await this.endGroup(group);
    }
  }

  /** Ends the pods of a group together; goes on when they and their volumes are gone, or their time is over. */
  private async endGroup({ pods, seconds, priority }: ShutdownGroup): Promise<void> {
    const { clock, log } = this.deps;
    const over = new AbortController();
    const timer = clock.after(seconds * 1000, () => over.abort());
    log.info({ priority, seconds, pods: pods.length }, 'ending pods for the shutdown');
    const ends = pods.map(({ metadata, spec }) =>
      this.deps.pods.end(metadata.uid ?? '', {
        reason: 'Terminated',
        message: MESSAGE,
        graceSeconds: Math.min(seconds, spec.terminationGracePeriodSeconds ?? seconds),
        disruption: MESSAGE,
      }),
    );
    const unmounted = async (): Promise<void> => {
      await Promise.all(ends);
      while (!over.signal.aborted && !pods.every(({ metadata }) => this.deps.pods.isReclaimed(metadata.uid ?? ''))) {
        await clock.sleep(UNMOUNT_POLL_MS, over.signal).catch(() => {});
      }
    };
    const timedOut = new Promise<void>((resolve) =>
      over.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    await Promise.race([unmounted(), timedOut]);
    if (over.signal.aborted) log.warn({ priority, seconds }, 'the time of these pods is over');
    timer.cancel();
    over.abort();
  }

  private async tellOfLast(): Promise<void> {
    if (!this.options.keepState) return;
    try {
      const { startedAt, endedAt } = await this.deps.state.read();
      if (startedAt !== undefined) this.startTime.set(Math.floor(startedAt / 1000));
      if (endedAt !== undefined) this.endTime.set(Math.floor(endedAt / 1000));
    } catch (error) {
      this.deps.log.warn({ error: messageOf(error) }, 'what was recorded of the last shutdown cannot be read');
    }
  }
}

/** The one lock that is held, if any. */
class LockHolder {
  private readonly connection: Logind;
  private lock: InhibitLock | undefined;

  constructor(connection: Logind) {
    this.connection = connection;
  }

  /** Takes a new one before the old one goes. */
  async acquire(): Promise<void> {
    const next = await this.connection.inhibitShutdown();
    this.release();
    this.lock = next;
  }

  release(): void {
    this.lock?.release();
    this.lock = undefined;
  }
}
