import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Clock, Timer } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { withoutHistory } from './port.ts';

export interface NftSessionOptions {
  /** Put before the command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
  /** A line that takes longer than this is given up, and the process with it. Default 10 s. */
  readonly deadlineMs?: number;
  /** After so many lines the process is replaced, for it keeps each of them. Default 2,000. */
  readonly linesPerProcess?: number;
  /** A process that nobody has asked anything for so long is ended. Default 5 min. */
  readonly idleMs?: number;
  /** Told of each process that writes. */
  readonly started?: (pid: number) => void;
}

interface Waiting {
  readonly line: string;
  readonly resolve: (output: string) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One nft process that stays: starting nft is most of what a small transaction costs (16 ms of 17). Lines go in by
 * `nft -i`, each a transaction of its own, and what nft says to a line comes back. One process serves both families.
 *
 * nft has no word for "done", so each line is followed by one that it cannot read, and its complaint about that tells
 * where the answer ends. Both streams come through one pipe, for what arrives on two has no order.
 */
export class NftSession {
  private readonly options: Required<Omit<NftSessionOptions, 'started'>>;
  private readonly started: ((pid: number) => void) | undefined;
  private readonly clock: Clock;
  private child: ChildProcessWithoutNullStreams | undefined;
  private readonly queue: Waiting[] = [];
  private current: Waiting | undefined;
  private received = '';
  private lines = 0;
  private deadline: Timer | undefined;
  private idle: Timer | undefined;
  private closed = false;

  constructor(options: NftSessionOptions, deps: { readonly clock: Clock }) {
    this.options = { prefix: [], deadlineMs: 10_000, linesPerProcess: 2_000, idleMs: 300_000, ...options };
    this.clock = deps.clock;
    this.started = options.started;
  }

  /**
   * What nft says to one line (commands apart by ";"), nothing when it did as it was told. Unavailable when the process
   * cannot be had or ended meanwhile: then the line was carried out, or not.
   */
  ask(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new CodedError('Unavailable', 'nft: the session is closed'));
        return;
      }
      this.queue.push({ line, resolve, reject });
      this.next();
    });
  }

  /** Of the process that is there now. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  async close(): Promise<void> {
    this.closed = true;
    const { child } = this;
    this.fail('the session is closed');
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      await new Promise<void>((resolve) => child.once('close', () => resolve()));
    }
  }

  private next(): void {
    if (this.current !== undefined) return;
    const waiting = this.queue.shift();
    if (waiting === undefined) {
      this.idle ??= this.clock.after(this.options.idleMs, () => this.retire());
      return;
    }
    this.idle?.cancel();
    this.idle = undefined;
    this.current = waiting;
    if (this.lines >= this.options.linesPerProcess) this.retire();
    const child = this.child ?? this.start();
    const number = ++this.lines;
    this.received = '';
    this.deadline = this.clock.after(this.options.deadlineMs, () => {
      this.fail(`no answer within ${this.options.deadlineMs} ms`);
    });
    child.stdin.write(`${waiting.line}\n${markOf(number)}\n`);
  }

  private start(): ChildProcessWithoutNullStreams {
    const argv = [...this.options.prefix, 'nft', '-n', '-i'];
    // A shell that makes one stream of two and becomes nft.
    const child = spawn('sh', ['-c', 'exec "$@" 2>&1', 'sh', ...argv], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...withoutHistory },
    });
    if (child.pid !== undefined) this.started?.(child.pid);
    this.child = child;
    this.lines = 0;
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      if (this.child === child) this.onOutput(text);
    });
    child.stderr.resume();
    // The process may be gone when something is written to it; its end says so.
    child.stdin.on('error', () => {});
    child.once('error', (error) => {
      if (this.child === child) this.fail(messageOf(error));
    });
    child.once('close', (code) => {
      if (this.child === child)
        this.fail(`ended with exit status ${code ?? 'unknown (killed)'}: ${this.received.slice(0, 500)}`);
    });
    return child;
  }

  private onOutput(text: string): void {
    this.received += text;
    const mark = markOf(this.lines);
    const at = this.received.lastIndexOf(`${mark}\n`);
    // After the line itself nft points at the place: "^".
    if (at < 0 || !this.received.includes('\n', at + mark.length + 1)) return;
    const complaint = this.received.lastIndexOf('Error: ', at);
    const output = this.received.slice(0, complaint < 0 ? at : complaint);
    this.received = '';
    this.deadline?.cancel();
    const { current } = this;
    this.current = undefined;
    current?.resolve(output);
    this.next();
  }

  /** Ends the process without harm: it has nothing to do. */
  private retire(): void {
    this.idle?.cancel();
    this.idle = undefined;
    const { child } = this;
    this.child = undefined;
    this.lines = 0;
    child?.stdin.end();
  }

  private fail(why: string): void {
    const { child, current } = this;
    this.child = undefined;
    this.deadline?.cancel();
    this.idle?.cancel();
    this.idle = undefined;
    child?.kill('SIGKILL');
    this.current = undefined;
    const error = new CodedError('Unavailable', `nft -i: ${why}`);
    current?.reject(error);
    if (this.closed) for (const waiting of this.queue.splice(0)) waiting.reject(error);
    else if (this.queue.length > 0) this.next();
  }
}

function markOf(number: number): string {
  return `}${number}`;
}
