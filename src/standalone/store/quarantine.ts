import { access } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { CorruptWal } from './read-wal.ts';
import type { Storage } from './storage.ts';

/** Throws InvalidObject while a damaged file that was set aside waits for somebody to repair or remove it. */
export async function refuseQuarantined(path: string): Promise<void> {
  const exists = (file: string): Promise<boolean> =>
    access(file).then(
      () => true,
      () => false,
    );
  if ((await exists(path)) || !(await exists(`${path}.corrupt`))) return;
  throw new CodedError(
    'InvalidObject',
    `open the store: ${path}.corrupt was set aside because it is damaged; repair it and move it back to ${path}, or remove it to start with an empty store`,
    { path },
  );
}

/** Sets a damaged file aside as PATH.corrupt. */
export async function quarantine(storage: Storage, path: string, error: CorruptWal, log: Logger): Promise<void> {
  const aside = `${path}.corrupt`;
  await storage.replace(path, aside);
  log.error({ path, aside, offset: error.offset }, 'the store is damaged and was set aside');
}
