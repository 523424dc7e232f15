import type { JournalPort, JournalQuery } from './port.ts';

interface Entry {
  readonly atMs: number;
  readonly service: string;
  readonly text: string;
}

/** A journal in memory. */
export class FakeJournal implements JournalPort {
  private readonly entries: Entry[] = [];

  /** A service's unit writes a line, at `atMs` since the epoch. */
  write(service: string, text: string, atMs: number): void {
    this.entries.push({ atMs, service, text });
  }

  known(services: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    signal.throwIfAborted();
    const units = new Set(this.entries.map(({ service }) => service));
    return Promise.resolve(new Set(services.filter((name) => units.has(name.replace(/\.service$/, '')))));
  }

  async read(query: JournalQuery, sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY, pattern, lines, boot = 0 } = query;
    if (boot < 0) {
      await sink(Buffer.from(`Data from the specified boot (${boot}) is not available: No such boot ID in journal\n`));
      return;
    }
    const services = query.services.map((name) => name.replace(/\.service$/, ''));
    const wanted = pattern === undefined ? undefined : new RegExp(pattern, 'i');
    const found = this.entries.filter(
      ({ service, atMs, text }) =>
        services.includes(service) && atMs >= sinceMs && atMs <= untilMs && (wanted?.test(text) ?? true),
    );
    const shown = lines === undefined ? found : lines === 0 ? [] : found.slice(-lines);
    if (shown.length === 0) return await sink(Buffer.from('-- No entries --\n'));
    for (const { atMs, service, text } of shown) {
      signal.throwIfAborted();
      const [, month, day, year, clock] = new Date(atMs)
        .toUTCString()
        .split(' ')
        .map((part) => part) as string[];
      await sink(Buffer.from(`${day} ${month} ${clock ?? year} node ${service}[1]: ${text}\n`));
    }
  }
}
