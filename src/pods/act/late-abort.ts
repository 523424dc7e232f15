import type { Clock } from '../../kit/clock.ts';

export interface LateAbort {
  readonly signal: AbortSignal;
  /** To be called when what the signal was for has ended. */
  release(): void;
}

/** A signal that aborts `graceMs` after `signal` does: for work that is better seen through than cut off. */
export function lateAbort(signal: AbortSignal, graceMs: number, clock: Pick<Clock, 'after'>): LateAbort {
  const late = new AbortController();
  let timer: { cancel(): void } | undefined;
  const begin = (): void => {
    timer = clock.after(graceMs, () => late.abort(signal.reason));
  };
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return {
    signal: late.signal,
    release: () => {
      signal.removeEventListener('abort', begin);
      timer?.cancel();
    },
  };
}
