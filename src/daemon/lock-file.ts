import type { LockPort } from '../host/lock/port.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { type Foundation, runPart } from './foundation.ts';

/** How often it is looked whether another process waits. */
const CONTENTION_MS = 1000;

/** kubelet's --lock-file and --exit-on-lock-contention: waits until this process alone has the file. */
export async function holdLockFile(foundation: Foundation, signal: AbortSignal): Promise<void> {
  const { lockFile, exitOnLockContention } = foundation.config.host;
  if (lockFile === undefined) return;
  const { RealLocks } = await import('../host/lock/real.ts');
  const { clock, log, closers } = foundation;
  log.info({ lockFile }, 'waiting for the lock file');
  const lock = await new RealLocks().acquire(lockFile, signal);
  closers.add('lock file', () => lock.release());
  if (!exitOnLockContention) return;
  runPart(foundation, 'lock file', (stop) => endOnContention(lockFile, lock, { clock, log }, stop));
}

/** Fails as soon as another process waits for the lock, so that the daemon ends and gives it away. */
export async function endOnContention(
  lockFile: string,
  lock: Awaited<ReturnType<LockPort['acquire']>>,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
  stop: AbortSignal,
): Promise<void> {
  while (!(await lock.contended())) await clock.sleep(CONTENTION_MS, stop);
  log.info({ lockFile }, 'another process waits for the lock file');
  throw new CodedError('Aborted', `${lockFile} is wanted by another process, and exitOnLockContention is true`);
}
