import { CodedError } from '../../kit/errors.ts';

/** A line of many elements says no more in whole. */
const LINE_LENGTH = 500;

/** For the log: the lines of a transaction around the one that was refused (metadata `line`), or its head. */
export function excerpt(text: string, error: unknown): string {
  const line = error instanceof CodedError && typeof error.metadata['line'] === 'number' ? error.metadata['line'] : 20;
  const first = Math.max(line - 20, 0);
  return text
    .split('\n')
    .slice(first, line + 5)
    .map((one, index) => `${first + index + 1}: ${one.slice(0, LINE_LENGTH)}`)
    .join('\n');
}
