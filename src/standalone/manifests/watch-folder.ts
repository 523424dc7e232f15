import { watch } from 'node:fs';

/** Tells of changes in a folder; `onError` once when it can no longer be watched (a periodic look still finds them). */
export type WatchFolder = (dir: string, onChange: () => void, onError: (error: unknown) => void) => { close(): void };

/** inotify, by way of fs.watch. */
export const watchFolder: WatchFolder = (dir, onChange, onError) => {
  try {
    const watcher = watch(dir, { persistent: false }, () => onChange());
    watcher.on('error', (error) => {
      watcher.close();
      onError(error);
    });
    return { close: () => watcher.close() };
  } catch (error) {
    onError(error);
    return { close: () => {} };
  }
};
