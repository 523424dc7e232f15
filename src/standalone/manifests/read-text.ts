import { open } from 'node:fs/promises';
import { CodedError, messageOf } from '../../kit/errors.ts';

/** As much as an API server takes in one request. */
export const MAX_FILE_BYTES = 3 * 1024 * 1024;

/** The text of a manifest file. Throws InvalidObject when it is too large, no file or not UTF-8, Unavailable otherwise. */
export async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path);
  if (bytes.length > MAX_FILE_BYTES) {
    throw new CodedError('InvalidObject', `is larger than ${MAX_FILE_BYTES} bytes, the most that is read`);
  }
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new CodedError('InvalidObject', 'is UTF-16 text, UTF-8 is expected');
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new CodedError('InvalidObject', `is not UTF-8 text (first bad byte in line ${badLineOf(bytes)})`);
  }
}

async function readBytes(path: string): Promise<Buffer> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw new CodedError('Unavailable', `cannot be opened: ${messageOf(error)}`, {}, error);
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new CodedError('InvalidObject', 'is no regular file');
    // One byte more than allowed tells a file that is too large, even one that grows meanwhile.
    const buffer = Buffer.alloc(Math.min(stats.size, MAX_FILE_BYTES) + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
      if (length < buffer.length) continue;
      return stats.size >= MAX_FILE_BYTES ? buffer : Buffer.concat([buffer.subarray(0, length)]);
    }
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError('Unavailable', `cannot be read: ${messageOf(error)}`, {}, error);
  } finally {
    await handle.close();
  }
}

function badLineOf(bytes: Buffer): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return line;
    }
    if (end < 0) return line;
    line++;
    start = end + 1;
  }
}
