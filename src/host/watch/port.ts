/**
 * Tells of changes of the files in a directory, each by its name in it (undefined: some file). It may tell of one change
 * several times, and of one that is none; who needs certainty looks again now and then. `onEnd` comes once, when the
 * directory can no longer be watched or cannot be watched at all; nothing comes after it, nor after `close`.
 */
export type WatchDirectory = (
  directory: string,
  onChange: (name: string | undefined) => void,
  onEnd: (error: unknown) => void,
) => { close(): void };
