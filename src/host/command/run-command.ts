import { type ChildProcess, execFile } from 'node:child_process';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly deadlineMs: number;
  readonly clock: Clock;
  /** In addition to PATH and LC_ALL, which is all that a program is given otherwise. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Called when the process has really ended, which may be long after the deadline (state D cannot be killed). */
  readonly onExit?: () => void;
}

/**
 * Runs a program with arguments, never a shell, and answers however it exits. Past the deadline it is killed and left
 * alone: the call throws DeadlineExceeded at once, for a process in uninterruptible sleep does not go. Unavailable when
 * the program cannot be started.
 */
export function runCommand(file: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const timer = options.clock.after(options.deadlineMs, () => {
      child.kill('SIGKILL');
      abandon(child);
      reject(
        new CodedError('DeadlineExceeded', `${file} ${args.join(' ')}: no answer within ${options.deadlineMs} ms`, {
          command: file,
          deadlineMs: options.deadlineMs,
        }),
      );
    });
    const child = execFile(
      file,
      args,
      {
        env: {
          PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
          LC_ALL: 'C',
          ...options.environment,
        },
        maxBuffer: 1 << 20,
      },
      (error, stdout, stderr) => {
        timer.cancel();
        if (error !== null && typeof error.code === 'string') {
          reject(
            new CodedError('Unavailable', `${file} cannot be run: ${error.message}`, {
              command: file,
              cause: error.code,
            }),
          );
          return;
        }
        resolve({ exitCode: error === null ? 0 : Number(error.code ?? 255), stdout, stderr });
      },
    );
    child.once('exit', () => options.onExit?.());
    child.once('error', () => options.onExit?.());
  });
}

// Nothing of a child that does not die may keep this process or its pipes alive.
function abandon(child: ChildProcess): void {
  child.stdin?.destroy();
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
}
