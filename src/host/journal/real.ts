import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { JournalPort, JournalQuery } from './port.ts';

const STDERR_BYTES = 4096;

/** The journal by way of journalctl(1), as kubelet reads it. */
export class RealJournal implements JournalPort {
  private readonly command: readonly string[];

  /** `command`: what journalctl is called with; its arguments follow. */
  constructor(options: { readonly command?: readonly string[] } = {}) {
    this.command = options.command ?? ['journalctl'];
  }

  async known(services: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    const journalctl = this.start(['--field', '_SYSTEMD_UNIT'], signal);
    try {
      // There may be thousands of units; those that were asked for are few.
      for await (const line of createInterface({ input: journalctl.stdout })) {
        for (const service of services) if (line === service || line === `${service}.service`) found.add(service);
      }
      await journalctl.ended;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof CodedError) return new Set();
      throw error;
    } finally {
      journalctl.stop();
    }
    return found;
  }

  async read(query: JournalQuery, sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void> {
    const journalctl = this.start(argumentsOf(query), signal);
    try {
      for await (const chunk of journalctl.stdout) await sink(chunk as Buffer);
      const said = await journalctl.ended;
      if (said.length > 0) await sink(said);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      journalctl.stop();
    }
  }

  /** `ended` resolves with what was written to standard error, however it ended. */
  private start(args: readonly string[], signal: AbortSignal) {
    const [file = '', ...first] = this.command;
    const child = spawn(file, [...first, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGKILL',
    });
    let stderr = Buffer.alloc(0);
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(0, STDERR_BYTES);
    });
    const ended = new Promise<Buffer>((resolve, reject) => {
      child.once('close', () => resolve(stderr));
      child.once('error', (error) => {
        reject(new CodedError('Unavailable', `run ${file}: ${messageOf(error)}`, { command: file }, error));
      });
    });
    // Whoever reads the output first hears of it there.
    ended.catch(() => {});
    return { stdout: child.stdout, ended, stop: () => stop(child) };
  }
}

function stop(child: ChildProcess): void {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  child.stdout?.destroy();
}

/** kubelet_server_journal_linux.go getLoggingCmd; times go in seconds since the epoch, which no time zone changes. */
function argumentsOf({ services, sinceMs, untilMs, lines, pattern, boot }: JournalQuery): string[] {
  return [
    '--utc',
    '--no-pager',
    '--output=short-precise',
    ...(sinceMs === undefined ? [] : [`--since=@${sinceMs / 1000}`]),
    ...(untilMs === undefined ? [] : [`--until=@${untilMs / 1000}`]),
    ...(lines === undefined ? [] : ['--pager-end', `--lines=${lines}`]),
    ...services.map((service) => `--unit=${service}`),
    ...(pattern === undefined ? [] : [`--grep=${pattern}`, '--case-sensitive=false']),
    ...(boot === undefined ? [] : ['--boot', String(boot)]),
  ];
}
