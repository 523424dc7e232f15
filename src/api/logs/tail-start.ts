import type { LogFile } from '../../host/log-file/port.ts';

const BLOCK = 65_536;
const NEWLINE = 0x0a;

/** Where the last `lines` lines of a file begin; 0 when it has no more than these. */
export async function tailStart(file: Pick<LogFile, 'size' | 'read'>, lines: number): Promise<number> {
  const size = await file.size();
  if (lines === 0) return size;
  const block = Buffer.alloc(Math.min(BLOCK, size));
  // The line break that ends the line before the first one wanted; the file's last one ends a wanted line.
  let toPass = lines;
  for (let right = size; right > 0; ) {
    const left = Math.max(0, right - block.length);
    const length = await file.read(block.subarray(0, right - left), left);
    for (let at = block.subarray(0, length).lastIndexOf(NEWLINE); at >= 0; ) {
      if (toPass === 0) return left + at + 1;
      toPass--;
      at = at === 0 ? -1 : block.subarray(0, at).lastIndexOf(NEWLINE);
    }
    right = left;
  }
  return 0;
}
