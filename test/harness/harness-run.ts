import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { destroyRun } from './cleanup.ts';
import { createNetns, inNetns } from './netns.ts';
import { endProcesses, identify, isAlive, type ProcessIdentity } from './process-identity.ts';
import { newRecord, pathsOf, type RunPaths, type RunRecord, writeRecord } from './run-record.ts';

export interface StartedProcess extends ProcessIdentity {
  readonly what: string;
  readonly logFile: string;
  /** Set when it has ended: its exit code, or 128 for a signal. */
  exitCode: number | undefined;
  readonly child: ChildProcess;
}

/**
 * One run of a node on this host: a name from which folders, network namespaces and cgroups are derived, and a record
 * on disk, so that `close`, or a later process, can undo all of it. Names begin with "deckhand-".
 */
export class HarnessRun {
  readonly name: string;
  readonly paths: RunPaths;
  private record: RunRecord;

  private constructor(name: string) {
    this.name = name;
    this.paths = pathsOf(name);
    this.record = newRecord(name);
  }

  /** Cleans up what a crashed run of that name left, then starts a new one. */
  static async open(name: string): Promise<HarnessRun> {
    await destroyRun(name);
    const run = new HarnessRun(name);
    writeRecord(run.record);
    mkdirSync(run.paths.libDir, { recursive: true, mode: 0o711 });
    return run;
  }

  /** Makes a network namespace of this run: "<name>" or "<name>.<part>". Returns its name. */
  async netns(part?: string): Promise<string> {
    const netns = part === undefined ? this.name : `${this.name}.${part}`;
    this.update({ netns: [...this.record.netns, netns] });
    if (!existsSync(`/run/netns/${netns}`)) await createNetns(netns);
    return netns;
  }

  /** Starts a program that outlives this call, its output in `<runDir>/<what>.log` (appended), and records it. */
  spawn(
    what: string,
    argv: readonly string[],
    options: { netns?: string; env?: NodeJS.ProcessEnv } = {},
  ): StartedProcess {
    const [file = '', ...args] = options.netns === undefined ? argv : inNetns(options.netns, argv);
    const logFile = `${this.paths.runDir}/${what}.log`;
    const log = openSync(logFile, 'a', 0o600);
    // A process group of its own: Ctrl-C at the terminal reaches the harness only, which then ends things in order.
    const child = spawn(file, args, { stdio: ['ignore', log, log], detached: true, env: options.env ?? process.env });
    closeSync(log);
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity === undefined) throw new Error(`cannot start ${what}: ${argv.join(' ')}`);
    const started: StartedProcess = { ...identity, what, logFile, exitCode: undefined, child };
    child.on('exit', (code) => {
      started.exitCode = code ?? 128;
    });
    child.unref();
    this.update({ processes: [...this.record.processes.filter(isAlive), { ...identity, what }] });
    return started;
  }

  /** Leaves everything up when this process ends; a later `destroyRun` ends it. */
  keep(): void {
    this.update({ kept: true });
  }

  /** SIGTERM, then SIGKILL after the grace. */
  async stop(started: ProcessIdentity, graceMs = 5_000): Promise<void> {
    await endProcesses([started], graceMs);
  }

  /** Undoes everything. */
  async close(): Promise<void> {
    await destroyRun(this.name);
  }

  private update(change: Partial<RunRecord>): void {
    this.record = { ...this.record, ...change };
    writeRecord(this.record);
  }
}
