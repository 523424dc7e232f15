import type { Files } from '../../host/files/port.ts';

/** kubelet MaxContainerTerminationMessageLogLength and …LogLines. */
const MAX_BYTES = 2048;
const MAX_LINES = 80;
/** A CRI line carries its time, stream and tag before the text: enough raw bytes for MAX_BYTES of text. */
const RAW_BYTES = 4 * MAX_BYTES;

/** The end of a container's log: at most 80 lines and 2048 bytes of text; '' when there is none. */
export async function lastLogLines(files: Pick<Files, 'read'>, path: string): Promise<string> {
  // A symlink in its place was not put there by the runtime, and would show what another pod or the host says.
  const options = { maxBytes: RAW_BYTES, fromEnd: true, noFollow: true };
  const raw = await files.read(path, options).catch(() => Buffer.alloc(0));
  const lines = raw.toString('utf8').split('\n');
  if (raw.length === RAW_BYTES) lines.shift();
  if (lines.at(-1) === '') lines.pop();
  const text = Buffer.from(lines.slice(-MAX_LINES).map(textOf).join(''));
  return text.subarray(startOfCharacter(text, Math.max(0, text.length - MAX_BYTES))).toString('utf8');
}

/** The first character that begins at `from` or later: one that is cut in two is left out. */
function startOfCharacter(text: Buffer, from: number): number {
  let start = from;
  while (start < text.length && ((text[start] ?? 0) & 0xc0) === 0x80) start++;
  return start;
}

/** `TIME stdout|stderr P|F text`: P lines are pieces, F ends a line (CRI logging format). */
function textOf(line: string): string {
  const match = /^\S+ (?:stdout|stderr) ([PF])\S* (.*)$/s.exec(line);
  if (match === null) return '';
  return match[1] === 'F' ? `${match[2]}\n` : (match[2] ?? '');
}
