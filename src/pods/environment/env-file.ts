import { CodedError } from '../../kit/errors.ts';

/** bufio.Scanner's longest line, which is what kubelet reads by. */
const LINE_BYTES = 64 * 1024;

/**
 * The value of one key in an environment file, the first of its name; "" when it is not there, or empty (kubelet
 * util/env ParseEnv, KEP-3721): lines of KEY='value', where a value may go over several lines and stands for itself, with
 * comments and blank lines in between. What stands behind the key is not looked at. Throws InvalidObject with the line.
 */
export function envFileValue(text: string, key: string): string {
  const lines = linesOf(text);
  for (let number = 1; number <= lines.length; number++) {
    const line = trimLeft(lineAt(lines, number));
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    if (equals === -1) throw wrong(number, "missing '='");
    const name = line.slice(0, equals);
    if (trimRight(name) === '') throw wrong(number, 'empty variable name');
    if (trimRight(name) !== name) throw wrong(number, "whitespace before '=' is not allowed");
    const quoted = line.slice(equals + 1);
    if (quoted !== trimLeft(quoted)) {
      // As in a shell, KEY= 'value' says that KEY is empty.
      if (name === key) return '';
      continue;
    }
    if (!quoted.startsWith("'")) throw wrong(number, 'value must be enclosed in single quotes');
    const first = number;
    let value = '';
    let rest = quoted.slice(1);
    let end = rest.indexOf("'");
    while (end === -1) {
      value += `${rest}\n`;
      if (++number > lines.length) {
        throw invalid(`invalid environment variable format starting at line ${first}: unclosed single quote`);
      }
      rest = lineAt(lines, number);
      end = rest.indexOf("'");
    }
    value += rest.slice(0, end);
    const after = trimLeft(rest.slice(end + 1));
    if (after !== '' && !after.startsWith('#')) throw wrong(number, 'unexpected content after closing quote');
    if (name === key) return value;
  }
  return '';
}

/** Without the one that a last line feed would begin; a carriage return before a line feed belongs to it. */
function linesOf(text: string): string[] {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function lineAt(lines: readonly string[], number: number): string {
  const line = lines[number - 1] ?? '';
  if (Buffer.byteLength(line) < LINE_BYTES) return line;
  throw invalid(`line ${number} is too long; expected less than ${LINE_BYTES} bytes`);
}

function trimLeft(text: string): string {
  return text.replace(/^[ \t]+/, '');
}

function trimRight(text: string): string {
  return text.replace(/[ \t]+$/, '');
}

function wrong(line: number, what: string): CodedError {
  return invalid(`invalid environment variable format at line ${line}: ${what}`);
}

function invalid(message: string): CodedError {
  return new CodedError('InvalidObject', message, {});
}
