import type { Files } from '../../host/files/port.ts';
import { hasCode } from '../../kit/errors.ts';
import type { Payload } from './payload.ts';

const DATA = '..data';
const DATA_NEW = '..data_tmp';

export interface AtomicWriteOptions {
  /** Makes everything readable by this group, and directories setgid (fsGroup). */
  readonly gid?: number;
  /** Milliseconds since the epoch, for the new directory's name. */
  readonly now: number;
}

/**
 * Writes a set of files so that readers see either all old or all new ones (pkg/volume/util/atomic_writer.go). The files
 * lie in a directory of their own, `..<time>.<random>`; the symlink `..data` points to it and is exchanged by rename; the
 * names that users see are symlinks through `..data`. A crash at any step leaves a whole set visible, and the next write
 * clears what it left. Answers whether new contents were made visible; the same contents write nothing.
 */
export async function atomicWrite(
  files: Files,
  directory: string,
  payload: Payload,
  options: AtomicWriteOptions,
): Promise<boolean> {
  let current = await files.readLink(`${directory}/${DATA}`);
  const same = current !== undefined && (await holds(files, `${directory}/${current}`, payload));
  if (!same) current = await exchange(files, directory, payload, options);
  await tidy(files, directory, payload, current);
  return !same;
}

async function exchange(
  files: Files,
  directory: string,
  payload: Payload,
  options: AtomicWriteOptions,
): Promise<string> {
  const made = await files.makeTemporaryDirectory(`${directory}/..${timestamp(options.now)}.`, 0o755);
  await fill(files, made, payload, options.gid);
  const name = made.slice(directory.length + 1);
  await files.remove(`${directory}/${DATA_NEW}`);
  await files.symlink(name, `${directory}/${DATA_NEW}`);
  await files.rename(`${directory}/${DATA_NEW}`, `${directory}/${DATA}`);
  return name;
}

async function fill(files: Files, made: string, payload: Payload, gid: number | undefined): Promise<void> {
  for (const folder of foldersOf(payload)) await files.makeDirectory(`${made}/${folder}`, 0o755);
  for (const [path, { data, mode, uid }] of payload) {
    const file = `${made}/${path}`;
    await files.write(file, data, mode);
    if (uid !== undefined) await files.setOwner(file, uid, -1);
  }
  if (gid !== undefined) await files.giveToGroup(made, gid, { readOnly: true, changePolicy: 'Always' });
}

/** Makes the visible names fit what `..data` holds and removes what earlier or interrupted writes left. */
async function tidy(files: Files, directory: string, payload: Payload, current: string | undefined): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/', 1)[0] ?? path));
  const present = new Set((await files.list(directory)) ?? []);
  for (const name of wanted) {
    if (!present.has(name)) await files.symlink(`${DATA}/${name}`, `${directory}/${name}`);
    else await relink(files, directory, name);
  }
  for (const name of present) {
    const path = `${directory}/${name}`;
    if (name === DATA || name === current || wanted.has(name)) continue;
    if (await isLink(files, path)) await files.remove(path);
    else if (name.startsWith('..')) await files.removeTree(path);
  }
}

/** A subPath that was mounted before its key existed has left an empty directory under the key's name. */
async function relink(files: Files, directory: string, name: string): Promise<void> {
  const path = `${directory}/${name}`;
  if ((await files.lstat(path))?.kind !== 'directory') return;
  try {
    await files.removeDirectory(path);
  } catch (error) {
    if (hasCode(error, 'Conflict')) return;
    throw error;
  }
  await files.symlink(`${DATA}/${name}`, path);
}

async function isLink(files: Files, path: string): Promise<boolean> {
  return (await files.lstat(path))?.kind === 'symlink';
}

/** Whether a directory holds exactly these files. */
async function holds(files: Files, directory: string, payload: Payload): Promise<boolean> {
  const children = new Map<string, Set<string>>([['', new Set()]]);
  for (const folder of foldersOf(payload)) children.set(folder, new Set());
  for (const path of [...foldersOf(payload), ...payload.keys()]) {
    const slash = path.lastIndexOf('/');
    children.get(slash === -1 ? '' : path.slice(0, slash))?.add(path.slice(slash + 1));
  }
  for (const [folder, expected] of children) {
    const names = await files.list(folder === '' ? directory : `${directory}/${folder}`);
    if (names === undefined || names.length !== expected.size) return false;
    if (!names.every((name) => expected.has(name))) return false;
  }
  for (const [path, { data }] of payload) {
    try {
      const found = await files.read(`${directory}/${path}`, { maxBytes: data.length + 1 });
      if (!found.equals(data)) return false;
    } catch (error) {
      if (hasCode(error, 'NotFound', 'InvalidArgument')) return false;
      throw error;
    }
  }
  return true;
}

/** The directories that the payload's paths need, parents first. */
function foldersOf(payload: Payload): string[] {
  const folders = new Set<string>();
  for (const path of payload.keys()) {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1))
      folders.add(path.slice(0, slash));
  }
  return [...folders].sort();
}

/** 2026_01_02_03_04_05, as kubelet names these directories. */
function timestamp(now: number): string {
  return new Date(now).toISOString().slice(0, 19).replace(/[-T:]/g, '_');
}
