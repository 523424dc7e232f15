import { statSync, watch } from 'node:fs';
import type { WatchDirectory } from './port.ts';

/** inotify, by way of fs.watch. */
export const watchDirectory: WatchDirectory = (directory, onChange, onEnd) => {
  let closed = false;
  const end = (error: unknown): void => {
    if (closed) return;
    closed = true;
    onEnd(error);
  };
  try {
    const inode = statSync(directory).ino;
    const watcher = watch(directory, { persistent: false }, (_event, name) => {
      if (closed) return;
      onChange(name ?? undefined);
      // inotify follows the inode: once another directory has the name, nothing more would be heard.
      if (statSync(directory, { throwIfNoEntry: false })?.ino === inode) return;
      watcher.close();
      end(new Error(`${directory} was moved or removed`));
    });
    watcher.on('error', (error) => {
      watcher.close();
      end(error);
    });
    return {
      close: () => {
        closed = true;
        watcher.close();
      },
    };
  } catch (error) {
    queueMicrotask(() => end(error));
    return {
      close: () => {
        closed = true;
      },
    };
  }
};
