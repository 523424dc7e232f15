import { type CriLine, fixedTime, timeOf } from './cri-line.ts';
import type { LogOptions } from './log-options.ts';

const NEWLINE = 0x0a;

/** Turns lines of a log into what was asked for of them: pure but for how much it has given already. */
export class LogWriter {
  private readonly options: Pick<LogOptions, 'timestamps' | 'limitBytes' | 'sinceMs' | 'stream'>;
  private remaining: number;
  private atLineStart = true;
  private parts: Buffer[] = [];

  constructor(options: Pick<LogOptions, 'timestamps' | 'limitBytes' | 'sinceMs' | 'stream'>) {
    this.options = options;
    this.remaining = options.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** All that may be given has been given. */
  get full(): boolean {
    return this.remaining <= 0;
  }

  /** What was added since the last call, in memory of its own. */
  take(): Buffer {
    const taken = Buffer.concat(this.parts);
    this.parts = [];
    return taken;
  }

  /** The line's text may be overwritten after the next `take`. */
  add(line: CriLine): void {
    const { timestamps, sinceMs, stream } = this.options;
    const startsHere = this.atLineStart;
    this.atLineStart = line.text.length === 0 || line.text.at(-1) === NEWLINE;
    if (sinceMs !== undefined && timeOf(line.time) < sinceMs) return;
    if (stream !== undefined && line.stream !== stream) return;
    if (timestamps && startsHere) this.give(Buffer.from(`${fixedTime(line.time)} `));
    this.give(line.text);
  }

  private give(bytes: Buffer): void {
    const part = bytes.length > this.remaining ? bytes.subarray(0, this.remaining) : bytes;
    if (part.length === 0) return;
    this.remaining -= part.length;
    this.parts.push(part);
  }
}
