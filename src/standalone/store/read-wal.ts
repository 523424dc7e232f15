import { CodedError } from '../../kit/errors.ts';
import type { StorageFile } from './storage.ts';
import { type DecodedLine, decodeLine, type WalRecord } from './wal-record.ts';

/** The first line of the file; a later format gets another number. */
export const WAL_HEADER = '{"deckhand":"store","format":1}\n';

export interface WalContents {
  /** Where the next record goes: the end of the last good record. */
  readonly end: number;
  /** Bytes after `end` that a crash left behind. */
  readonly tornBytes: number;
  readonly records: number;
}

const CHUNK = 256 * 1024;
const NEWLINE = 0x0a;

/** A write-ahead file with damage that no crash explains. */
export class CorruptWal extends CodedError {
  readonly offset: number;

  constructor(path: string, offset: number, why: string) {
    super('InvalidObject', `read ${path}: the record at byte ${offset} is damaged ${why}`, { path, offset });
    this.offset = offset;
  }
}

/**
 * Hands every record to `apply`, in order, a chunk at a time so that the event loop stays free.
 *
 * A damaged record is a torn tail (allowed: it was never acknowledged as durable) when no later good record knew the
 * file to be durable beyond it; with group commit, blocks of one unsynced batch may reach the disk in any order.
 * Otherwise durable data is damaged: throws CorruptWal.
 */
export async function readWal(
  path: string,
  file: StorageFile,
  apply: (record: WalRecord, bytes: number) => void,
): Promise<WalContents> {
  const size = (await file.stat()).size;
  let end = 0;
  let records = 0;
  let damaged: number | undefined;
  for await (const line of lines(file)) {
    if (line.offset === 0) {
      if (line.complete && `${line.bytes.toString('utf8')}\n` === WAL_HEADER) {
        end = line.bytes.length + 1;
        continue;
      }
      if (line.complete || !WAL_HEADER.startsWith(line.bytes.toString('utf8'))) {
        throw new CorruptWal(path, 0, '(it is not the header of a deckhand store of format 1)');
      }
    }
    const decoded: DecodedLine | undefined = line.complete ? decodeLine(line.bytes) : undefined;
    if (decoded === undefined) {
      damaged ??= line.offset;
    } else if (damaged === undefined) {
      apply(decoded.record, line.bytes.length + 1);
      records++;
      end = line.offset + line.bytes.length + 1;
    } else if (decoded.durable > damaged) {
      throw new CorruptWal(path, damaged, `although records after it (at byte ${line.offset}) are whole`);
    }
  }
  return { end, tornBytes: size - end, records };
}

interface Line {
  readonly offset: number;
  /** Without the newline. Valid until the next line is asked for. */
  readonly bytes: Buffer;
  readonly complete: boolean;
}

async function* lines(file: StorageFile): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0);
  let offset = 0;
  let position = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    const data = rest.length === 0 ? chunk.subarray(0, bytesRead) : Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    let start = 0;
    for (;;) {
      const newline = data.indexOf(NEWLINE, start);
      if (newline < 0) break;
      yield { offset, bytes: data.subarray(start, newline), complete: true };
      offset += newline + 1 - start;
      start = newline + 1;
    }
    rest = data.subarray(start);
  }
  if (rest.length > 0) yield { offset, bytes: rest, complete: false };
}
