interface Entry {
  readonly work: Work;
  /** Drops what the read finds: the thing that it asks for was removed meanwhile. */
  void: boolean;
  /** The read after this one, for those who asked during it. */
  next: Promise<void> | undefined;
  current: Promise<void>;
}

/** Reads something; what it has found counts only while `valid` says so. */
type Work = (valid: () => boolean) => Promise<void>;

/**
 * Shares reads by key without sharing stale answers: one read per key at a time, and whoever asks during a read gets the
 * one after it, because the answer under way may be older than what he asks about.
 */
export class FreshReads {
  private readonly entries = new Map<string, Entry>();

  read(key: string, work: Work): Promise<void> {
    const entry = this.entries.get(key);
    if (entry === undefined) return this.begin(key, work);
    entry.next ??= entry.current.then(
      () => this.begin(key, work),
      () => this.begin(key, work),
    );
    return entry.next;
  }

  /** Repeats the read of a key that is under way, if there is one. */
  again(key: string): Promise<void> | undefined {
    const entry = this.entries.get(key);
    return entry === undefined ? undefined : this.read(key, entry.work);
  }

  /** What is being read of this key right now is out of date. */
  invalidate(key: string): void {
    const entry = this.entries.get(key);
    if (entry !== undefined) entry.void = true;
  }

  private begin(key: string, work: Work): Promise<void> {
    const entry: Entry = { work, void: false, next: undefined, current: Promise.resolve() };
    this.entries.set(key, entry);
    entry.current = work(() => !entry.void).finally(() => {
      // With a next one waiting the entry stays: who asks before that has begun may share it.
      if (entry.next === undefined) this.entries.delete(key);
    });
    return entry.current;
  }
}
