import type { Files } from '../../host/files/port.ts';

/** Makes a volume's root directory appear with mode and group all at once: where it is, it is complete. */
export async function makeOwnedDirectory(
  files: Files,
  path: string,
  fsGroup: number | undefined,
  readOnly: boolean,
): Promise<void> {
  await files.makeDirectory(path.slice(0, path.lastIndexOf('/')), 0o750);
  const made = await files.makeTemporaryDirectory(`${path}~`, 0o777);
  if (fsGroup !== undefined) await files.giveToGroup(made, fsGroup, { readOnly, changePolicy: 'OnRootMismatch' });
  await files.rename(made, path);
}
