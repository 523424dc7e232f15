import pino from 'pino';
import { isJournal, priorityPrefix } from './journal-stream.ts';
import type { Logger } from './log.ts';

export interface LoggerOptions {
  /** kubelet's --v: 0 and 1 warnings, 2 and 3 changes of state (info), 4 and 5 decisions (debug), from 6 on the wire (trace). */
  readonly verbosity: number;
  readonly format: 'json' | 'text';
  /** Where lines go. Default: standard error, buffered for half a second at most. */
  readonly destination?: { write(line: string): unknown };
  /** Lines bear the priority that the journal is to know them by. Default: when standard error leads to the journal. */
  readonly journal?: boolean;
}

export interface RunningLogger {
  readonly logger: Logger;
  /** From now on, for children that were made before as well. */
  setVerbosity(verbosity: number): void;
  /** Writes out what is buffered, now. Also happens by itself when the process ends, by a crash, too. */
  flush(): void;
}

/** Values of fields of these names are never logged, however deep they are (lower case, without - and _). */
const SECRET_NAMES: ReadonlySet<string> = new Set([
  'token',
  'authorization',
  'password',
  'data',
  'stringdata',
  'clientkeydata',
  'identitytoken',
  'registrytoken',
  'auth',
]);
const REDACTED = '[redacted]';
/** Deeper than any fact of a log line should be; what is below is cut. */
const MOST_DEPTH = 6;

/** One line a fact, as JSON or as text for people. */
export function createLogger(options: LoggerOptions): RunningLogger {
  const buffered =
    options.destination === undefined
      ? pino.destination({ dest: 2, sync: false, minLength: 4096, periodicFlush: 500 })
      : undefined;
  const lines = options.destination ?? buffered ?? process.stderr;
  const journal = options.journal ?? (buffered !== undefined && isJournal(process.env['JOURNAL_STREAM'], 2));
  const formed = (line: string): string => (options.format === 'text' ? textLine(line) : line);
  const plain = options.format === 'text' ? { write: (line: string) => lines.write(formed(line)) } : lines;
  const output = journal ? withPriority((line) => lines.write(line), formed) : plain;
  const flush = (): void => {
    try {
      buffered?.flushSync();
    } catch {
      // Not open yet, or the reader of a pipe is gone: there is nowhere to say so.
    }
  };
  // Ends with the process whatever ends it; only a SIGKILL can cost the last half second.
  if (buffered !== undefined) process.on('exit', flush);
  const logger = pino(
    {
      // A child of pino's keeps the level that it was born with: what is logged is decided in front.
      level: 'trace',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'msg',
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => cleaned(fields, 0) as Record<string, unknown>,
      },
    },
    output,
  );
  const gate: Gate = { level: rankOf(options.verbosity) };
  const setVerbosity = (verbosity: number): void => {
    gate.level = rankOf(verbosity);
  };
  return { logger: withCleanChildren(logger, gate), setVerbosity, flush };
}

/** The rank of the least important lines that are written. */
interface Gate {
  level: number;
}

const RANKS = { error: 0, warn: 1, info: 2, debug: 3, trace: 4 } as const;

/** pino tells a stream of this kind the level of the line that it is about to write. */
function withPriority(write: (line: string) => unknown, formed: (line: string) => string): pino.DestinationStream {
  const stream = {
    lastLevel: 0,
    [Symbol.for('pino.metadata')]: true,
    write: (line: string) => void write(priorityPrefix(stream.lastLevel) + formed(line)),
  };
  return stream;
}

/** pino's own formatters see a line's fields, but not those of a child. */
function withCleanChildren(inner: pino.Logger, gate: Gate): Logger {
  const at =
    (level: keyof typeof RANKS): Logger['info'] =>
    (fields, message) => {
      if (RANKS[level] <= gate.level) inner[level](fields, message);
    };
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    trace: at('trace'),
    child: (fields) => withCleanChildren(inner.child(cleaned(fields, 0) as Record<string, unknown>), gate),
  };
}

function rankOf(verbosity: number): number {
  if (verbosity >= 6) return RANKS.trace;
  if (verbosity >= 4) return RANKS.debug;
  return verbosity >= 2 ? RANKS.info : RANKS.warn;
}

/** The same value without secrets, with errors as text; a copy only where something had to change. */
function cleaned(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? String(value) : value;
  if (value instanceof Error) return errorFields(value);
  if (depth >= MOST_DEPTH) return '[…]';
  if (Array.isArray(value)) {
    const items = value.map((item) => cleaned(item, depth + 1));
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  let copy: Record<string, unknown> | undefined;
  for (const [key, inner] of Object.entries(value)) {
    const secret = inner !== undefined && inner !== null && SECRET_NAMES.has(key.toLowerCase().replaceAll(/[-_]/g, ''));
    const clean = secret ? REDACTED : cleaned(inner, depth + 1);
    if (clean !== inner) {
      copy ??= { ...value };
      copy[key] = clean;
    }
  }
  return copy ?? value;
}

function errorFields(error: Error): object {
  const code = 'code' in error ? { code: String(error.code) } : {};
  return { ...code, message: error.message, stack: error.stack };
}

/** "2026-01-01T00:00:00.000Z INFO  message key=value": strings are quoted only where they need it. */
function textLine(json: string): string {
  const { time, level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  let line = `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  for (const [key, value] of Object.entries(fields)) {
    const plain = typeof value === 'string' && /^[^\s"=]+$/.test(value);
    line += ` ${key}=${plain ? value : JSON.stringify(value)}`;
  }
  return `${line}\n`;
}
