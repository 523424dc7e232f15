import { fstatSync } from 'node:fs';

/**
 * Whether a file descriptor leads to the journal: systemd names device and inode of what it gave a service in
 * $JOURNAL_STREAM (systemd.exec(5)); whoever redirects the output inherits the variable, but not the stream.
 */
export function isJournal(journalStream: string | undefined, fd: number): boolean {
  if (journalStream === undefined || journalStream === '') return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return journalStream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** The prefix by which journald knows a line's priority (sd-daemon(3)), of pino's numbers for levels. */
export function priorityPrefix(level: number): string {
  if (level >= 50) return '<3>';
  if (level >= 40) return '<4>';
  return level >= 30 ? '<6>' : '<7>';
}
