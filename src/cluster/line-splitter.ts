import { CodedError } from '../kit/errors.ts';

const NEWLINE = 0x0a;

/**
 * Cuts a byte stream into lines. It looks for the newline among bytes, which no multi-byte UTF-8 character contains,
 * and decodes whole lines only, so that chunks may end anywhere.
 */
export class LineSplitter {
  private parts: Buffer[] = [];
  private length = 0;
  private readonly limit: number;

  /** `limit` is the longest line, in bytes; a longer one throws ResourceExhausted. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** The lines that `chunk` completes, without their newlines and without empty lines. */
  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.keep(chunk.subarray(start, end));
      start = end + 1;
      const line = this.take();
      if (line !== '') yield line;
    }
    this.keep(chunk.subarray(start));
  }

  /** What came after the last newline. */
  take(): string {
    const line = (this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts))?.toString('utf8') ?? '';
    this.parts = [];
    this.length = 0;
    return line;
  }

  private keep(part: Buffer): void {
    if (part.length === 0) return;
    this.length += part.length;
    if (this.length > this.limit) {
      throw new CodedError(
        'ResourceExhausted',
        `reading a stream: a line has more than ${this.limit} bytes, which is the limit`,
        { limit: this.limit },
      );
    }
    this.parts.push(part);
  }
}
