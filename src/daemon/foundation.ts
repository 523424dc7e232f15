import type { Config } from '../config/config.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import type { Closers } from './closers.ts';

/** What every part of the daemon is built on. */
export interface Foundation {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** How much `log` writes from now on (--v). */
  readonly setVerbosity: (verbosity: number) => void;
  readonly metrics: Metrics;
  readonly closers: Closers;
  /** "0.1.0" */
  readonly version: string;
  /** Told when a part that must not end has ended by itself. */
  readonly failed: (what: string, error: unknown) => void;
}

/** The Kubernetes release whose behaviour is followed. */
export const KUBERNETES_VERSION = '1.36';

/** Runs a part until the daemon closes; its unexpected end fails the daemon. */
export function runPart(
  { closers, failed, log }: Foundation,
  what: string,
  run: (signal: AbortSignal) => Promise<unknown>,
): void {
  const stop = new AbortController();
  const done = run(stop.signal).then(
    () => {
      if (!stop.signal.aborted) log.debug({ what }, 'a part has ended');
    },
    (error: unknown) => {
      if (!stop.signal.aborted) failed(what, error);
      else log.debug({ what, error: messageOf(error) }, 'a part was cut off');
    },
  );
  closers.add(what, async () => {
    stop.abort();
    await done;
  });
}
