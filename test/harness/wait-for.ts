export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  /** Looked at before each try; the error it returns ends the wait (the process under test died). */
  readonly giveUp?: () => Error | undefined;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Tries until `check` returns something other than undefined and false, and returns that. A check that throws counts as
 * "not yet"; when the time is over its last error is part of the message.
 */
export async function waitFor<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions = {},
): Promise<T> {
  const { timeoutMs = 30_000, intervalMs = 50 } = options;
  const started = performance.now();
  let last: unknown;
  for (;;) {
    const dead = options.giveUp?.();
    if (dead !== undefined) throw new Error(`waiting for ${what}: ${dead.message}`);
    try {
      const result = await check();
      if (result !== undefined && result !== false) return result;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() - started > timeoutMs) {
      const why =
        last === undefined ? '' : `; the last try failed with: ${last instanceof Error ? last.message : last}`;
      throw new Error(`waited ${timeoutMs} ms for ${what}, in vain${why}`);
    }
    await pause(intervalMs);
  }
}
