/** Structured facts of one log line. Never put secrets, tokens or environment values in here. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * One line a fact. Levels, by policy: `error` someone must act; `warn` deckhand worked around something; `info` a
 * change of state that an operator wants to see (a pod started, rules written); `debug` each decision; `trace` each
 * message on the wire. Signature as pino's.
 */
export interface Logger {
  error(fields: Fields, message: string): void;
  warn(fields: Fields, message: string): void;
  info(fields: Fields, message: string): void;
  debug(fields: Fields, message: string): void;
  trace(fields: Fields, message: string): void;
  child(fields: Record<string, unknown>): Logger;
}

const nothing = (): void => {};

/** A logger that drops everything, for tests and for libraries that want one. */
export const silent: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  trace: nothing,
  child: () => silent,
};
