import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import type { ProgramRequest, ProgramResult, Programs } from './port.ts';

const STDERR_BYTES = 4096;
/** What signals are called where kubelet writes of a plugin's end. */
const SIGNALS: Readonly<Record<string, string>> = {
  SIGKILL: 'killed',
  SIGTERM: 'terminated',
  SIGSEGV: 'segmentation fault',
  SIGABRT: 'aborted',
  SIGINT: 'interrupt',
};

/** Programs as processes; see Programs. */
export class RealPrograms implements Programs {
  private readonly clock: Clock;

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
  }

  async check(path: string): Promise<void> {
    try {
      if (!(await stat(path)).isFile()) throw new CodedError('Forbidden', `${path} is not a file`, { path });
      await access(path, constants.X_OK);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      const absent = (error as NodeJS.ErrnoException).code === 'ENOENT';
      throw new CodedError(
        absent ? 'NotFound' : 'Forbidden',
        absent ? `${path} did not exist` : `${path} is not executable`,
        { path },
        error,
      );
    }
  }

  run(request: ProgramRequest): Promise<ProgramResult> {
    const { path, args, environment, input, deadlineMs, maxOutputBytes } = request;
    return new Promise((resolve, reject) => {
      // A group of its own: a shell script's children end with it.
      const child = spawn(path, args, { env: { ...process.env, ...environment }, stdio: 'pipe', detached: true });
      const stdout: Buffer[] = [];
      let size = 0;
      let stderr = Buffer.alloc(0);
      const giveUp = (error: CodedError): void => {
        timer.cancel();
        killGroup(child);
        reject(error);
      };
      const timer = this.clock.after(deadlineMs, () => {
        giveUp(new CodedError('DeadlineExceeded', `${path}: no answer within ${deadlineMs} ms`, { path, deadlineMs }));
      });
      child.stdout.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= maxOutputBytes) stdout.push(chunk);
        else giveUp(new CodedError('ResourceExhausted', `${path} wrote more than ${maxOutputBytes} bytes`, { path }));
      });
      child.stderr.on('data', (chunk: Buffer) => {
        stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_BYTES);
      });
      // A program that does not read its input is its own affair.
      child.stdin.on('error', () => {});
      child.stdin.end(input);
      child.on('error', (error) => {
        giveUp(new CodedError('Unavailable', `${path} cannot be run: ${error.message}`, { path }, error));
      });
      child.on('close', (code, signal) => {
        timer.cancel();
        const failure =
          signal !== null ? `signal: ${SIGNALS[signal] ?? signal}` : code === 0 ? undefined : `exit status ${code}`;
        resolve({ failure, stdout: Buffer.concat(stdout).toString('utf8'), stderr: stderr.toString('utf8') });
      });
    });
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
  child.unref();
}
