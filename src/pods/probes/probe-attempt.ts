import type { CriRuntime } from '../../host/cri/port.ts';
import { MAX_OUTPUT_BYTES, type ProbePort, type ProbeReply } from '../../host/probe/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import type { ProbeAction } from './probe-action.ts';

export interface ProbeAttemptDeps {
  readonly probes: ProbePort;
  readonly runtime: Pick<CriRuntime, 'execSync'>;
  readonly clock: Clock;
}

// Over and above the probe's own timeout, for a runtime that does not keep it.
const EXEC_GRACE_MS = 2000;

/** Makes one attempt. Throws CodedError when it could not be made; `closing` breaks off an exec. */
export function attemptProbe(
  action: ProbeAction,
  containerId: string,
  timeoutSeconds: number,
  deps: ProbeAttemptDeps,
  closing: AbortSignal,
): Promise<ProbeReply> {
  const timeoutMs = timeoutSeconds * 1000;
  switch (action.type) {
    case 'httpGet':
      return deps.probes.httpGet({ ...action, timeoutMs });
    case 'tcpSocket':
      return deps.probes.tcpSocket({ host: action.host, port: action.port, timeoutMs });
    case 'grpc':
      return deps.probes.grpc({ host: action.host, port: action.port, service: action.service, timeoutMs });
    case 'exec':
      return execProbe(action.command, containerId, timeoutSeconds, deps, closing);
    case 'impossible':
      return Promise.reject(new CodedError('InvalidArgument', action.reason));
  }
}

async function execProbe(
  command: readonly string[],
  containerId: string,
  timeoutSeconds: number,
  { runtime, clock }: ProbeAttemptDeps,
  closing: AbortSignal,
): Promise<ProbeReply> {
  const timedOut: ProbeReply = {
    verdict: 'failure',
    output: `command timed out: "${command.join(' ')}" timed out after ${timeoutSeconds}s`.slice(0, MAX_OUTPUT_BYTES),
  };
  const guard = new AbortController();
  const onClose = (): void => guard.abort(new CodedError('Aborted', 'probes are being stopped'));
  closing.addEventListener('abort', onClose, { once: true });
  let overdue = false;
  const timer = clock.after(timeoutSeconds * 1000 + EXEC_GRACE_MS, () => {
    overdue = true;
    guard.abort(new CodedError('DeadlineExceeded', timedOut.output));
  });
  try {
    const result = await Promise.race([
      runtime.execSync(containerId, command, timeoutSeconds, guard.signal),
      new Promise<never>((_, reject) => {
        guard.signal.addEventListener('abort', () => reject(guard.signal.reason), { once: true });
      }),
    ]);
    if (result.exitCode === 0) return { verdict: 'success', output: '' };
    return { verdict: 'failure', output: outputOf(result.stdout, result.stderr) };
  } catch (error) {
    if (overdue || hasCode(error, 'DeadlineExceeded')) return timedOut;
    throw error;
  } finally {
    timer.cancel();
    closing.removeEventListener('abort', onClose);
  }
}

/** Both streams one after the other, at most 10 KiB, never half a character. */
export function outputOf(stdout: Buffer, stderr: Buffer): string {
  const first = stdout.subarray(0, MAX_OUTPUT_BYTES);
  const both = Buffer.concat([first, stderr.subarray(0, MAX_OUTPUT_BYTES - first.length)]);
  return both.toString('utf8').replace(/\uFFFD$/, '');
}
