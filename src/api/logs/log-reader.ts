import type { LogFile, LogFiles } from '../../host/log-file/port.ts';
import type { WatchDirectory } from '../../host/watch/port.ts';
import type { Clock } from '../../kit/clock.ts';
import type { Unsubscribe } from '../../kit/emitter.ts';
import { hasCode } from '../../kit/errors.ts';
import { parseCriLine } from './cri-line.ts';
import type { LogOptions } from './log-options.ts';
import { LogWriter } from './log-writer.ts';
import { tailStart } from './tail-start.ts';
import { Wake } from './wake.ts';

export interface LogReaderDeps {
  readonly files: LogFiles;
  readonly watch: WatchDirectory;
  readonly clock: Clock;
}

/** The container whose log is read. */
export interface LoggedContainer {
  readonly path: string;
  /** False once it has ended and all of its output is in the log. */
  isRunning(): boolean;
  /** Told when the answer may have changed. */
  subscribe(listener: () => void): Unsubscribe;
}

/** Takes what it is given and resolves when it takes more. The first call, with nothing, says that the log is open. */
export type LogSink = (chunk: Buffer) => Promise<void>;

/** What is read at once. */
const BLOCK = 65_536;
/** A line that is longer is no line of a log. The runtime cuts them at 16 KiB. */
const LONGEST_LINE = 1_048_576;
/** A follower looks again after this time although nobody has told of a change (kubelet logForceCheckPeriod). */
const LOOK_MS = 1000;
/** How long nothing may have come into the old file, once the new one has lines: what the runtime held for it is out then. */
const SETTLE_MS = 500;
const LAST_LOOK_MS = 100;
const NEWLINE = 0x0a;

/**
 * Reads a container's log into a sink, and on while the container runs when that is asked for, over rotations. Throws what
 * the files throw, and the signal's reason.
 */
export async function readLog(
  container: LoggedContainer,
  options: LogOptions,
  sink: LogSink,
  deps: LogReaderDeps,
  signal: AbortSignal,
): Promise<void> {
  const reading = new Reading(container, options, sink, deps, signal);
  try {
    await reading.run();
  } finally {
    await reading.close();
  }
}

class Reading {
  private readonly container: LoggedContainer;
  private readonly options: LogOptions;
  private readonly sink: LogSink;
  private readonly deps: LogReaderDeps;
  private readonly signal: AbortSignal;
  private readonly writer: LogWriter;
  private readonly wake: Wake;
  private readonly closers: Unsubscribe[] = [];
  private readonly block = Buffer.allocUnsafe(BLOCK);
  /** The beginning of a line whose end has not been read. */
  private carry: Buffer = Buffer.alloc(0);
  private file: LogFile | undefined;
  /** What has the name now, while the file before is still written to. */
  private next: LogFile | undefined;
  private position = 0;
  private linesLeft: number;

  constructor(
    container: LoggedContainer,
    options: LogOptions,
    sink: LogSink,
    deps: LogReaderDeps,
    signal: AbortSignal,
  ) {
    this.container = container;
    this.options = options;
    this.sink = sink;
    this.deps = deps;
    this.signal = signal;
    this.writer = new LogWriter(options);
    this.wake = new Wake(deps.clock);
    // What comes after the lines that were there is not asked for.
    this.linesLeft = options.follow ? Number.POSITIVE_INFINITY : (options.tailLines ?? Number.POSITIVE_INFINITY);
  }

