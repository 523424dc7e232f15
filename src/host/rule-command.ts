import { spawn } from 'node:child_process';
import { CodedError, messageOf } from '../kit/errors.ts';

/** How a command ended, and what it said. */
export interface Outcome {
  /** null: a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RuleCommandOptions {
  readonly input?: string | undefined;
  /** The Debian package that has the command. */
  readonly installed: string;
  readonly signal?: AbortSignal | undefined;
  /** Beside what this process has. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Told of its process before that does anything. */
  readonly started?: ((pid: number) => void) | undefined;
}

/**
 * Runs a command that reads or writes packet rules, and answers however it ends. Throws CodedError: CommandFailed when
 * the command is not installed, Unavailable when it cannot be started.
 */
export function runRuleCommand(argv: readonly string[], options: RuleCommandOptions): Promise<Outcome> {
  const [file = '', ...args] = argv;
  const { input, installed, signal, started, env } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      signal,
      env: env && { ...process.env, ...env },
    });
    if (child.pid !== undefined) started?.(child.pid);
    child.stdout.setEncoding('utf8');
    child.stderr.setEncoding('utf8');
    const stdout: string[] = [];
    const stderr: string[] = [];
    child.stdout.on('data', (chunk: string) => stdout.push(chunk));
    child.stderr.on('data', (chunk: string) => stderr.push(chunk));
    child.once('error', (error) => {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      const text = missing ? `the command is not installed (package ${installed})` : messageOf(error);
      reject(new CodedError(missing ? 'CommandFailed' : 'Unavailable', `start ${file}: ${text}`, { command: file }));
    });
    child.once('close', (exitCode) => resolve({ exitCode, stdout: stdout.join(''), stderr: stderr.join('') }));
    // The command may end before it has read everything (a wrong line): its exit status says why.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}
