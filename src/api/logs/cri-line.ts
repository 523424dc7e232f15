/** A line of a container's log: `TIME stdout|stderr P|F text` (CRI logging format, kuberuntime logs.go). */
export interface CriLine {
  /** RFC 3339 with up to nine digits of a second, as it is written. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** The text; with its line break where the line ends here, without where the next line goes on with it. */
  readonly text: Buffer;
}

const SPACE = 0x20;
const NEWLINE = 0x0a;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** `line` with its line break, if it has one; the result's text is a view of it. undefined: it is no such line. */
export function parseCriLine(line: Buffer): CriLine | undefined {
  const first = line.indexOf(SPACE);
  const second = first < 0 ? -1 : line.indexOf(SPACE, first + 1);
  const third = second < 0 ? -1 : line.indexOf(SPACE, second + 1);
  if (third < 0) return undefined;
  const time = line.toString('latin1', 0, first);
  const stream = line.toString('latin1', first + 1, second);
  if (!TIME.test(time) || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
  // More tags may follow the first, parted by ":".
  const [tag] = line.toString('latin1', second + 1, third).split(':', 1);
  const end = tag === 'P' && line.at(-1) === NEWLINE ? line.length - 1 : line.length;
  return { time, stream, text: line.subarray(third + 1, end) };
}

/** The time in milliseconds since the epoch, with its fractions as exact as a double has them (some 200 ns). */
export function timeOf(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1];
  if (fraction === undefined) return Date.parse(time);
  return Date.parse(time.replace(`.${fraction}`, '')) + Number(`0.${fraction}`) * 1000;
}

/** The time with exactly nine digits, as kubelet writes it in front of a line (RFC3339NanoFixed). */
export function fixedTime(time: string): string {
  const at = time.search(/Z$|[+-]\d\d:\d\d$/);
  const [seconds = '', fraction = ''] = time.slice(0, at).split('.');
  return `${seconds}.${fraction.padEnd(9, '0')}${time.slice(at)}`;
}
