import type { Writable } from 'node:stream';

/** Resolves when the stream takes more; rejects when it is gone. */
export function drained(stream: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      stream.off('drain', onDrain);
      stream.off('close', onClose);
    };
    const onDrain = (): void => {
      settle();
      resolve();
    };
    const onClose = (): void => {
      settle();
      reject(new Error('the client went away'));
    };
    if (stream.destroyed) {
      onClose();
      return;
    }
    stream.on('drain', onDrain);
    stream.on('close', onClose);
  });
}
