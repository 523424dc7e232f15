import { type ChildProcess, spawn } from 'node:child_process';
import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { OwnWriters } from './own-writers.ts';
import type { RuleWatch, Writer } from './port.ts';

export interface XtablesMonitorOptions {
  /** Put before the command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
}

export interface XtablesMonitorDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly own: OwnWriters;
}

/** Why it ends when thousands of rules are written or flushed at once; that is over soon, and to tell of it costs both sides. */
const overrun = /No buffer space/;
const OVERRUN_MS = 1_000;

/** What it says after each transaction, whoever's and of whatever family (iptables/nft-monitor.c). */
const generation = /^NEWGEN: GENID=\d+ PID=(\d+) NAME=(.*)$/gm;

/**
 * By a process of xtables-monitor (2 MiB), which comes with iptables. `nft monitor` would say the same, but begins by
 * reading all there is and keeps it: 50 MiB beside 40,000 elements.
 *
 * It ends when more happens than it can be told of; then it is started again.
 */
export class XtablesMonitor implements RuleWatch {
  private readonly prefix: readonly string[];
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly own: OwnWriters;
  private readonly listeners: Emitter<Writer | undefined>;
  private readonly delays = new RetryDelays({ baseMs: 1_000, maxMs: 300_000 });
  private child: ChildProcess | undefined;
  private retry: Timer | undefined;
  private received = '';
  private isHeard = false;
  private closed = false;

  constructor(options: XtablesMonitorOptions, { clock, log, own }: XtablesMonitorDeps) {
    this.prefix = options.prefix ?? [];
    this.clock = clock;
    this.log = log;
    this.own = own;
    this.listeners = new Emitter((error) => log.error({ error: messageOf(error) }, 'a listener of rules failed'));
    this.start();
  }

  /** Only what has been heard from this process proves that it listens; until then there is no harm in looking. */
  get hears(): boolean {
    return this.isHeard;
  }

  /** Of the process that is there now. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  subscribe(listener: (writer: Writer | undefined) => void): Unsubscribe {
    return this.listeners.subscribe(listener);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.isHeard = false;
    this.retry?.cancel();
    const { child } = this;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.kill('SIGKILL');
    await ended;
  }

  private start(): void {
    // It reads nothing, and so would outlive a daemon that is killed; and into a pipe it would speak only when 4 KiB have
    // come together.
    const argv = ['setpriv', '--pdeathsig', 'KILL', 'stdbuf', '-oL', 'xtables-monitor', '--event'];
    const [file = '', ...args] = [...this.prefix, ...argv];
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    this.received = '';
    let complaint = '';
    child.stdout.setEncoding('latin1');
    child.stdout.on('data', (text: string) => this.onOutput(text));
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(-500);
    });
    child.once('error', (error) => this.onEnd(child, messageOf(error)));
    child.once('close', (code) => {
      this.onEnd(child, `ended with exit status ${code ?? 'unknown (killed)'}: ${complaint}`);
    });
  }

  private onOutput(text: string): void {
    const all = this.received + text;
    const end = all.lastIndexOf('\n') + 1;
    // After a load of thousands of Services this is megabytes about chains and rules.
    this.received = all.slice(end);
    for (const [, pid, name = ''] of all.slice(0, end).matchAll(generation)) {
      this.isHeard = true;
      this.delays.reset();
      if (!this.own.has(Number(pid))) this.listeners.emit({ pid: Number(pid), name });
    }
  }

  private onEnd(child: ChildProcess, why: string): void {
    if (this.child !== child) return;
    this.child = undefined;
    // Whoever wrote so much, it may have been a flush.
    const isOverrun = overrun.test(why);
    const mayHaveMissed = this.isHeard || isOverrun;
    this.isHeard = false;
    if (this.closed) return;
    const againInMs = isOverrun ? OVERRUN_MS : this.delays.next();
    this.log.debug({ why, againInMs }, 'xtables-monitor has ended; until it is back, rules are looked at instead');
    this.retry = this.clock.after(againInMs, () => this.start());
    if (mayHaveMissed) this.listeners.emit(undefined);
  }
}
