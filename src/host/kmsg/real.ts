import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { KmsgPort } from './port.ts';

export interface RealKmsgOptions {
  /** Default /dev/kmsg. */
  readonly path?: string;
  /** Between two looks for new messages. Default 2,000 ms. */
  readonly everyMs?: number;
}

/** The longest record that the kernel makes (CONSOLE_EXT_LOG_MAX); a smaller buffer would be EINVAL. */
const RECORD_BYTES = 8192;

/**
 * /dev/kmsg gives one record for each read(2). libuv cannot wait for a character device, and a read that blocks would take
 * one of its few threads for good: so it is read without blocking now and then, until there is nothing new.
 */
export class RealKmsg implements KmsgPort {
  private readonly path: string;
  private readonly everyMs: number;
  private readonly clock: Pick<Clock, 'sleep'>;

  constructor(options: RealKmsgOptions, deps: { readonly clock: Pick<Clock, 'sleep'> }) {
    this.path = options.path ?? '/dev/kmsg';
    this.everyMs = options.everyMs ?? 2000;
    this.clock = deps.clock;
  }

  async *messages(signal: AbortSignal): AsyncIterable<string> {
    const handle = await this.open();
    const buffer = Buffer.allocUnsafe(RECORD_BYTES);
    try {
      while (!signal.aborted) {
        const length = await this.read(handle, buffer);
        if (length === undefined) await this.clock.sleep(this.everyMs, signal).catch(() => {});
        else {
          const message = messageOfRecord(buffer.toString('utf8', 0, length));
          if (message !== undefined) yield message;
        }
      }
    } finally {
      await handle.close();
    }
  }

  private async open(): Promise<FileHandle> {
    try {
      return await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const code = errnoOf(error) === 'ENOENT' ? 'NotFound' : 'Forbidden';
      throw new CodedError(code, `open ${this.path}: ${messageOf(error)}`, { path: this.path }, error);
    }
  }

  /** The length of the next record; undefined when there is none yet. */
  private async read(handle: FileHandle, buffer: Buffer): Promise<number | undefined> {
    for (;;) {
      try {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
        return bytesRead === 0 ? undefined : bytesRead;
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'EAGAIN') return undefined;
        // What was next has been overwritten: the following read goes on with what is left.
        if (errno === 'EPIPE') continue;
        throw new CodedError('Internal', `read ${this.path}: ${messageOf(error)}`, { path: this.path }, error);
      }
    }
  }
}

/** "6,339,5140900,-;the message\n SUBSYSTEM=…" (Documentation/ABI/testing/dev-kmsg); undefined for anything else. */
function messageOfRecord(record: string): string | undefined {
  const semicolon = record.indexOf(';');
  if (semicolon < 0) return undefined;
  const end = record.indexOf('\n', semicolon);
  return record.slice(semicolon + 1, end < 0 ? undefined : end);
}

function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
