/** The machine's journal (systemd-journald). */
export interface JournalPort {
  /** Those of `services` whose units have ever written to it; none where there is no journal. */
  known(services: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>>;
  /**
   * Hands the entries that are asked for to `sink` as text, as fast as it takes them, and what the journal says is wrong
   * with the question behind them. Throws Unavailable when the journal cannot be asked, the sink's error, and the
   * signal's reason.
   */
  read(query: JournalQuery, sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void>;
}

export interface JournalQuery {
  readonly services: readonly string[];
  /** Milliseconds since the epoch, both inclusive. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  /** Only so many of the last ones. */
  readonly lines?: number | undefined;
  /** A PCRE2 regular expression, whatever the case of letters. */
  readonly pattern?: string | undefined;
  /** 0: since this boot of the machine, -1: during the one before … */
  readonly boot?: number | undefined;
}
