/** One thing that must be well. `check` answers what is wrong, or undefined; a throw counts as wrong, too. */
export interface HealthCheck {
  /** Lower case, as in /healthz/NAME. */
  readonly name: string;
  /** `live`: broken means that a restart may help. `ready`: broken means not to be counted on now. */
  readonly kind: 'live' | 'ready';
  check(): string | undefined | Promise<string | undefined>;
}

export interface CheckResult {
  readonly name: string;
  readonly problem: string | undefined;
}

/** Runs checks side by side; one that takes longer than `timeoutMs` has failed. In the order of `checks`. */
export async function runChecks(
  checks: readonly HealthCheck[],
  sleep: (ms: number, signal: AbortSignal) => Promise<void>,
  timeoutMs: number,
): Promise<CheckResult[]> {
  return await Promise.all(
    checks.map(async ({ name, check }) => {
      const stop = new AbortController();
      const late = sleep(timeoutMs, stop.signal).then(
        () => `no answer within ${timeoutMs} ms`,
        () => undefined,
      );
      try {
        return { name, problem: await Promise.race([Promise.resolve().then(check), late]) };
      } catch (error) {
        return { name, problem: error instanceof Error ? error.message : String(error) };
      } finally {
        stop.abort();
      }
    }),
  );
}

/** The answer's body: "ok" when all is well and nothing more was asked for, else a line for each check. */
export function checksText(endpoint: string, results: readonly CheckResult[], verbose: boolean): string {
  const failed = results.some(({ problem }) => problem !== undefined);
  if (!failed && !verbose) return 'ok';
  const lines = results.map(({ name, problem }) =>
    problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`,
  );
  return `${lines.join('\n')}\n${endpoint} check ${failed ? 'failed' : 'passed'}\n`;
}