  async run(): Promise<void> {
    const { options, container, deps } = this;
    this.file = await deps.files.open(container.path);
    await this.sink(Buffer.alloc(0));
    if (options.tailLines !== undefined) this.position = await tailStart(this.file, options.tailLines);
    if (options.follow) this.follow();
    let lastLook = false;
    for (;;) {
      // Asked before the end is read: what it wrote up to its end is there then.
      const running = options.follow && container.isRunning();
      await this.readToEnd(this.file);
      if (this.isDone) return;
      const next = await this.successor(this.file);
      if (next === 'same, emptied') continue;
      if (this.isDone) {
        await next?.close();
        return;
      }
      if (next !== undefined) {
        this.flushCarry();
        await this.send();
        await this.file.close();
        this.file = next;
        this.position = 0;
        continue;
      }
      if (running) await this.wake.next(LOOK_MS, this.signal);
      else if (!options.follow || lastLook) break;
      else {
        // Its last lines may be in the runtime's hands still.
        lastLook = true;
        await deps.clock.sleep(LAST_LOOK_MS, this.signal);
      }
    }
    this.flushCarry();
    await this.send();
  }

  async close(): Promise<void> {
    for (const close of this.closers) close();
    await this.next?.close();
    await this.file?.close();
  }

  private get isDone(): boolean {
    return this.writer.full || this.linesLeft <= 0;
  }

  private follow(): void {
    const { path } = this.container;
    const at = path.lastIndexOf('/');
    const name = path.slice(at + 1);
    const watcher = this.deps.watch(
      path.slice(0, at),
      (changed) => {
        if (changed === undefined || changed === name) this.wake.call();
      },
      // The look every second goes on.
      () => {},
    );
    this.closers.push(
      () => watcher.close(),
      this.container.subscribe(() => this.wake.call()),
    );
  }

  /** The file that has the name now, once nothing more comes into the one before. */
  private async successor(file: LogFile): Promise<LogFile | 'same, emptied' | undefined> {
    if (!this.options.follow) return undefined;
    const { files, clock } = this.deps;
    const inode = await files.inode(this.container.path);
    if (inode === undefined) return undefined;
    if (inode === file.inode) {
      // Copied away and emptied: it begins anew.
      if ((await file.size()) >= this.position) return undefined;
      this.flushCarry();
      this.position = 0;
      return 'same, emptied';
    }
    if (this.next?.inode !== inode) {
      await this.next?.close();
      this.next = undefined;
      try {
        this.next = await files.open(this.container.path);
      } catch (error) {
        if (hasCode(error, 'NotFound')) return undefined;
        throw error;
      }
    }
    // The runtime makes the new file first and turns to it later: until then all goes into the old one.
    if ((await this.next.size()) === 0) return undefined;
    for (let before = -1; before !== this.position; ) {
      before = this.position;
      await clock.sleep(SETTLE_MS, this.signal);
      await this.readToEnd(file);
    }
    const { next } = this;
    this.next = undefined;
    return next;
  }

  private async readToEnd(file: LogFile): Promise<void> {
    for (;;) {
      this.signal.throwIfAborted();
      const length = await file.read(this.block, this.position);
      if (length === 0) return;
      this.position += length;
      this.split(this.block.subarray(0, length));
      await this.send();
      if (this.isDone) return;
    }
  }

  private split(bytes: Buffer): void {
    let from = 0;
    while (!this.isDone) {
      const end = bytes.indexOf(NEWLINE, from);
      if (end < 0) break;
      const piece = bytes.subarray(from, end + 1);
      this.line(this.carry.length === 0 ? piece : Buffer.concat([this.carry, piece]));
      this.carry = Buffer.alloc(0);
      from = end + 1;
    }
    const rest = bytes.subarray(from);
    // The block is read into again.
    if (rest.length > 0) this.carry = Buffer.concat([this.carry, rest]);
    if (this.carry.length > LONGEST_LINE) this.carry = Buffer.alloc(0);
  }

  /** A line without an end, at the end of a file. */
  private flushCarry(): void {
    if (this.carry.length > 0 && !this.isDone) this.line(this.carry);
    this.carry = Buffer.alloc(0);
  }

  private line(bytes: Buffer): void {
    const line = parseCriLine(bytes);
    // Nobody can say what it is; kubelet leaves it out, too.
    if (line === undefined) return;
    this.writer.add(line);
    this.linesLeft--;
  }

  private async send(): Promise<void> {
    const chunk = this.writer.take();
    if (chunk.length > 0) await this.sink(chunk);
  }
}
