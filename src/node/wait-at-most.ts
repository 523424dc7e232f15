import type { Clock } from '../kit/clock.ts';

/** Resolves when `work` has ended, well or not, after `ms`, or when `signal` aborts; `work` itself goes on. */
export async function waitAtMost(
  work: Promise<unknown>,
  ms: number,
  clock: Clock,
  signal?: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const stop = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const settled = work.then(
    () => {},
    () => {},
  );
  await Promise.race([settled, clock.sleep(ms, stop).catch(() => {})]);
  over.abort();
}
