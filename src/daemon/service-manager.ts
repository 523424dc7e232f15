import { type HealthCheck, runChecks } from '../api/health-checks.ts';
import type { ServiceManagerPort } from '../host/systemd/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { type Foundation, runPart } from './foundation.ts';

/** How often the status line is looked at where there is no watchdog to feed. */
const STATUS_MS = 30_000;
/** kubelet takes no shorter watchdog for one (pkg/kubelet/watchdog/watchdog_linux.go). */
const LEAST_WATCHDOG_MS = 1000;
const CHECK_TIMEOUT_MS = 2000;

export interface ServiceTalkOptions {
  /** Milliseconds within which systemd wants to be fed; undefined: it does not. */
  readonly watchdogMs: number | undefined;
}

export interface ServiceTalkDeps {
  readonly manager: ServiceManagerPort;
  /** Those of kind `live` decide over the watchdog: broken means that a restart may help. */
  readonly checks: readonly HealthCheck[];
  /** One line for `systemctl status`. */
  readonly status: () => string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What WATCHDOG_USEC and WATCHDOG_PID (sd_watchdog_enabled(3)) ask of this process, in milliseconds. */
export function watchdogOf(environment: Readonly<Record<string, string | undefined>>, pid: number): number | undefined {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: meant } = environment;
  if (usec === undefined || !/^\d+$/.test(usec) || (meant !== undefined && meant !== String(pid))) return undefined;
  const ms = Number(usec) / 1000;
  return ms > LEAST_WATCHDOG_MS ? ms : undefined;
}

/**
 * What this service tells systemd: that it is ready, how it is, and twice per watchdog period that it lives, for as long
 * as its live checks hold. A loop that is stuck is not fed, and systemd starts the daemon anew; no container notices.
 */
export class ServiceTalk {
  private readonly everyMs: number;
  private readonly feeds: boolean;
  private readonly deps: ServiceTalkDeps;
  private shown = '';
  private failing = false;

  constructor({ watchdogMs }: ServiceTalkOptions, deps: ServiceTalkDeps) {
    this.feeds = watchdogMs !== undefined;
    this.everyMs = watchdogMs === undefined ? STATUS_MS : watchdogMs / 2;
    this.deps = deps;
  }

  /** Tells READY, then goes on until aborted. Nothing that goes wrong between the two ends the daemon. */
  async run(signal: AbortSignal): Promise<void> {
    await this.tell({ READY: '1', ...this.newStatus() });
    while (!signal.aborted) {
      try {
        await this.deps.clock.sleep(this.everyMs, signal);
      } catch {
        return;
      }
      const alive = this.feeds && (await this.isAlive()) ? { WATCHDOG: '1' } : {};
      await this.tell({ ...alive, ...this.newStatus() });
    }
  }

  async stopping(): Promise<void> {
    await this.tell({ STOPPING: '1', STATUS: 'ending; containers and Service rules stay' });
  }

  private newStatus(): Record<string, string> {
    const status = this.deps.status();
    if (status === this.shown) return {};
    this.shown = status;
    return { STATUS: status };
  }

  private async isAlive(): Promise<boolean> {
    const { checks, clock, log } = this.deps;
    const live = checks.filter(({ kind }) => kind === 'live');
    const results = await runChecks(live, (ms, signal) => clock.sleep(ms, signal), CHECK_TIMEOUT_MS);
    const problems = results.flatMap(({ name, problem }) => (problem === undefined ? [] : [`${name}: ${problem}`]));
    for (const problem of problems) log.error({ problem }, 'the watchdog is not fed');
    return problems.length === 0;
  }

  private async tell(assignments: Readonly<Record<string, string>>): Promise<void> {
    if (Object.keys(assignments).length === 0) return;
    try {
      await this.deps.manager.notify(assignments);
      this.failing = false;
    } catch (error) {
      // Told once per outage: a watchdog that is not fed shows itself soon enough.
      if (!this.failing) this.deps.log.warn({ error: messageOf(error) }, 'systemd cannot be told');
      this.failing = true;
      this.shown = '';
    }
  }
}

/** Begins to talk to systemd where systemd started this process as a service of Type=notify; otherwise does nothing. */
export async function talkToServiceManager(
  foundation: Foundation,
  { checks, status }: Pick<ServiceTalkDeps, 'checks' | 'status'>,
): Promise<void> {
  const { NOTIFY_SOCKET: socket } = process.env;
  if (socket === undefined || socket === '') return;
  const { RealServiceManager } = await import('../host/systemd/real.ts');
  const { clock, log, closers } = foundation;
  const talk = new ServiceTalk(
    { watchdogMs: watchdogOf(process.env, process.pid) },
    {
      manager: new RealServiceManager({ socket }, { clock }),
      checks,
      status,
      clock,
      log: log.child({ part: 'systemd' }),
    },
  );
  runPart(foundation, 'systemd', (signal) => talk.run(signal));
  closers.add('word to systemd', () => talk.stopping());
}
